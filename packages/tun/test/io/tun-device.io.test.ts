// A kernel TUN in a network namespace of its own.
import { fileURLToPath } from 'node:url'
import { TcpFlag } from '@twinbore/core/packet'
import { tcpPacket } from '@twinbore/core/testing'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { LabProcess, mustRun, runProgram } from '../../../../tests/lab/lab-process.ts'
import { needs } from '../../../../tests/lab/needs.ts'
import type { Route } from '../../src/io/index.ts'

const script = fileURLToPath(new URL('./tun-host.ts', import.meta.url))
const namespace = `tun-${process.pid}`

/** The process that holds the device. */
class TunHost {
  readonly process: LabProcess
  /** Packets that the far device told of while something else was asked. */
  readonly far: string[] = []
  private taken = 0

  constructor(user: readonly string[] = []) {
    const words = [...user, process.execPath, '--import', 'tsx', '--conditions=@twinbore/source', script, 'tun-test']
    this.process = new LabProcess(words[0]!, words.slice(1), { namespace, input: '', keepInputOpen: true })
  }

  async next(): Promise<unknown> {
    const found = await this.process.waitFor(/^(\{.*\})$/m, { since: this.taken, timeoutMs: 10_000 })
    this.taken += found.index + found[0].length
    return JSON.parse(found[1]!)
  }

  async ask<Result>(command: string, value?: unknown): Promise<Result> {
    this.process.write(`${JSON.stringify({ command, value })}\n`)
    let answer = (await this.next()) as { result: Result; error?: object; far?: string }
    for (; answer.far; answer = (await this.next()) as typeof answer) this.far.push(answer.far)
    if (answer.error) throw Object.assign(new Error(command), answer.error)
    return answer.result
  }
}

const ip = (...words: string[]): Promise<string> => mustRun('ip', ['-n', namespace, ...words])
/** Whether the kernel has handed a packet to the device. */
const hasSent = async (): Promise<boolean> =>
  /Sent \d+ bytes [1-9]/.test(await mustRun('tc', ['-s', 'qdisc', 'show', 'dev', 'tun-test'], { namespace }))
const ping = (...words: string[]) => runProgram('ping', ['-n', '-W', '5', ...words], { namespace })

