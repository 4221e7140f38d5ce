import { ipv6Text, packetText, TcpFlag } from '@twinbore/core/packet'
import { fragmentPacket, icmpEchoPacket, ipPacket, tcpPacket, udpPacket } from '@twinbore/core/testing'
import fc from 'fast-check'
import { Address6 } from 'ip-address'
import { expect, test } from 'vitest'

const v4 = { source: '10.0.0.1', destination: '10.0.0.2' }
const v6 = { source: 'fd00::1', destination: 'fd00::2' }
const ports = { sourcePort: 5000, destinationPort: 53 }

test.each<[string, Uint8Array]>([
  ['IP 10.0.0.1.5000 > 10.0.0.2.53: UDP, length 3', udpPacket({ ...v4, ...ports, payload: new Uint8Array(3) })],
  ['IP6 fd00::1.5000 > fd00::2.53: UDP, length 0', udpPacket({ ...v6, ...ports })],
  [
    'IP 10.0.0.1.5000 > 10.0.0.2.53: Flags [S], seq 1, win 65535, options [mss 1460,nop,wscale 7], length 0',
    tcpPacket({
      ...v4,
      ...ports,
      flags: TcpFlag.syn,
      sequenceNumber: 1,
      tcpOptions: Uint8Array.of(2, 4, 5, 180, 1, 3, 3, 7),
    }),
  ],
  ['IP 10.0.0.1 > 10.0.0.2: ICMP echo request, id 1, seq 0, length 8', icmpEchoPacket({ ...v4, identifier: 1 })],
  [
    'IP6 fd00::1 > fd00::2: ICMP6, echo reply, id 1, seq 0, length 8',
    icmpEchoPacket({ ...v6, identifier: 1, reply: true }),
  ],
  ['IP 10.0.0.1 > 10.0.0.2: protocol 253, length 4', ipPacket({ ...v4, protocol: 253, payload: new Uint8Array(4) })],
  [
    'IP 10.0.0.1 > 10.0.0.2: udp fragment, offset 552, length 456',
    fragmentPacket(udpPacket({ ...v4, ...ports, payload: new Uint8Array(1000) }), 576)[1]!,
  ],
  ['IP malformed (2 bytes)', Uint8Array.of(0x45, 0)],
  ['IP badChecksum (28 bytes)', udpPacket({ ...v4, ...ports }).with(8, 1)],
  ['IP empty', new Uint8Array(0)],
])('%s', (text, packet) => {
  expect(packetText(packet)).toBe(text)
})

test('reads a packet inside a slab', () => {
  const packet = udpPacket({ ...v4, ...ports })
  const slab = new Uint8Array(100)
  slab.set(packet, 31)
  expect(packetText(slab.subarray(1), 30, packet.length)).toBe(packetText(packet))
})

test('IPv6 text is that of ip-address, except for mapped addresses (RFC 5952 §5)', () => {
  const byte = fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat({ max: 255 }) })
  fc.assert(
    fc.property(fc.array(byte, { minLength: 16, maxLength: 16 }), bytes => {
      const expected = Address6.fromByteArray(bytes).correctForm()
      if (expected.startsWith('::ffff:')) return
      expect(ipv6Text(Uint8Array.from(bytes))).toBe(expected)
    }),
    { numRuns: 3000 },
  )
  expect(ipv6Text(Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 1]))).toBe('::ffff:192.0.2.1')
})
