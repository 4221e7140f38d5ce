// Mutated input of every kind that the network can deliver, sent at the real program: it neither crashes nor grows, its
// other sessions notice nothing, and nobody sends from an address that is not theirs.
// HOSTILE_RUNS is the number of inputs over all kinds, HOSTILE_SEED chooses them.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { addressBytes, Capture } from '../lab/capture.ts'
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
import { connectOpenconnect, endOpenconnect, tunnelAddresses } from '../lab/openconnect.ts'
import { download, nextAnswer, ping, readPing, startFileServer, startPing } from '../lab/traffic.ts'
import { configureGateway, port, startGateway } from '../lab/twinbore.ts'
import { Workspace } from '../lab/workspace.ts'

const peer = fileURLToPath(new URL('../lab/hostile-peer.mjs', import.meta.url))
const runs = Number(process.env.HOSTILE_RUNS ?? 100_000)
const seed = Number(process.env.HOSTILE_SEED ?? Date.now() % 2 ** 31)
const shares = { http: 0.05, cstp: 0.25, dtls: 0.4, inner: 0.3 }
const mayGrowBytes = 64 * 1024 * 1024

needs(
  'root',
  'tun',
  'ip',
  'openssl',
  'openconnect',
  'ping',
  'tcpdump',
)('hostile input', () => {
  let network: LabNetwork
  let workspace: Workspace
  let certificates: LabCertificates
  let gateway: LabProcess
  let client: LabProcess
  let pinging: LabProcess

  const server = () => ({ url: `https://${gatewayAddress}`, serverPin: certificates.gatewayPin })

  beforeAll(async () => {
    workspace = new Workspace()
    network = await LabNetwork.create()
    certificates = await makeCertificates(workspace)
    await startFileServer(network)
    const users = { alice: 'secret', mallory: 'guest' }
    gateway = await startGateway(network, await configureGateway(workspace, { certificates, users }))
    client = await connectOpenconnect(network, { ...server(), user: 'alice', passwords: ['secret'] })
    pinging = startPing(network, corporateAddress, 0.2)
    await nextAnswer(pinging)
    console.log(`HOSTILE_RUNS=${runs} HOSTILE_SEED=${seed}`)
  })
  afterAll(async () => {
    await network?.close()
    workspace?.remove()
  })

  async function send(kind: keyof typeof shares, part: number): Promise<Record<string, unknown>> {
    const count = Math.ceil((runs * shares[kind]) / 2)
    const order = { address: gatewayAddress, port, runs: count, seed: seed + part, user: 'mallory', password: 'guest' }
    const stdout = await network.mustRun('client', process.execPath, [peer, kind, JSON.stringify(order)], {
      timeoutMs: 60_000 + count * 20,
    })
    return JSON.parse(stdout) as Record<string, unknown>
  }

  test.each(['http', 'cstp', 'dtls', 'inner'] as const)(
    '%s: no crash, no growth',
    { timeout: 3_600_000 },
    async kind => {
      const first = await send(kind, 1)
      const middle = residentBytes(gateway.pid)
      const second = await send(kind, 2)
      const end = residentBytes(gateway.pid)
      console.log(
        `${kind}: ${JSON.stringify(first)} ${JSON.stringify(second)}, ${toMegabytes(middle)} -> ${toMegabytes(end)} MB`,
      )
      expect(gateway.hasEnded).toBe(false)
      expect(end - middle).toBeLessThan(mayGrowBytes)
      for (const results of [first, second]) expect(results.hanging ?? 0).toBe(0)
    },
  )

  test('a packet from an address that the client does not hold goes nowhere', async () => {
    const stolen = ['192.168.77.200', '10.2.0.9', 'fd77:77::bad', 'fd02::9']
    for (const address of stolen) {
      const length = address.includes(':') ? '128' : '32'
      await network.mustRun('client', 'ip', ['address', 'add', `${address}/${length}`, 'dev', 'vpn0'])
    }
    const capture = await Capture.start(network, 'corporate', 'lan0', workspace.path('stolen.pcap'))
    for (const address of stolen) {
      const to = address.includes(':') ? corporateAddress6 : corporateAddress
      await network.run('client', 'ping', ['-n', '-c', '3', '-i', '0.2', '-W', '1', '-I', address, '-s', '777', to])
    }
    // An honest ping ends the capture: it went through, so the others had their chance.
    expect(await ping(network, corporateAddress, { sizeBytes: 555 })).toMatchObject({ received: 3 })
    const packets = await capture.stop()
    const ofSize = (bytes: number): number => packets.filter(packet => Math.abs(packet.length - bytes) < 30).length
    expect(ofSize(555 + 42)).toBeGreaterThanOrEqual(6)
    expect(ofSize(777 + 42)).toBe(0)
    for (const address of stolen) await network.mustRun('client', 'ip', ['address', 'delete', address, 'dev', 'vpn0'])
  })

  test('nothing but the gateway’s own addresses ever reached the corporate side', async () => {
    const capture = await Capture.start(network, 'corporate', 'lan0', workspace.path('inner.pcap'))
    const count = 2_000
    const order = { address: gatewayAddress, port, runs: count, seed: seed + 3, user: 'mallory', password: 'guest' }
    await network.mustRun('client', process.execPath, [peer, 'inner', JSON.stringify(order)], { timeoutMs: 60_000 })
    expect(await ping(network, corporateAddress)).toMatchObject({ received: 3 })
    const known = [gatewayInsideAddress, gatewayInsideAddress6, corporateAddress, corporateAddress6].map(hex)
    const sources = new Set((await capture.stop()).map(sourceOf).filter(source => source !== undefined))
    expect([...sources].filter(source => !known.includes(source))).toEqual([])
    expect(sources.size).toBeGreaterThan(1)
  })

  test('the other session did not notice, and new ones are welcome', async () => {
    expect(client.hasEnded).toBe(false)
    const { sent, received } = await readPing(pinging)
    console.log(`the other session's pings: ${sent - received} of ${sent} lost`)
    expect(received).toBeGreaterThan(sent * 0.9)
    expect(client.output).not.toMatch(/dead peer|reconnect/i)
    await endOpenconnect(client)
    client = await connectOpenconnect(network, { ...server(), user: 'alice', passwords: ['secret'] })
    expect(tunnelAddresses(client).length).toBe(2)
    const result = await download(network, 5_000_000)
    expect(result).toMatchObject({ bytes: 5_000_000, here: result.there })
  })

  test('no error went unhandled, and the gateway ends in peace', async () => {
    const { code, output } = await gateway.stop('SIGTERM')
    expect(output).not.toMatch(/unhandled|uncaught|InvariantError|^\s+at .*:\d+:\d+/im)
    expect(code).toBe(0)
  })
})

function residentBytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) * 1024
}

function toMegabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(0)
}

function hex(address: string): string {
  return Buffer.from(addressBytes(address)).toString('hex')
}

// The source address of an Ethernet frame's IP packet; link-local ones (neighbour discovery) are the kernel's own.
function sourceOf(frame: Uint8Array): string | undefined {
  const type = frame[12]! * 256 + frame[13]!
  const bytes = type === 0x0800 ? frame.subarray(26, 30) : type === 0x86dd ? frame.subarray(22, 38) : undefined
  if (!bytes || (type === 0x86dd && (bytes[0] === 0xfe || bytes.every(byte => byte === 0)))) return undefined
  return Buffer.from(bytes).toString('hex')
}
