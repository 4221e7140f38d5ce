// The planes of a client and of a gateway, end to end: what leaves at the other end does not depend on how packets travel
// between them, as super-packets or one by one.
import { IpAddress, Prefix } from '@twinbore/core/address'
import {
  checkPacket,
  DropReason,
  IcmpType,
  IpProtocol,
  icmpNextHopMtu,
  icmpType,
  ipv4DontFragment,
  TcpFlag,
  writeIpv4HeaderChecksum,
} from '@twinbore/core/packet'
import { seededRandom } from '@twinbore/core/runtime'
import { packetView, tcpPacket, udpPacket } from '@twinbore/core/testing'
import { Translator } from '@twinbore/pat'
import { describe, expect, test } from 'vitest'
import { CLIENT_SESSION, ClientDataPlane } from '../../src/client/client-data-plane.ts'
import { deniedDestinations } from '../../src/data-plane/denied-destinations.ts'
import { GatewayDataPlane } from '../../src/data-plane/gateway-data-plane.ts'
import { Carrier, SessionTable, type Traffic } from '../../src/data-plane/session-table.ts'
import type { DatagramPath } from '../../src/data-plane/tunnel-side.ts'
import { MemoryNetwork, type MemorySocket } from '../support/memory-socket.ts'
import { OffloadingDevice } from '../support/offloading-device.ts'

const bytesOf = (text: string) => IpAddress.of(text).bytes
const lease = { ipv4: bytesOf('10.77.0.5'), ipv6: bytesOf('fd77::5'), mtu: 1400 }
const outside = { 4: '203.0.113.1', 6: '2001:db8::1' } as const
const inside = { 4: '10.77.0.5', 6: 'fd77::5' } as const
const server = { 4: '192.0.2.9', 6: '2001:db8:1::9' } as const
type Family = 4 | 6

/** Records without protection, from and to the only peer. */
function plainPath(socket: MemorySocket, peer: number): DatagramPath {
  return {
    socket,
    records: {
      openDatagrams: batch => void batch.owners.fill(0),
      sealDatagrams: batch => void batch.owners.fill(peer),
    },
  }
}

class World {
  readonly applications: OffloadingDevice
  readonly network: OffloadingDevice
  readonly sessions = new SessionTable(1)
  readonly gateway: GatewayDataPlane
  readonly client: ClientDataPlane
  readonly onStream: Uint8Array[] = []

  constructor(offload: boolean, carrier: Carrier = Carrier.datagram) {
    this.applications = new OffloadingDevice(offload)
    this.network = new OffloadingDevice(offload)
    const udp = new MemoryNetwork()
    const [near, far] = [udp.open('198.51.100.7', 5000), udp.open('192.0.2.1', 443)]
    const [toGateway, toClient] = [near.endpoints.intern('192.0.2.1', 443), far.endpoints.intern('198.51.100.7', 5000)]
    near.endpoints.retain(toGateway)
    far.endpoints.retain(toClient)
    const ignore = () => undefined
    this.client = new ClientDataPlane({
      lease,
      outlets: { sendOnStream: ignore, handleControlFrame: ignore },
      device: this.applications,
    })
    this.client.path = plainPath(near, toGateway)
    this.client.sessions.carriers[CLIENT_SESSION] = Carrier.datagram
    const session = this.sessions.install(lease)
    this.sessions.setAssociation(session, 0)
    this.sessions.carriers[session] = carrier
    this.gateway = new GatewayDataPlane({
      sessions: this.sessions,
      outlets: {
        sendOnStream: (_, bytes, offset, length) => this.onStream.push(bytes.slice(offset, offset + length)),
        handleControlFrame: ignore,
      },
      device: this.network,
      path: plainPath(far, toClient),
      translator: new Translator({ random: seededRandom(3), outsideAddresses: [outside[4], outside[6]] }),
      destinations: deniedDestinations({ pools: [Prefix.of('10.77.0.0/24')], ownAddresses: [], allowed: [] }),
      gatewayAddresses: { ipv4: bytesOf('10.77.0.1'), ipv6: bytesOf('fd77::1') },
    })
  }

  /** Applications send; returns what the network beyond the gateway gets. */
  up(...packets: Uint8Array[]): Uint8Array[] {
    this.applications.offer(...packets)
    while (!this.client.pumpDevice(0));
    while (!this.gateway.pumpSocket(0));
    return this.network.written.splice(0)
  }

