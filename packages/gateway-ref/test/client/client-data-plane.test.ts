import { encodeDatagramFrame, FrameType } from '@twinbore/core'
import { IpAddress } from '@twinbore/core/address'
import { DropReason, IcmpType, Icmpv6Type, icmpNextHopMtu, icmpType, icmpv6Mtu, TcpFlag } from '@twinbore/core/packet'
import { packetView, tcpPacket, udpPacket } from '@twinbore/core/testing'
import { describe, expect, test } from 'vitest'
import { CLIENT_ASSOCIATION, CLIENT_SESSION, ClientDataPlane } from '../../src/client/client-data-plane.ts'
import { Carrier } from '../../src/data-plane/session-table.ts'
import type { DatagramPath } from '../../src/data-plane/tunnel-side.ts'
import { MemoryNetwork } from '../support/memory-socket.ts'
import { PacketHost } from '../support/packet-host.ts'

const ports = { sourcePort: 1, destinationPort: 2 }
const server = '192.0.2.9'
const bytesOf = (text: string) => IpAddress.of(text).bytes
const lease = { ipv4: bytesOf('10.77.0.5'), ipv6: bytesOf('fd77::5'), mtu: 1280 }

function setUp() {
  const computer = new PacketHost(9000)
  const onStream: Uint8Array[] = []
  const control: unknown[] = []
  const plane = new ClientDataPlane({
    lease,
    outlets: {
      sendOnStream: (_, bytes, offset, length) => onStream.push(bytes.slice(offset, offset + length)),
      handleControlFrame: (session, type, payload) => control.push({ session, type, payload }),
    },
    device: computer.device,
    batch: { slotBytes: 9000 },
  })
  const network = new MemoryNetwork()
  const socket = network.open('198.51.100.7', 5000)
  const gateway = network.open('192.0.2.1', 443)
  const endpoint = socket.endpoints.intern('192.0.2.1', 443)
  socket.endpoints.retain(endpoint)
  // Records without protection: what goes in comes out, from and to the only peer.
  const path: DatagramPath = {
    socket,
    records: {
      openDatagrams: batch => batch.owners.fill(CLIENT_ASSOCIATION),
      sealDatagrams: batch => batch.owners.fill(endpoint),
    },
  }
  const send = (...packets: Uint8Array[]) => {
    computer.send(...packets)
    while (!plane.pumpDevice(0));
  }
  const use = (carrier: Carrier) => {
    plane.sessions.carriers[CLIENT_SESSION] = carrier
  }
  return { computer, plane, onStream, control, path, socket, gateway, send, use }
}

describe('packets of applications', () => {
  const packet = udpPacket({ source: '10.77.0.5', destination: server, ...ports })

  test('go by the carrier of the moment', () => {
    const { plane, path, send, use, onStream, gateway } = setUp()
    send(packet)
    expect(plane.drops()[DropReason.noSession]).toBe(1)
    use(Carrier.stream)
    send(packet)
    expect(onStream).toEqual([packet])
    plane.path = path
    use(Carrier.datagram)
    send(packet)
    expect(gateway.waiting.map(({ bytes }) => bytes)).toEqual([encodeDatagramFrame(FrameType.data, packet)])
    expect(onStream).toHaveLength(1)
  })

  test.each(['10.77.0.6', '192.168.1.5', '127.0.0.1', 'fd77::6', 'fe80::1'])('from %s stay here', source => {
    const { plane, send, use, onStream } = setUp()
    use(Carrier.stream)
    send(udpPacket({ source, destination: source.includes(':') ? '2001:db8::9' : server, ...ports }))
    expect(onStream).toEqual([])
    expect(plane.drops()[DropReason.spoofedSource]).toBe(1)
  })

  test('that are too long are fragmented, or the application is told what fits, in both families', () => {
    const { send, use, onStream, computer } = setUp()
    use(Carrier.stream)
    const payload = new Uint8Array(1400)
    send(udpPacket({ source: '10.77.0.5', destination: server, ...ports, payload }))
    expect(onStream).toHaveLength(2)
    send(
      udpPacket({ source: '10.77.0.5', destination: server, ...ports, payload, dontFragment: true }),
      udpPacket({ source: 'fd77::5', destination: '2001:db8::9', ...ports, payload }),
    )
    expect(onStream).toHaveLength(2)
    expect(computer.received.map(({ destination }) => destination)).toEqual(['10.77.0.5', 'fd77::5'])
    const [v4, v6] = computer.received.map(({ bytes }) => packetView(bytes))
    expect([icmpType(v4!, 20), icmpNextHopMtu(v4!, 20)]).toEqual([IcmpType.destinationUnreachable, 1280])
    expect([icmpType(v6!, 40), icmpv6Mtu(v6!, 40)]).toEqual([Icmpv6Type.packetTooBig, 1280])
  })
})

