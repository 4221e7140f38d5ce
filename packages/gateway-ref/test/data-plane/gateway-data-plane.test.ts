// The pipelines of a gateway: memory in place of UDP and of the device, real DTLS and a real translator.
import { encodeDatagramFrame, FrameType } from '@twinbore/core'
import { IpAddress, Prefix } from '@twinbore/core/address'
import {
  checkPacket,
  DropReason,
  IcmpType,
  icmpCode,
  icmpNextHopMtu,
  icmpType,
  type PacketBatchOptions,
  TcpFlag,
} from '@twinbore/core/packet'
import { seededRandom } from '@twinbore/core/runtime'
import { fragmentPacket, packetView, tcpPacket, udpPacket } from '@twinbore/core/testing'
import { DtlsAssociation, DtlsServer } from '@twinbore/dtls'
import { nodeCrypto } from '@twinbore/dtls/io'
import { Translator } from '@twinbore/pat'
import { beforeEach, describe, expect, test } from 'vitest'
import { deniedDestinations } from '../../src/data-plane/denied-destinations.ts'
import { GatewayDataPlane } from '../../src/data-plane/gateway-data-plane.ts'
import { Carrier, SessionTable } from '../../src/data-plane/session-table.ts'
import { MemoryNetwork, type MemorySocket } from '../support/memory-socket.ts'
import { PacketHost } from '../support/packet-host.ts'

const outside = '203.0.113.1'
const server = '192.0.2.9'
const random = seededRandom(11)
const bytesOf = (text: string) => IpAddress.of(text).bytes

/** A gateway with two sessions, anna (0) and otto (1); either can be given a datagram channel with real keys. */
class World {
  readonly sessions = new SessionTable(4)
  readonly network = new PacketHost(9000)
  readonly onStream: { session: number; packet: Uint8Array }[] = []
  readonly control: { session: number; type: FrameType; payload: Uint8Array }[] = []
  readonly plane: GatewayDataPlane
  readonly dtls: DtlsServer
  readonly socket: MemorySocket
  private readonly udp = new MemoryNetwork()
  private established: number | undefined

  constructor({ translator, batch }: { translator?: Translator; batch?: PacketBatchOptions } = {}) {
    for (const n of [5, 6]) {
      this.sessions.install({ ipv4: bytesOf(`10.77.0.${n}`), ipv6: bytesOf(`fd77::${n}`), mtu: 1300 })
    }
    this.socket = this.udp.open('192.0.2.1', 443)
    this.dtls = new DtlsServer({
      crypto: nodeCrypto,
      random,
      findPsk: () => key,
      hostOf: endpoint => this.socket.endpoints.addressOf(endpoint),
      retainEndpoint: endpoint => this.socket.endpoints.retain(endpoint),
      releaseEndpoint: endpoint => this.socket.endpoints.release(endpoint),
    })
    this.plane = new GatewayDataPlane({
      sessions: this.sessions,
      outlets: {
        sendOnStream: (session, bytes, offset, length) =>
          this.onStream.push({ session, packet: bytes.slice(offset, offset + length) }),
        handleControlFrame: (session, type, payload) => this.control.push({ session, type, payload }),
      },
      device: this.network.device,
      path: { socket: this.socket, records: this.dtls },
      translator,
      destinations: deniedDestinations({ pools: [Prefix.of('10.77.0.0/24')], ownAddresses: [], allowed: [] }),
      gatewayAddresses: { ipv4: bytesOf('10.77.0.1'), ipv6: bytesOf('fd77::1') },
      ...(batch && { batch }),
    })
  }

  /** Lets everything that waits at the gateway's socket through, and the DTLS server have its say. */
  pump(): void {
    while (!this.plane.pumpSocket(0));
    for (let output = this.dtls.poll(); output; output = this.dtls.poll()) {
      if (output.type === 'transmit') this.socket.sendTo(output.endpoint, output.bytes)
      else if (output.type === 'established') this.established = output.association
    }
  }

  /** Packets of a session arrive on its stream channel. */
  fromStream(session: number, ...packets: Uint8Array[]): void {
    const batch = this.plane.fromStreams
    for (const packet of packets) batch.push(packet, session)
    this.plane.handleStreamPackets(batch, 0)
    batch.reset()
  }

  /** Packets arrive from the corporate network. */
  fromNetwork(...packets: Uint8Array[]): void {
    this.network.send(...packets)
    while (!this.plane.pumpDevice(0));
  }

  openDatagrams(session: number): DatagramPeer {
    const peer = new DatagramPeer(this.udp.open(`198.51.100.${session}`, 5000), () => this.pump())
    this.sessions.setAssociation(session, this.established!)
    this.sessions.carriers[session] = Carrier.datagram
    return peer
  }
}

const key = new Uint8Array(32).fill(3)

