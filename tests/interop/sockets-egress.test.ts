// Debian's openconnect through a gateway that has no rights at all: uid 1000, no capability, no TUN, no rules.
import { chownSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type LabCertificates, makeCertificates } from '../lab/certificates.ts'
import {
  corporateAddress,
  corporateAddress6,
  gatewayAddress,
  gatewayInsideAddress,
  gatewayInsideAddress6,
  LabNetwork,
} from '../lab/lab-network.ts'
import type { LabProcess } from '../lab/lab-process.ts'
import { needs } from '../lab/needs.ts'
import { connectOpenconnect, endOpenconnect } from '../lab/openconnect.ts'
import { ping, startFileServer } from '../lab/traffic.ts'
import { configureGateway, program } from '../lab/twinbore.ts'
import { Workspace } from '../lab/workspace.ts'

const port = 8443
const insideAddress = '192.168.77.1'
/** In CI it is 1 GiB over IPv4; a quiet machine takes half a minute each way. */
const ciBytes = process.env.CI === 'true' ? '1073741824' : undefined
const fileBytes = { IPv4: process.env.TWINBORE_FILE_BYTES ?? ciBytes, IPv6: process.env.TWINBORE_FILE_BYTES }
const unprivileged = [
  '--reuid',
  '1000',
  '--regid',
  '1000',
  '--clear-groups',
  '--bounding-set',
  '-all',
  '--no-new-privs',
]
const services = fileURLToPath(new URL('../lab/services.mjs', import.meta.url))
const probe = fileURLToPath(new URL('../lab/probe.mjs', import.meta.url))
const fileServer = `http://${corporateAddress}:8080`