describe('packets of the tunnel', () => {
  test('come by the stream and by any path, and only those for the lease get in', () => {
    const { plane, path, computer, gateway } = setUp()
    const mine = udpPacket({ source: server, destination: '10.77.0.5', ...ports })
    const other = udpPacket({ source: server, destination: '10.77.0.6', ...ports })
    for (const packet of [mine, other]) plane.fromStream.push(packet, CLIENT_SESSION)
    plane.handleStreamPackets(plane.fromStream)
    plane.fromStream.reset()
    for (const packet of [mine, other]) {
      gateway.sendTo(gateway.endpoints.intern('198.51.100.7', 5000), encodeDatagramFrame(FrameType.data, packet))
    }
    expect(plane.pumpPath(path, 0)).toBe(true)
    expect(computer.received.map(({ destination }) => destination)).toEqual(['10.77.0.5', '10.77.0.5'])
    expect(plane.drops()[DropReason.spoofedSource]).toBe(2)
  })

  test('that are control frames leave to the session', () => {
    const { plane, path, gateway, control } = setUp()
    const frame = encodeDatagramFrame(FrameType.dpdRequest, Uint8Array.of(1))
    gateway.sendTo(gateway.endpoints.intern('198.51.100.7', 5000), frame)
    plane.pumpPath(path, 0)
    expect(control).toEqual([{ session: CLIENT_SESSION, type: FrameType.dpdRequest, payload: Uint8Array.of(1) }])
  })
})

test('the MSS is clamped both ways', () => {
  const { plane, send, use, onStream, computer } = setUp()
  use(Carrier.stream)
  const syn = { ...ports, flags: TcpFlag.syn, tcpOptions: Uint8Array.of(2, 4, 0x05, 0xb4) }
  send(tcpPacket({ source: '10.77.0.5', destination: server, ...syn }))
  plane.fromStream.push(tcpPacket({ source: server, destination: '10.77.0.5', ...syn }), CLIENT_SESSION)
  plane.handleStreamPackets(plane.fromStream)
  const mss = (packet: Uint8Array) => (packet[42]! << 8) | packet[43]!
  expect([mss(onStream[0]!), mss(computer.received[0]!.bytes)]).toEqual([1240, 1240])
})

test('another lease is taken in place: the old addresses count for nothing, the carrier stays', () => {
  const { plane, path, send, use, gateway } = setUp()
  plane.path = path
  use(Carrier.datagram)
  plane.setLease({ ipv4: bytesOf('10.77.0.9'), mtu: 1400 })
  send(
    udpPacket({ source: '10.77.0.5', destination: server, ...ports }),
    udpPacket({ source: 'fd77::5', destination: '2001:db8::9', ...ports }),
    udpPacket({ source: '10.77.0.9', destination: server, ...ports, payload: new Uint8Array(1372) }),
  )
  expect(gateway.waiting).toHaveLength(1)
  expect(plane.drops()[DropReason.spoofedSource]).toBe(2)
})