/** A client at its own UDP socket, with the keys of one association. */
class DatagramPeer {
  readonly socket: MemorySocket
  readonly received: Uint8Array[] = []
  private readonly association: DtlsAssociation
  private readonly gateway: number
  private readonly pumpGateway: () => void

  constructor(socket: MemorySocket, pumpGateway: () => void) {
    this.socket = socket
    this.pumpGateway = pumpGateway
    this.gateway = socket.endpoints.intern('192.0.2.1', 443)
    socket.endpoints.retain(this.gateway)
    this.association = new DtlsAssociation({
      role: 'client',
      crypto: nodeCrypto,
      random,
      psk: { identity: 'psk', key },
      sessionId: random.fill(new Uint8Array(32)),
    })
    this.association.start(0)
    for (let flight = 0; flight < 6; flight++) {
      this.drain()
      pumpGateway()
      this.take()
    }
    this.drain()
    pumpGateway()
  }

  send(type: FrameType, payload: Uint8Array): void {
    this.association.send(encodeDatagramFrame(type, payload), 0)
    this.drain()
    this.pumpGateway()
  }

  /** Frames that came since the last call. */
  take(): Uint8Array[] {
    for (const { bytes } of this.socket.waiting.splice(0)) this.association.handleDatagram(bytes, 0)
    const from = this.received.length
    this.drain()
    return this.received.slice(from)
  }

  private drain(): void {
    for (let output = this.association.poll(); output; output = this.association.poll()) {
      if (output.type === 'transmit') this.socket.sendTo(this.gateway, output.bytes)
      else if (output.type === 'received') this.received.push(output.bytes)
    }
  }
}

const ports = { sourcePort: 4000, destinationPort: 53 }
const up = (n: number, more: object = {}) =>
  udpPacket({ source: `10.77.0.${n}`, destination: server, ...ports, ...more })
const down = (n: number, more: object = {}) =>
  udpPacket({ source: server, destination: `10.77.0.${n}`, sourcePort: 53, destinationPort: 4000, ...more })

let world: World
beforeEach(() => {
  world = new World()
})

describe('packets', () => {
  test('go by the carrier of each session: one by its stream, one by its association', () => {
    world.sessions.carriers[0] = Carrier.stream
    const otto = world.openDatagrams(1)
    world.fromNetwork(down(5), down(6), down(5, { payload: Uint8Array.of(1) }))
    expect(world.onStream).toEqual([
      { session: 0, packet: down(5) },
      { session: 0, packet: down(5, { payload: Uint8Array.of(1) }) },
    ])
    expect(otto.take()).toEqual([encodeDatagramFrame(FrameType.data, down(6))])
  })

  test('come from both channels, and are counted for theirs', () => {
    const otto = world.openDatagrams(1)
    world.fromStream(0, up(5))
    otto.send(FrameType.data, up(6))
    expect(world.network.received.map(({ source }) => source)).toEqual(['10.77.0.5', '10.77.0.6'])
    const seen: unknown[] = []
    world.sessions.drainActivity((...activity) => seen.push(activity))
    const counts = { packetsReceived: 1, bytesReceived: 28, packetsSent: 0, bytesSent: 0 }
    expect(seen).toEqual([
      [0, Carrier.stream, counts],
      [1, Carrier.datagram, counts],
    ])
  })

  test('of a session without a channel, of nobody, and of an association without a session are dropped and counted', () => {
    const otto = world.openDatagrams(1)
    world.fromNetwork(down(5), down(77))
    world.sessions.setAssociation(1, -1)
    otto.send(FrameType.data, up(6))
    expect(world.plane.drops()[DropReason.noSession]).toBe(3)
    expect(world.network.received).toEqual([])
  })

  test("under another session's address stay inside, by either channel", () => {
    const otto = world.openDatagrams(1)
    otto.send(FrameType.data, up(5))
    world.fromStream(0, up(6))
    expect(world.network.received).toEqual([])
    expect(world.plane.drops()[DropReason.spoofedSource]).toBe(2)
  })

  test('that are none are dropped and counted, from all sides', () => {
    const otto = world.openDatagrams(1)
    const broken = up(6)
    broken[10]! ^= 0xff
    otto.send(FrameType.data, broken)
    otto.send(FrameType.data, Uint8Array.of(0x45))
    world.fromStream(0, Uint8Array.of(1, 2, 3))
    world.fromNetwork(Uint8Array.of(0x60, 0, 0))
    world.socket.waiting.push({ from: otto.socket, bytes: new Uint8Array(0) })
    world.socket.waiting.push({ from: otto.socket, bytes: random.fill(new Uint8Array(100)) })
    world.pump()
    expect(world.network.received).toEqual([])
    expect(world.plane.drops()[DropReason.badChecksum]).toBe(1)
    expect(world.plane.drops()[DropReason.malformed]).toBe(3)
  })

  test('many more than a batch has room for all pass, in order', () => {
    world.sessions.carriers[0] = Carrier.stream
    world.fromNetwork(...Array.from({ length: 150 }, (_, i) => down(5, { identification: i })))
    expect(world.onStream.map(({ packet }) => (packet[4]! << 8) | packet[5]!)).toEqual(
      Array.from({ length: 150 }, (_, i) => i),
    )
  })
})