needs(
  'root',
  'tun',
  'ip',
  'nft',
  'openssl',
  'openconnect',
  'ping',
  'curl',
  'setpriv',
)('openconnect and a gateway without rights', () => {
  let network: LabNetwork
  let workspace: Workspace
  let certificates: LabCertificates
  let gateway: LabProcess
  let client: LabProcess

  const alice = (device = 'vpn0') => ({
    url: `https://${gatewayAddress}:${port}`,
    serverPin: certificates.gatewayPin,
    user: 'alice',
    passwords: ['secret'],
    device,
  })
  const run = async (...args: string[]) =>
    JSON.parse(await network.mustRun('client', process.execPath, [probe, ...args], { timeoutMs: 120_000 }))
  const shell = (script: string) => network.mustRun('client', 'sh', ['-c', script], { timeoutMs: 600_000 })
  const descriptors = () => readdirSync(`/proc/${gateway.pid}/fd`).length

  beforeAll(async () => {
    workspace = new Workspace()
    network = await LabNetwork.create()
    certificates = await makeCertificates(workspace)
    await startFileServer(network)
    for (const address of [corporateAddress, corporateAddress6]) {
      await network.start('corporate', process.execPath, [services, address]).waitFor(/ready/)
    }
    const config = await configureGateway(workspace, {
      certificates,
      config: {
        listen: { address: '0.0.0.0', port },
        egress: { mode: 'sockets' },
        dns: { forward: [corporateAddress] },
      },
    })
    for (const name of [config, 'users.yaml', certificates.gateway.certificate, certificates.gateway.key]) {
      chownSync(name === 'users.yaml' ? workspace.path(name) : name, 1000, 1000)
    }
    await network.mustRun('gateway', 'sysctl', ['-qw', 'net.ipv4.ping_group_range=0 2147483647'])
    gateway = network.start('gateway', 'setpriv', [
      ...unprivileged,
      process.execPath,
      program,
      'gateway',
      '--config',
      config,
    ])
    await gateway.waitFor(/\b8443\b.*\n/, { stdoutOnly: true })
    client = await connectOpenconnect(network, alice())
  })
  afterAll(async () => {
    await network?.close()
    workspace?.remove()
  })

  test('the gateway has no capability and is not root', () => {
    const status = readFileSync(`/proc/${gateway.pid}/status`, 'utf8')
    expect(status).toMatch(/^Uid:\t1000\t1000\t1000\t1000$/m)
    for (const set of ['Inh', 'Prm', 'Eff', 'Bnd', 'Amb']) expect(status).toMatch(new RegExp(`^Cap${set}:\\t0+$`, 'm'))
  })

  test.each([
    ['IPv4', fileServer, gatewayInsideAddress],
    ['IPv6', `http://[${corporateAddress6}]:8080`, gatewayInsideAddress6],
  ] as const)(
    'a large file goes up and down with curl over %s, and its hashes are equal',
    {
      timeout: 600_000,
    },
    async (family, url, source) => {
      const bytes = fileBytes[family] ?? '100000000'
      const headers = workspace.path('headers')
      const down = await shell(`curl -sS -D ${headers} ${url}/${bytes} | sha256sum`)
      const told = readFileSync(headers, 'utf8')
      expect(/x-sha256: (\w+)/.exec(told)?.[1]).toBe(down.split(' ')[0])
      expect(/x-peer: (\S+)/.exec(told)?.[1]?.replace('::ffff:', '')).toBe(source)

      const file = workspace.path('upload')
      const here = await shell(`head -c ${bytes} /dev/urandom > ${file}; sha256sum < ${file}`)
      const answer = JSON.parse(await shell(`curl -sS -X POST -T ${file} ${url}/; rm ${file}`))
      expect(answer).toMatchObject({ bytes: Number(bytes), sha256: here.split(' ')[0] })
    },
  )

  test.each([corporateAddress, corporateAddress6])('single bytes go there and back: %s', async address => {
    expect(await run('echo', address, '300')).toEqual({ echoed: 300 })
  })

  test.each([corporateAddress, corporateAddress6])('datagrams of every size go there and back: %s', async address => {
    expect(await run('udp', address, '1', '1000', '1400', '9000', '60000')).toEqual({ came: Array(5).fill(true) })
  })

  test.each([corporateAddress, corporateAddress6])('pings are answered by the host itself: %s', async address => {
    expect(await ping(network, address)).toMatchObject({ received: 3 })
    expect(await ping(network, address, { sizeBytes: 1300 })).toMatchObject({ received: 3 })
  })

  test('the gateway answers pings to its inside address', async () => {
    expect(await ping(network, insideAddress)).toMatchObject({ received: 3 })
  })

  test('pings to a host that does not exist are not answered', async () => {
    expect(await ping(network, '10.2.0.77', { count: 1 })).toMatchObject({ received: 0 })
  })

  test('names are resolved by the gateway, over UDP and over TCP, and no query costs a socket', async () => {
    const before = descriptors()
    const names = Array.from({ length: 40 }, (_, i) => `host${i}.example`)
    const { addresses } = await run('resolve', insideAddress, ...names)
    expect(addresses).toEqual(names.map(() => ['192.0.2.53']))
    expect(descriptors()).toBe(before)
    expect(await run('resolve', insideAddress, 'long.example')).toEqual({ addresses: [['192.0.2.53']] })
  })

  test('a stream that is reset behind data never looks complete, 1000 times', async () => {
    const seen = await run('resets', corporateAddress, '1000')
    expect(seen).toMatchObject({ end: 0, reset: 1000 })
    expect(seen.bytes).toBeGreaterThan(0)
  })

  test('a client that has ended its half hears everything that follows', async () => {
    const seen = await run('half-close', corporateAddress, '5000000')
    expect(seen).toEqual({ how: 'end', isWhole: true, tailBytes: 10_000_000 })
  })

  test.each([
    ['a closed port', corporateAddress, '81', 'ECONNREFUSED'],
    ['a closed port over IPv6', corporateAddress6, '81', 'ECONNREFUSED'],
    ['a host that does not exist', '10.2.0.77', '80', 'EHOSTUNREACH'],
    ['the gateway’s inside address, where only names are asked for', insideAddress, `${port}`, 'EHOSTUNREACH'],
    ['another address of the gateway', gatewayInsideAddress, `${port}`, 'silence'],
    ['the metadata service of a cloud', '169.254.169.254', '80', 'silence'],
  ])('a connect to %s (%s port %s): %s', async (_, address, to, outcome) => {
    await network.mustRun('client', 'ip', ['route', 'replace', '169.254.169.254', 'dev', 'vpn0'])
    const milliseconds = outcome === 'silence' ? '3000' : '30000'
    expect(await run('connect', address, to, milliseconds)).toEqual({ outcome })
  })

  test('a slow reader slows nobody else', async () => {
    const slow = network.start('client', 'curl', [
      '-sS',
      '--limit-rate',
      '1k',
      '-o',
      '/dev/null',
      `${fileServer}/50000000`,
    ])
    for (let i = 0; i < 3; i++) expect(await run('echo', corporateAddress, '100')).toEqual({ echoed: 100 })
    expect(await shell(`curl -sS ${fileServer}/20000000 | wc -c`)).toMatch(/^20000000$/m)
    expect(slow.hasEnded).toBe(false)
    await slow.stop()
  })

  describe('with a second client', () => {
    let second: LabProcess
    const holes = Array.from({ length: 30 }, (_, i) => `10.2.0.${100 + i}`)
    beforeAll(async () => {
      second = await connectOpenconnect(network, alice('vpn1'))
      // Both ways stay: the first client's goes first, the second's is for whoever asks for its device.
      await network.mustRun('client', 'ip', ['-batch', '-'], {
        input: 'route replace 10.2.0.0/24 dev vpn0\nroute add 10.2.0.0/24 dev vpn1 metric 500',
      })
      await network.mustRun('corporate', 'ip', ['-batch', '-'], {
        input: holes.map(hole => `addr add ${hole}/24 dev lan0`).join('\n'),
      })
      await network.mustRun('corporate', 'nft', ['-f', '-'], {
        input:
          'table inet lab {\nchain drops { type filter hook input priority -300; tcp dport 9999 counter drop; }\n}',
      })
    })

    test('hosts that never answer the one do not delay the other', async () => {
      const dialling = network.start('client', process.execPath, [probe, 'dial', '9999', ...holes])
      await dialling.waitFor(/dialling/)
      const times = await shell(
        `for i in 1 2 3 4 5 6 7 8 9 10; do curl -sS --interface vpn1 -o /dev/null -w '%{time_connect}\\n' ${fileServer}/1000; done`,
      )
      const seconds = times.trim().split('\n').map(Number)
      expect(seconds).toHaveLength(10)
      // A SYN that is dropped comes again after a second.
      expect(Math.max(...seconds)).toBeLessThan(0.9)
      await dialling.stop()
    })

    test('a client that leaves takes its flows with it', async () => {
      const others = descriptors()
      const idle = Array.from({ length: 20 }, () =>
        network.start('client', 'curl', [
          '-sS',
          '--interface',
          'vpn1',
          '--limit-rate',
          '1k',
          '-o',
          '/dev/null',
          `${fileServer}/9000000`,
        ]),
      )
      await expect.poll(descriptors, { timeout: 30_000 }).toBeGreaterThanOrEqual(others + 20)
      await endOpenconnect(second)
      await expect.poll(descriptors, { timeout: 30_000 }).toBeLessThan(others)
      await Promise.all(idle.map(one => one.stop()))
    })
  })

  test('the first client was never moved off its datagram channel', () => {
    expect(client.output).not.toMatch(/dead peer|DTLS connection attempt failed/i)
  })
})
