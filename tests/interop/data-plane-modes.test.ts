// Whole streams in every mode of the data plane and with each offload switched off in turn: a stock client moves data both
// ways at once, and both ends agree on the SHA-256. The gateway's own counters and its log say that the mode was really in
// effect. One stream goes over IPv4 and one over IPv6, the other way round in the next mode; with MODES_MEGABYTES, which is
// what each stream moves, all four of them go.
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { type LabCertificates, makeCertificates } from '../lab/certificates.ts'
import { logOf, startFailingGateway, statsOf, type ToldStats } from '../lab/failing-gateway.ts'
import { corporateAddress, corporateAddress6, gatewayAddress, LabNetwork } from '../lab/lab-network.ts'
import type { LabProcess } from '../lab/lab-process.ts'
import { needs } from '../lab/needs.ts'
import { connectOpenconnect, endOpenconnect } from '../lab/openconnect.ts'
import { download, reach, startFileServer, upload } from '../lab/traffic.ts'
import { configureGateway, port } from '../lab/twinbore.ts'
import { Workspace } from '../lab/workspace.ts'

const megabytes = process.env.MODES_MEGABYTES
const streamBytes = Number(megabytes ?? 10) * 1_000_000

interface Mode {
  readonly name: string
  readonly egress?: 'translate' | 'kernel' | 'sockets'
  readonly dataPlane?: Readonly<Record<string, unknown>>
  /** UDP is blocked all the time. */
  readonly streamOnly?: boolean
  /** What the line `data plane` of the log says. */
  readonly facts: Readonly<Record<string, unknown>>
  /** What the counters say. */
  readonly counts?: (stats: ToldStats) => void
}

const superBothWays = ({ device, socket }: ToldStats) => {
  expect(device.superPacketsRead).toBeGreaterThan(0)
  expect(device.superPacketsWritten).toBeGreaterThan(0)
  expect(socket!.trainsSent).toBeGreaterThan(0)
}
const singleTrains = ({ socket }: ToldStats) => {
  expect(socket).toMatchObject({ trainsSent: 0 })
  expect(socket!.datagramsSent).toBeGreaterThan(streamBytes / 1500)
}
const everySuperPacket = 'super-packets, UDP too'

const modes: readonly Mode[] = [
  {
    name: 'all offloads, a worker, translate',
    facts: { driver: 'worker', device: everySuperPacket, datagrams: 'batches, GSO, GRO', records: 'tls-mode' },
    counts: superBothWays,
  },
  {
    name: 'all offloads, a worker, kernel',
    egress: 'kernel',
    facts: { driver: 'worker', device: everySuperPacket, datagrams: 'batches, GSO, GRO' },
    counts: superBothWays,
  },
  {
    name: 'no super-packets of UDP',
    dataPlane: { offload: { tun: 'tcp' } },
    facts: { device: 'super-packets' },
    counts: superBothWays,
  },
  {
    name: 'packets read one by one',
    dataPlane: { offload: { tun: 'write' } },
    facts: { device: 'single packets' },
    counts({ device }) {
      expect(device.superPacketsRead).toBe(0)
      expect(device.superPacketsWritten).toBeGreaterThan(0)
    },
  },
  {
    name: 'no virtio headers',
    dataPlane: { offload: { tun: 'plain' } },
    facts: { device: 'single packets' },
    counts: ({ device }) => expect(device).toMatchObject({ superPacketsRead: 0, superPacketsWritten: 0 }),
  },
  {
    name: 'no UDP GSO',
    dataPlane: { offload: { gso: false } },
    facts: { driver: 'worker', datagrams: 'batches, GRO' },
    counts: singleTrains,
  },
  {
    name: 'no UDP GRO',
    dataPlane: { offload: { gro: false } },
    facts: { driver: 'worker', datagrams: 'batches, GSO' },
    counts: ({ socket }) => expect(socket!.messagesReceived).toBe(socket!.datagramsReceived),
  },
  {
    name: 'nothing of all that, kernel',
    egress: 'kernel',
    dataPlane: { offload: { tun: 'plain', gso: false, gro: false }, records: 'node' },
    facts: { driver: 'worker', device: 'single packets', datagrams: 'batches', records: 'node' },
    counts(stats) {
      expect(stats.device).toMatchObject({ superPacketsRead: 0, superPacketsWritten: 0 })
      singleTrains(stats)
    },
  },
  {
    name: 'the event loop',
    dataPlane: { driver: 'loop' },
    facts: { driver: 'loop', device: everySuperPacket, datagrams: 'batches, GSO, GRO', records: 'tls-mode' },
    counts(stats) {
      superBothWays(stats)
      expect(stats.recordContexts).toBeGreaterThan(0)
    },
  },
  {
    name: 'records by node:crypto',
    dataPlane: { driver: 'loop', records: 'node' },
    facts: { driver: 'loop', records: 'node', streams: 'node' },
    counts: ({ recordContexts }) => expect(recordContexts).toBe(0),
  },
  {
    name: 'the portable socket',
    dataPlane: { driver: 'portable' },
    facts: { driver: 'portable', datagrams: 'portable' },
    counts: singleTrains,
  },
  {
    name: 'sockets as the way out',
    egress: 'sockets',
    facts: { driver: 'loop', device: 'super-packets', datagrams: 'batches, GSO, GRO' },
    counts: ({ sockets }) => expect(sockets).toBeDefined(),
  },
  {
    name: 'the portable socket, records by node:crypto, sockets',
    egress: 'sockets',
    dataPlane: { driver: 'portable', records: 'node' },
    facts: { driver: 'portable', datagrams: 'portable', records: 'node' },
    counts: singleTrains,
  },
  {
    name: 'the stream alone, by own records',
    streamOnly: true,
    facts: { driver: 'worker', streams: 'evp' },
    counts: ({ streams }) => expect(streams).toMatchObject({ own: 1, node: 0 }),
  },
  {
    name: 'the stream alone, by own records of node:crypto',
    egress: 'kernel',
    dataPlane: { records: 'node' },
    streamOnly: true,
    facts: { driver: 'worker', streams: 'node' },
    counts: ({ streams }) => expect(streams).toMatchObject({ own: 1, node: 0 }),
  },
  {
    name: 'the stream alone, by Node’s TLS',
    dataPlane: { streams: 'node' },
    streamOnly: true,
    facts: { driver: 'worker', streams: "Node's TLS" },
    counts: ({ streams }) => expect(streams).toMatchObject({ own: 0, node: 1 }),
  },
  {
    name: 'the stream alone, sockets',
    egress: 'sockets',
    streamOnly: true,
    facts: { driver: 'loop', streams: 'evp' },
    counts: ({ streams }) => expect(streams).toMatchObject({ own: 1, node: 0 }),
  },
]