  /** The network sends; returns what applications get. */
  down(...packets: Uint8Array[]): Uint8Array[] {
    this.network.offer(...packets)
    while (!this.gateway.pumpDevice(0));
    while (!this.client.pumpPath(this.client.path!, 0));
    return this.applications.written.splice(0)
  }

  traffic(): Traffic {
    this.sessions.drainActivity(() => undefined)
    return this.sessions.traffic(0, Carrier.datagram)
  }
}

const payload = (length: number, seed: number) => Uint8Array.from({ length }, (_, i) => (i * 13 + seed) & 0xff)
const options = Uint8Array.of(1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8)

interface Ends {
  readonly source: string
  readonly destination: string
  readonly sourcePort: number
  readonly destinationPort: number
}

/** Two TCP flows and one of UDP, interleaved, with all that ends a super-packet: short ones, PSH, pure ACKs, FIN. */
function mixture(family: Family, ends: (port: number) => Ends, from: number, acknowledges: number): Uint8Array[] {
  const packets: Uint8Array[] = []
  const sequence = [from, from]
  for (let i = 0; i < 150; i++) {
    const flow = i % 7 === 3 ? 1 : 0
    const size = i % 31 === 30 ? 100 : flow === 1 ? 700 : 1300
    const flags = TcpFlag.ack | (i % 23 === 22 ? TcpFlag.psh : 0)
    const tcp = { ...ends(4000 + flow), identification: i, dontFragment: true, acknowledgmentNumber: acknowledges }
    packets.push(
      tcpPacket({ ...tcp, tcpOptions: options, flags, sequenceNumber: sequence[flow]!, payload: payload(size, i) }),
    )
    sequence[flow]! += size
    if (i % 40 === 39) packets.push(tcpPacket({ ...tcp, sequenceNumber: sequence[flow]! }))
    if (i % 3 === 0)
      packets.push(
        udpPacket({ ...ends(5000), dontFragment: family === 6, payload: payload(i % 2 === 0 ? 600 : 500, i) }),
      )
  }
  const last = { ...ends(4000), dontFragment: true, acknowledgmentNumber: acknowledges }
  packets.push(
    tcpPacket({ ...last, flags: TcpFlag.ack | TcpFlag.fin, sequenceNumber: sequence[0]!, payload: payload(10, 1) }),
  )
  return packets
}

const upEnds = (family: Family) => (port: number) => ({
  source: inside[family],
  destination: server[family],
  sourcePort: port,
  destinationPort: 443,
})

/** Opens the flows of `mixture` through a world; returns the outside port of each. */
function openFlows(world: World, family: Family): Map<number, number> {
  const ports = new Map<number, number>()
  const at = family === 4 ? 20 : 40
  for (const port of [4000, 4001]) {
    const [syn] = world.up(tcpPacket({ ...upEnds(family)(port), flags: TcpFlag.syn, sequenceNumber: 99 }))
    ports.set(port, packetView(syn!).getUint16(at))
    const back = {
      source: server[family],
      destination: outside[family],
      sourcePort: 443,
      destinationPort: ports.get(port)!,
    }
    const flags = TcpFlag.syn | TcpFlag.ack
    expect(world.down(tcpPacket({ ...back, flags, sequenceNumber: 499, acknowledgmentNumber: 100 }))).toHaveLength(1)
  }
  const [datagram] = world.up(udpPacket({ ...upEnds(family)(5000), dontFragment: true }))
  ports.set(5000, packetView(datagram!).getUint16(at))
  return ports
}

/** Per flow in order, without what has no meaning: order among flows, identifications under "don't fragment". */
function byFlow(packets: readonly Uint8Array[]): Map<string, string[]> {
  const flows = new Map<string, string[]>()
  for (const packet of packets) {
    expect(checkPacket(packetView(packet), 0, packet.length)).toBe(0)
    const copy = packet.slice()
    const view = packetView(copy)
    const v4 = copy[0]! >>> 4 === 4
    if (v4 && ipv4DontFragment(view, 0)) {
      view.setUint16(4, 0)
      writeIpv4HeaderChecksum(view, 0)
    }
    const at = v4 ? 20 : 40
    const flow = `${copy[v4 ? 9 : 6] === IpProtocol.tcp ? 'tcp' : 'udp'} ${view.getUint32(at)}`
    flows.set(flow, [...(flows.get(flow) ?? []), Buffer.from(copy).toString('hex')])
  }
  return flows
}