describe('a socket without room', () => {
  test('lets records wait, control frames behind them, and takes them in order when it has room again', () => {
    const [anna, otto] = [world.openDatagrams(0), world.openDatagrams(1)]
    const marked = (n: number, mark: number) => down(n, { payload: Uint8Array.of(mark) })
    world.socket.room = 1
    world.fromNetwork(marked(5, 1), marked(5, 2), marked(6, 3), marked(5, 4))
    world.fromNetwork(marked(5, 5))
    world.plane.tunnels.sendControlFrame(
      world.sessions.associations[0]!,
      FrameType.dpdResponse,
      Uint8Array.of(9),
      { socket: world.socket, records: world.dtls },
      0,
    )
    expect(anna.take()).toEqual([encodeDatagramFrame(FrameType.data, marked(5, 1))])
    expect(world.plane.deadline).toBe(1)
    world.plane.handleDeadline(1)
    expect(world.plane.deadline).toBe(2)
    world.socket.room = Number.POSITIVE_INFINITY
    world.plane.handleDeadline(2)
    expect(world.plane.deadline).toBeUndefined()
    expect(anna.take()).toEqual([
      ...[2, 4, 5].map(mark => encodeDatagramFrame(FrameType.data, marked(5, mark))),
      encodeDatagramFrame(FrameType.dpdResponse, Uint8Array.of(9)),
    ])
    expect(otto.take()).toEqual([encodeDatagramFrame(FrameType.data, marked(6, 3))])
    expect(world.plane.drops()[DropReason.queueFull]).toBe(0)
    world.fromNetwork(marked(5, 6))
    expect(anna.take()).toEqual([encodeDatagramFrame(FrameType.data, marked(5, 6))])
  })

  test('drops and counts what can not wait', () => {
    const anna = world.openDatagrams(0)
    world.socket.room = 0
    for (let n = 0; n < 3000; n++) world.fromNetwork(down(5, { payload: new Uint8Array(1000) }))
    const dropped = world.plane.drops()[DropReason.queueFull]!
    expect(dropped).toBeGreaterThan(1500)
    world.socket.room = Number.POSITIVE_INFINITY
    world.plane.handleDeadline(1)
    expect(anna.take()).toHaveLength(3000 - dropped)
  })
})

describe('control frames', () => {
  test('leave to the session of their association, with a payload of their own', () => {
    const otto = world.openDatagrams(1)
    otto.send(FrameType.dpdRequest, Uint8Array.of(1, 2, 3))
    otto.send(FrameType.data, up(6))
    expect(world.control).toEqual([{ session: 1, type: FrameType.dpdRequest, payload: Uint8Array.of(1, 2, 3) }])
    expect(world.network.received).toHaveLength(1)
    // What a batch holds later is none of its business.
    otto.send(FrameType.dpdRequest, Uint8Array.of(9, 9, 9))
    expect(world.control[0]!.payload).toEqual(Uint8Array.of(1, 2, 3))
  })

  test('go out through the association', () => {
    const otto = world.openDatagrams(1)
    const path = { socket: world.socket, records: world.dtls }
    const association = world.sessions.associations[1]!
    world.plane.tunnels.sendControlFrame(association, FrameType.dpdResponse, Uint8Array.of(7), path, 0)
    expect(otto.take()).toEqual([encodeDatagramFrame(FrameType.dpdResponse, Uint8Array.of(7))])
  })

  test('of no known type are dropped and counted', () => {
    const otto = world.openDatagrams(1)
    otto.send(200 as FrameType, Uint8Array.of(1))
    expect(world.control).toEqual([])
    expect(world.plane.drops()[DropReason.unexpectedFrame]).toBe(1)
  })
})