needs(
  'root',
  'tun',
  'ip',
  'nft',
  'openssl',
  'openconnect',
  'ping',
)('whole streams', () => {
  let network: LabNetwork
  let workspace: Workspace
  let certificates: LabCertificates
  let gateway: LabProcess | undefined
  let client: LabProcess | undefined

  beforeAll(async () => {
    workspace = new Workspace()
    network = await LabNetwork.create()
    certificates = await makeCertificates(workspace)
    await startFileServer(network)
    // With sockets as the way out, pings leave by a socket that the system may refuse.
    await network.mustRun('gateway', 'sysctl', ['-qw', 'net.ipv4.ping_group_range=0 2147483647'])
  })
  afterAll(async () => {
    await network?.close()
    workspace?.remove()
  })

  afterEach(async () => {
    if (client) await endOpenconnect(client)
    await network.openUdp()
    await gateway?.stop()
    client = undefined
    gateway = undefined
  })

  test.each(modes)('with $name', { timeout: 180_000 + streamBytes / 500 }, async mode => {
    const { egress = 'translate', dataPlane = {}, streamOnly = false, facts, counts } = mode
    const config = await configureGateway(workspace, {
      certificates,
      // Silence is no reason to leave a channel here: the machine may be busy.
      config: { egress: { mode: egress }, dataPlane, session: { dpdSeconds: 30 }, datagram: { dpdSeconds: 30 } },
    })
    gateway = await startFailingGateway(network, config)
    const server = { url: `https://${gatewayAddress}`, serverPin: certificates.gatewayPin }
    if (streamOnly) await network.dropUdp(port)
    client = await connectOpenconnect(
      network,
      // Without that word it would try for a while before its tunnel is up.
      { ...server, user: 'alice', passwords: ['secret'], more: streamOnly ? ['--no-dtls'] : [] },
      { dtls: !streamOnly },
    )
    await reach(network, corporateAddress)
    await reach(network, corporateAddress6)

    const began = performance.now()
    const ways = [
      [upload, corporateAddress],
      [download, corporateAddress6],
      [upload, corporateAddress6],
      [download, corporateAddress],
    ] as const
    const first = megabytes ? 0 : (modes.indexOf(mode) % 2) * 2
    const streams = ways.slice(first, megabytes ? ways.length : first + 2)
    const results = await Promise.all(streams.map(([move, to]) => move(network, streamBytes, to)))
    const megabits = (results.length * streamBytes * 8) / 1000 / (performance.now() - began)
    console.log(`${mode.name}: ${megabits.toFixed(0)} Mbit/s`)
    for (const { bytes, here, there } of results) expect({ bytes, here }).toEqual({ bytes: streamBytes, here: there })

    const { output } = gateway
    expect(
      logOf(gateway).find(({ msg }) => msg === 'data plane'),
      output,
    ).toMatchObject(facts)
    // A worker tells its counters every now and then.
    const told = gateway
    await vi.waitFor(
      async () => {
        const stats = await statsOf(told)
        const carried = stats.socket!.bytesReceived
        if (streamOnly) expect(carried).toBe(0)
        else expect(carried).toBeGreaterThan(streamBytes * (streams.length / 2))
        counts?.(stats)
      },
      { timeout: 5000 },
    )
    expect(client.output).not.toMatch(/dead peer|DTLS handshake failed/i)
    expect(logOf(gateway).filter(({ level }) => level === 'error')).toEqual([])
  })
})