describe.each([4, 6] as const)('IPv%i', family => {
  test('up: the network gets the same packets, with offload and without', () => {
    const worlds = [new World(false), new World(true)]
    const [plain, offloaded] = worlds.map(world => {
      openFlows(world, family)
      const sent = mixture(family, upEnds(family), 100, 500)
      const arrived = world.up(...sent)
      expect(arrived).toHaveLength(sent.length)
      return arrived
    })
    expect(worlds[0]!.network.superPacketsSeen).toBe(0)
    expect(worlds[1]!.network.superPacketsSeen).toBeGreaterThan(5)
    expect(worlds[1]!.applications.superPacketsSeen).toBeGreaterThan(5)
    expect(byFlow(offloaded!)).toEqual(byFlow(plain!))
    // Packets are counted, however they travel.
    expect(worlds[1]!.traffic()).toEqual(worlds[0]!.traffic())
  })

  test('down: applications get the same packets, with offload and without', () => {
    const worlds = [new World(false), new World(true)]
    const [plain, offloaded] = worlds.map(world => {
      const ports = openFlows(world, family)
      const ends = (port: number) => ({
        source: server[family],
        destination: outside[family],
        sourcePort: 443,
        destinationPort: ports.get(port)!,
      })
      const sent = mixture(family, ends, 500, 100)
      const arrived = world.down(...sent)
      expect(arrived).toHaveLength(sent.length)
      return arrived
    })
    expect(worlds[1]!.network.superPacketsSeen).toBeGreaterThan(5)
    expect(byFlow(offloaded!)).toEqual(byFlow(plain!))
    expect(worlds[1]!.traffic()).toEqual(worlds[0]!.traffic())
  })
})

test('a stream channel gets packets cut', () => {
  const arrived = [false, true].map(offload => {
    const world = new World(offload, Carrier.stream)
    world.up(udpPacket({ ...upEnds(4)(5000), dontFragment: true }))
    const syn = world.up(tcpPacket({ ...upEnds(4)(4000), flags: TcpFlag.syn, sequenceNumber: 99 }))
    const back = {
      source: server[4],
      destination: outside[4],
      sourcePort: 443,
      destinationPort: packetView(syn[0]!).getUint16(20),
    }
    const tcp = { ...back, dontFragment: true, acknowledgmentNumber: 100 }
    world.down(tcpPacket({ ...tcp, flags: TcpFlag.syn | TcpFlag.ack, sequenceNumber: 499 }))
    const data = Array.from({ length: 40 }, (_, i) =>
      tcpPacket({ ...tcp, sequenceNumber: 500 + i * 1000, payload: payload(1000, i) }),
    )
    world.down(...data)
    expect(world.onStream).toHaveLength(41)
    return byFlow(world.onStream)
  })
  expect(arrived[1]).toEqual(arrived[0])
})

describe('packets of a super-packet that are too long for the session', () => {
  const setUp = (dontFragment: boolean) => {
    const world = new World(true)
    world.sessions.mtus[0] = 1000
    const [out] = world.up(udpPacket({ ...upEnds(4)(5000), dontFragment: true }))
    const back = {
      source: server[4],
      destination: outside[4],
      sourcePort: 443,
      destinationPort: packetView(out!).getUint16(20),
    }
    const sent = Array.from({ length: 5 }, (_, i) =>
      udpPacket({ ...back, dontFragment, identification: i, payload: payload(1300, i) }),
    )
    return { world, arrived: world.down(...sent) }
  }

  test('"don\'t fragment": dropped, each is counted, and the sender is told about one of them', () => {
    const { world, arrived } = setUp(true)
    expect(arrived).toEqual([])
    expect(world.gateway.drops()[DropReason.tooBig]).toBe(5)
    const errors = world.network.written
    expect(errors).toHaveLength(1)
    const view = packetView(errors[0]!)
    expect(icmpType(view, 20)).toBe(IcmpType.destinationUnreachable)
    expect(icmpNextHopMtu(view, 20)).toBe(1000)
    // It quotes a packet of 1328 bytes, not one of 6528.
    expect(view.getUint16(28 + 2)).toBe(1328)
  })

  test('else: each is fragmented', () => {
    const { world, arrived } = setUp(false)
    expect(arrived).toHaveLength(10)
    for (const packet of arrived) expect(packet.length).toBeLessThanOrEqual(1000)
    expect(world.gateway.drops()[DropReason.tooBig]).toBe(0)
  })
})