describe('the MSS of a connection is held to the session (RFC 4459 §3.2)', () => {
  const mss = (value: number) => Uint8Array.of(2, 4, value >> 8, value & 0xff)
  const read = (packet: Uint8Array, header: number) => (packet[header + 22]! << 8) | packet[header + 23]!

  test.each([
    ['IPv4', '10.77.0.5', server, 20, 1300 - 40],
    ['IPv6', 'fd77::5', '2001:db8::9', 40, 1300 - 60],
  ])('both ways, %s', (_, client, remote, header, expected) => {
    world.sessions.carriers[0] = Carrier.stream
    const syn = { sourcePort: 1, destinationPort: 2, tcpOptions: mss(1460) }
    world.fromStream(0, tcpPacket({ source: client, destination: remote, flags: TcpFlag.syn, ...syn }))
    expect(read(world.network.received[0]!.bytes, header)).toBe(expected)
    world.fromNetwork(
      tcpPacket({ source: remote, destination: client, flags: TcpFlag.syn | TcpFlag.ack, ...syn }),
      tcpPacket({ source: remote, destination: client, flags: TcpFlag.syn, ...syn, tcpOptions: mss(500) }),
      tcpPacket({ source: remote, destination: client, flags: TcpFlag.ack, ...syn }),
    )
    expect(world.onStream.map(({ packet }) => read(packet, header))).toEqual([expected, 500, 1460])
    for (const { packet } of world.onStream) expect(checkPacket(packetView(packet), 0, packet.length)).toBe(0)
  })
})

describe('with a translator', () => {
  const translator = () =>
    new Translator({
      random,
      outsideAddresses: [outside],
      insidePrefixes: ['10.77.0.0/24'],
      gatewayAddresses: ['10.77.0.1'],
    })

  /** Opens a flow from the inside, and says by which port it left. */
  function openFlow(): number {
    world.fromStream(0, up(5))
    const { bytes, source } = world.network.received.at(-1)!
    expect(source).toBe(outside)
    return (bytes[20]! << 8) | bytes[21]!
  }

  test('packets leave under the outside address, and answers find back', () => {
    world = new World({ translator: translator() })
    world.sessions.carriers[0] = Carrier.stream
    const port = openFlow()
    world.fromNetwork(udpPacket({ source: server, destination: outside, sourcePort: 53, destinationPort: port }))
    expect(world.onStream).toHaveLength(1)
    expect([...world.onStream[0]!.packet.subarray(16, 20)]).toEqual([10, 77, 0, 5])
  })

  test('errors about packets that are too long leave translated, about the packet as its sender knows it', () => {
    world = new World({ translator: translator() })
    world.sessions.carriers[0] = Carrier.stream
    const back = { source: server, destination: outside, sourcePort: 53, destinationPort: openFlow() }
    world.fromNetwork(udpPacket({ ...back, dontFragment: true, payload: new Uint8Array(1400) }))
    const error = world.network.received.at(-1)!
    expect([error.source, error.destination]).toEqual([outside, server])
    const view = packetView(error.bytes)
    expect([icmpType(view, 20), icmpCode(view, 20), icmpNextHopMtu(view, 20)]).toEqual([
      IcmpType.destinationUnreachable,
      4,
      1300,
    ])
    expect([...error.bytes.subarray(44, 48)]).toEqual([203, 0, 113, 1])
    expect(world.onStream).toEqual([])
  })

  test('fragments that it held go on when their first comes, and are split once more where the tunnel is narrow', () => {
    world = new World({ translator: translator(), batch: { slotBytes: 9000 } })
    world.sessions.carriers[0] = Carrier.stream
    const back = { source: server, destination: outside, sourcePort: 53, destinationPort: openFlow() }
    const whole = udpPacket({ ...back, identification: 99, payload: new Uint8Array(4000).fill(5) })
    const pieces = fragmentPacket(whole, 1500)
    world.fromNetwork(...pieces.toReversed())
    const data = world.onStream.reduce((sum, { packet }) => sum + packet.length - 20, 0)
    expect(data).toBe(4008)
    expect(world.onStream.length).toBeGreaterThan(pieces.length)
    for (const { packet } of world.onStream) {
      expect(packet.length).toBeLessThanOrEqual(1300)
      expect(checkPacket(packetView(packet), 0, packet.length)).toBe(0)
    }
  })
})

test('destinations can be denied and allowed while it runs', () => {
  world.plane.setDestinations(deniedDestinations({ pools: [], ownAddresses: [IpAddress.of(server)], allowed: [] }))
  world.fromStream(0, up(5))
  expect(world.network.received).toEqual([])
  expect(world.plane.drops()[DropReason.deniedDestination]).toBe(1)
})

test('without a datagram path it carries streams alone', () => {
  const { sessions, network } = world
  const sent: number[] = []
  const plane = new GatewayDataPlane({
    sessions,
    outlets: { sendOnStream: session => sent.push(session), handleControlFrame: () => {} },
    device: network.device,
    destinations: deniedDestinations({ pools: [], ownAddresses: [], allowed: [] }),
    gatewayAddresses: {},
  })
  sessions.carriers[0] = Carrier.stream
  sessions.carriers[1] = Carrier.datagram
  expect(plane.pumpSocket(0)).toBe(true)
  network.send(down(5), down(6))
  expect(plane.pumpDevice(0)).toBe(true)
  expect(sent).toEqual([0])
  expect(plane.drops()[DropReason.noSession]).toBe(1)
})
