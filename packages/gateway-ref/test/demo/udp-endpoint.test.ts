import { DropReason, PacketBatch, packetText } from '@twinbore/core/packet'
import { icmpEchoPacket, udpPacket } from '@twinbore/core/testing'
import { memoryPair } from '@twinbore/tun'
import { expect, test } from 'vitest'
import { UdpEndpoint } from '../../src/demo/udp-endpoint.ts'

const flow = { address: '192.168.77.2', port: 4077, peer: '203.0.113.2', peerPort: 9000 }
const reply = { source: flow.peer, sourcePort: 9000, destination: flow.address, destinationPort: 4077 }

test('a datagram leaves as a whole UDP packet, bytes as another builder would make it', () => {
  const [near, far] = memoryPair()
  const endpoint = new UdpEndpoint(near, flow)
  endpoint.send(Uint8Array.of(1, 2, 3))
  const batch = new PacketBatch()
  expect(far.read(batch)).toBe(0)
  endpoint.flush()
  expect(far.read(batch)).toBe(1)
  const ends = { source: flow.address, sourcePort: 4077, destination: flow.peer, destinationPort: 9000 }
  expect(batch.packet(0)).toEqual(udpPacket({ ...ends, dontFragment: true, payload: Uint8Array.of(1, 2, 3) }))
  expect(packetText(batch.packet(0))).toBe('IP 192.168.77.2.4077 > 203.0.113.2.9000: UDP, length 3')
})

test('more datagrams than a batch holds all leave', () => {
  const [near, far] = memoryPair()
  const endpoint = new UdpEndpoint(near, flow)
  for (let i = 0; i < 150; i++) endpoint.send(Uint8Array.of(i))
  endpoint.flush()
  const batch = new PacketBatch({ capacity: 200 })
  expect(far.read(batch)).toBe(150)
})

test('answers of the flow arrive; everything else is dropped and counted', () => {
  const [near, far] = memoryPair()
  const endpoint = new UdpEndpoint(near, flow)
  const heard: number[][] = []
  endpoint.onDatagram = payload => void heard.push([...payload])
  const broken = udpPacket({ ...reply, payload: Uint8Array.of(9, 9) })
  broken[broken.length - 1] = 8
  const packets = [
    udpPacket({ ...reply, payload: Uint8Array.of(1) }),
    udpPacket({ ...reply, sourcePort: 9001 }),
    udpPacket({ ...reply, destinationPort: 4078 }),
    udpPacket({ ...reply, source: '203.0.113.3' }),
    udpPacket({ ...reply, destination: '192.168.77.3' }),
    udpPacket({ ...reply, source: '2001:db8::1', destination: '2001:db8::2' }),
    icmpEchoPacket({ source: flow.peer, destination: flow.address, identifier: 1 }),
    broken,
    Uint8Array.of(0x45, 0),
    udpPacket({ ...reply, payload: Uint8Array.of(2), checksum: 'none' }),
  ]
  const batch = new PacketBatch()
  for (const packet of packets) batch.push(packet)
  far.write(batch)
  expect(heard).toEqual([[1], [2]])
  const { filtered, badChecksum, malformed } = DropReason
  const drops = endpoint.drops
  expect([drops[filtered], drops[badChecksum], drops[malformed]]).toEqual([6, 1, 1])
})
