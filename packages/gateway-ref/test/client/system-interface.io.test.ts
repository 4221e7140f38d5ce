// The interface of a tunnel on a real host: what it sets up, how it follows other grants, and that nothing of it stays.
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { gatewayAddress, LabNetwork } from '../../../../tests/lab/lab-network.ts'
import type { LabProcess } from '../../../../tests/lab/lab-process.ts'
import { needs } from '../../../../tests/lab/needs.ts'

const script = fileURLToPath(new URL('./interface-computer.ts', import.meta.url))
const first = {
  ipv4: '10.77.0.5',
  ipv6: 'fd77::5',
  include: ['10.50.0.0/16', '10.60.0.0/16', 'fd50::/32'],
  exclude: ['10.50.9.0/24'],
  dns: ['10.50.0.53', 'fd50::53'],
  mtu: 1400,
  gateway: gatewayAddress,
}
const second = {
  ...first,
  ipv4: '10.77.0.6',
  include: ['10.60.0.0/16', '10.70.0.0/16', 'fd50::/32'],
  exclude: ['10.70.1.0/24'],
  mtu: 1300,
}

needs(
  'root',
  'tun',
  'ip',
)("a tunnel's interface", () => {
  let network: LabNetwork
  let computer: LabProcess
  let name: string
  let before: string

  const addresses = async () => {
    const text = await network.mustRun('client', 'ip', ['-oneline', 'addr', 'show', 'dev', name, 'scope', 'global'])
    return [...text.matchAll(/inet6? (\S+)/g)].map(([, address]) => address).sort()
  }
  const routes = async (family: '-4' | '-6', device: string) => {
    const text = await network.mustRun('client', 'ip', [family, 'route', 'show', 'dev', device])
    return [...text.matchAll(/^(10\.[567]0\.\S+|fd50\S+)/gm)].map(([, prefix]) => prefix).sort()
  }
  const state = async () =>
    (await network.mustRun('client', 'ip', ['-4', 'route'])) + (await network.mustRun('client', 'ip', ['-6', 'route']))

  beforeAll(async () => {
    network = await LabNetwork.create()
    await network.mustRun('client', 'ip', ['route', 'add', 'default', 'via', gatewayAddress])
    before = await state()
    computer = network.start('client', process.execPath, ['--import', 'tsx', '--conditions=@twinbore/source', script], {
      input: '',
      keepInputOpen: true,
    })
  })
  afterAll(() => network?.close())

  test('has the granted addresses, MTU and routes; name servers are named and left alone', async () => {
    computer.write(`make ${JSON.stringify(first)}\n`)
    name = (await computer.waitFor(/^made (.*)$/m))[1]!
    expect(await addresses()).toEqual(['10.77.0.5/32', 'fd77::5/128'])
    expect(await routes('-4', name)).toEqual(['10.50.0.0/16', '10.60.0.0/16'])
    expect(await routes('-6', name)).toEqual(['fd50::/32'])
    expect(await routes('-4', 'wan0')).toEqual(['10.50.9.0/24'])
    expect(await network.mustRun('client', 'ip', ['link', 'show', name])).toContain('mtu 1400')
    expect(computer.stdout).toMatch(/^log .*name servers.*10\.50\.0\.53, fd50::53/m)
  })

  test('follows other grants: addresses, MTU, includes, and an exclude that the tunnel hides meanwhile', async () => {
    computer.write(`update ${JSON.stringify(second)}\n`)
    await computer.waitFor(/^updated$/m)
    expect(await addresses()).toEqual(['10.77.0.6/32', 'fd77::5/128'])
    expect(await routes('-4', name)).toEqual(['10.60.0.0/16', '10.70.0.0/16'])
    expect(await routes('-6', name)).toEqual(['fd50::/32'])
    expect(await routes('-4', 'wan0')).toEqual(['10.70.1.0/24'])
    expect(await network.mustRun('client', 'ip', ['link', 'show', name])).toContain('mtu 1300')
    const everything = { ...second, include: [], exclude: ['10.50.9.0/24'] }
    const updated = computer.mark
    computer.write(`update ${JSON.stringify(everything)}\n`)
    await computer.waitFor(/^updated$/m, { since: updated })
    const more = { ...everything, exclude: ['10.50.9.0/24', '10.60.9.0/24'] }
    const again = computer.mark
    computer.write(`update ${JSON.stringify(more)}\n`)
    await computer.waitFor(/^updated$/m, { since: again })
    expect(await routes('-4', 'wan0')).toEqual(['10.50.9.0/24', '10.60.9.0/24'])
    expect(await network.mustRun('client', 'ip', ['route', 'get', '10.60.9.1'])).toContain('dev wan0')
    expect(await network.mustRun('client', 'ip', ['route', 'get', '10.60.8.1'])).toContain(`dev ${name}`)
    expect(await network.mustRun('client', 'ip', ['route', 'get', gatewayAddress])).toContain('dev wan0')
  })

  test('leaves nothing behind', async () => {
    computer.write('close\n')
    expect((await computer.finished).code).toBe(0)
    expect(await state()).toBe(before)
    expect(await network.mustRun('client', 'ip', ['-brief', 'link'])).not.toContain(name)
  })
})