needs(
  'root',
  'tun',
  'ip',
  'ping',
)('a kernel TUN', () => {
  let host: TunHost

  beforeEach(async () => {
    await mustRun('ip', ['netns', 'add', namespace])
    await ip('link', 'set', 'lo', 'up')
    host = new TunHost()
    expect(await host.next()).toEqual({ ready: 'tun-test' })
  })

  afterEach(async () => {
    await host.process.stop('SIGKILL')
    await mustRun('ip', ['netns', 'del', namespace])
  })

  test('is up with its MTU and addresses, and is quiet', async () => {
    expect(await host.ask('link')).toMatchObject({ name: 'tun-test', up: true, mtu: 1400 })
    expect(await host.ask('addresses')).toEqual(['10.88.0.1/24', 'fd88::1/64'])
    expect(await ip('addr', 'show', 'tun-test')).not.toContain('fe80')
    expect(await host.ask('remove-address', '10.88.0.1/24')).toBe(true)
    expect(await host.ask('remove-address', '10.88.0.1/24')).toBe(false)
  })

  test.each(['10.88.0.2', 'fd88::2'])('packets to %s come out, and the answers go in', async address => {
    expect((await ping('-c', '3', '-i', '0.1', address)).output).toMatch(/3 received/)
    // Largest packets, and many of them: more than one batch waits at a time.
    const size = address.includes(':') ? 1352 : 1372
    expect((await ping('-M', 'do', '-s', `${size}`, '-c', '1', address)).output).toMatch(/1 received/)
    expect((await ping('-f', '-l', '60', '-c', '3000', address)).output).toMatch(/ 0% packet loss/)
    expect(await host.ask('stats')).toMatchObject({ readDrops: 0, writeDrops: 0 })
  })

  test.each([
    { family: 'IPv4', source: '10.88.0.2', destination: '10.89.0.2', dontFragment: true },
    { family: 'IPv6', source: 'fd88::2', destination: 'fd89::2', dontFragment: false },
  ])('TCP segments that go in as one packet leave the host as they were ($family)', async ({ family, ...fields }) => {
    const forwarding = ['net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']
    await mustRun('sysctl', ['-w', ...forwarding], { namespace })
    await host.ask('open-far', { name: 'far', mtu: 1400, addresses: ['10.89.0.1/24', 'fd89::1/64'] })
    const lengths = [1340, 1340, 1340, 1340, 77]
    const segments = (hopLimit: number): string[] =>
      lengths.map((length, i) => {
        const flags = TcpFlag.ack | (i === lengths.length - 1 ? TcpFlag.psh : 0)
        const payload = new Uint8Array(length).map((_, at) => at * 3 + i)
        const ports = { sourcePort: 80, destinationPort: 50_000, sequenceNumber: 1 + 1340 * i }
        // The kernel counts the identification of IPv4 on.
        const identification = family === 'IPv4' && hopLimit < 64 ? i : 0
        const packet = tcpPacket({ ...fields, ...ports, hopLimit, identification, flags, payload })
        return Buffer.from(packet).toString('hex')
      })
    expect(await host.ask('write-all', segments(64))).toBe(lengths.length)
    const arrived: string[] = []
    const isTcp = (packet: string): boolean => packet.startsWith('06', family === 'IPv4' ? 18 : 12)
    while (arrived.length < lengths.length) {
      const far = host.far.shift() ?? ((await host.next()) as { far: string }).far
      if (isTcp(far)) arrived.push(far)
    }
    expect(arrived).toEqual(segments(63))
    expect(await host.ask('stats')).toMatchObject({ packetsWritten: lengths.length, writeDrops: 0 })
  })

  test('what the kernel refuses is told apart', async () => {
    expect(await host.ask('write', '00')).toBe('malformed')
    expect(await host.ask('write', '7000000000000000')).toBe('malformed')
    await host.ask('set-link', { up: false })
    expect(await host.ask('write', `45${'00'.repeat(19)}`)).toBe('deviceError')
    await host.ask('set-link', { up: true })
    expect((await ping('-c', '1', '10.88.0.2')).output).toMatch(/1 received/)
    expect(await host.ask('stats')).toMatchObject({ writeDrops: 3 })
  })

  test('500 routes of each family are installed, read back and removed', async () => {
    for (const family of [4, 6] as const) {
      const routes = Array.from(
        { length: 500 },
        (_, i): Route => ({
          destination: family === 4 ? `172.${16 + (i >> 8)}.${i & 0xff}.0/24` : `fd55:${(i + 1).toString(16)}::/32`,
          device: 'tun-test',
          metric: 50,
        }),
      )
      expect(await host.ask('add-routes', routes)).toBe(500)
      const found = (await host.ask<Route[]>('routes', { family })).filter(route => route.metric === 50)
      expect(found.map(({ destination, device }) => [destination, device])).toEqual(
        expect.arrayContaining(routes.map(({ destination, device }) => [destination, device])),
      )
      expect(found).toHaveLength(500)
      expect(await host.ask('remove-routes', routes)).toBe(500)
      expect(await host.ask('remove-routes', routes)).toBe(0)
    }
  })

  test('routes: replacing, tables, kinds, gateways, lookup', async () => {
    await host.ask('add-routes', [{ destination: '10.5.0.0/16', device: 'tun-test' }])
    await expect(host.ask('add-routes', [{ destination: '10.5.0.0/16', device: 'tun-test' }])).rejects.toMatchObject({
      code: 'ERR_TUN_SETTINGS',
      errno: 'EEXIST',
    })
    await host.ask('replace-route', { destination: '10.5.0.0/16', gateway: '10.88.0.9', source: '10.88.0.1' })
    expect(await ip('route', 'show', '10.5.0.0/16')).toMatch(
      /via 10\.88\.0\.9 dev tun-test proto static src 10\.88\.0\.1/,
    )
    expect(await host.ask('lookup', '10.5.1.1')).toMatchObject({ device: 'tun-test', gateway: '10.88.0.9' })
    await host.ask('add-routes', [
      { destination: '10.6.0.0/16', kind: 'blackhole', table: 4000 },
      { destination: 'fd66::/48', kind: 'unreachable' },
    ])
    expect(await host.ask('routes', { family: 4, table: 4000 })).toEqual([
      { destination: '10.6.0.0/16', kind: 'blackhole', table: 4000 },
    ])
    expect(await host.ask('lookup', '203.0.113.1')).toBe(null)
    expect(await host.ask('lookup', 'fd66::1')).toBe(null)
    expect(await host.ask('lookup', '10.88.0.1')).toMatchObject({ kind: 'local' })
    await expect(host.ask('lookup', 'nowhere')).rejects.toThrow()
    await host.ask('proxy', { address: '10.88.0.77', on: true })
    expect(await ip('neigh', 'show', 'proxy')).toContain('10.88.0.77 dev lo')
    expect(await host.ask('proxy', { address: '10.88.0.77', on: false })).toBe(true)
    expect(await host.ask('proxy', { address: '10.88.0.77', on: false })).toBe(false)
  })

  test('names: one in use, one that is no TUN, one that cannot be', async () => {
    await expect(host.ask('open', { name: 'tun-test' })).rejects.toMatchObject({ code: 'ERR_TUN_BUSY', errno: 'EBUSY' })
    await expect(host.ask('open', { name: 'lo' })).rejects.toMatchObject({ code: 'ERR_TUN_NAME' })
    await expect(host.ask('open', { name: 'a/b' })).rejects.toMatchObject({ code: 'ERR_TUN_NAME' })
    await expect(host.ask('open', { addresses: ['10.0.0.1/33'] })).rejects.toThrow(/not an address/)
    expect(await host.ask('open', { name: 'many%d' })).toBe('many0')
    // Opening that failed half-way has left nothing.
    expect(await ip('-br', 'link')).not.toMatch(/tun0|many/)
  })

  test('close ends the process by itself, and nothing is left behind', async () => {
    await host.ask('add-routes', [{ destination: '10.5.0.0/16', device: 'tun-test' }])
    await host.ask('close')
    expect(await host.process.finished).toMatchObject({ code: 0 })
    expect(await ip('link')).not.toContain('tun-test')
    expect(await ip('route')).toBe('')
  })

  test.each(['close', 'close-in-handler'])('%s while packets flow', async command => {
    const flood = new LabProcess('ping', ['-n', '-f', '-w', '10', '10.88.0.2'], { namespace })
    await host.process.waitFor(/ready/)
    for (let read = 0; read < 100; ) read = (await host.ask<{ packetsRead: number }>('stats')).packetsRead
    await host.ask(command)
    expect(await host.process.finished).toMatchObject({ code: 0 })
    await flood.stop('SIGINT')
    expect(await ip('link')).not.toContain('tun-test')
  })

  test('without a reader packets wait in the kernel', async () => {
    await host.ask('pause')
    const waiting = new LabProcess('ping', ['-n', '-c', '1', '-W', '8', '10.88.0.2'], { namespace })
    while (!(await hasSent())) {}
    await host.ask('resume')
    expect((await waiting.finished).output).toMatch(/1 received/)
  })

  test('somebody deletes the interface: the reader is told, the process goes on', async () => {
    await ip('link', 'del', 'tun-test')
    expect(await host.next()).toMatchObject({ lost: expect.stringMatching(/EBADFD?/) })
    expect(await host.ask('write', `45${'00'.repeat(19)}`)).toBe(0)
    expect(await host.ask('link')).toBe(null)
  })
})

needs(
  'root',
  'tun',
  'ip',
)('without privilege', () => {
  test('a TUN is refused with what is missing', async () => {
    const words = ['setpriv', '--bounding-set=-all', '--inh-caps=-all', '--reuid=65534', '--clear-groups']
    const child = new LabProcess(words[0]!, [
      ...words.slice(1),
      process.execPath,
      '--import',
      'tsx',
      '--conditions=@twinbore/source',
      script,
      'tun-test',
    ])
    const { code, output } = await child.finished
    expect(code).not.toBe(0)
    expect(output).toContain('ERR_TUN_PERMISSION')
    expect(output).toContain('CAP_NET_ADMIN')
  })
})
