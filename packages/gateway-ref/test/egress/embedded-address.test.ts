import { IpAddress } from '@twinbore/core/address'
import {
  embeddedOffset,
  IcmpType,
  Icmpv6Type,
  locateTransport,
  transportOffset,
  verifyIpv4HeaderChecksum,
  verifyTransportChecksum,
} from '@twinbore/core/packet'
import { icmpErrorPacket, packetView, tcpPacket, udpPacket } from '@twinbore/core/testing'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { swapEmbeddedAddress } from '../../src/egress/embedded-address.ts'

const families = [
  { name: 'IPv4', host: '10.2.0.1', transit: '192.0.0.9', peer: '10.2.0.2', type: IcmpType.timeExceeded, protocol: 1 },
  { name: 'IPv6', host: 'fd02::1', transit: 'fd00:7::9', peer: 'fd02::2', type: Icmpv6Type.timeExceeded, protocol: 58 },
]

describe.each(families)('$name', ({ host, transit, peer, type, protocol }) => {
  const swap = { from: IpAddress.of(host), to: IpAddress.of(transit) }
  const error = (about: Uint8Array) => icmpErrorPacket({ source: peer, destination: transit, type, code: 0, about })

  test.each(['udp', 'tcp'] as const)('every checksum is right after the exchange, whatever %s is quoted', kind => {
    const build = kind === 'udp' ? udpPacket : tcpPacket
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 40 }),
        fc.integer({ min: 1, max: 65_535 }),
        fc.integer({ min: 0, max: 100 }),
        fc.constantFrom('source' as const, 'destination' as const),
        (payload, port, cut, field) => {
          const [source, destination] = field === 'source' ? [host, peer] : [peer, host]
          const quoted = build({ source, destination, sourcePort: port, destinationPort: 53, payload })
          const whole = build({
            source: field === 'source' ? transit : peer,
            destination: field === 'source' ? peer : transit,
            sourcePort: port,
            destinationPort: 53,
            payload,
          })
          // Routers quote whole 32-bit words, so never half of a checksum.
          const kept = Math.max(host.includes(':') ? 48 : 28, cut === 0 ? quoted.length : (quoted.length - cut) & ~3)
          const packet = error(quoted.subarray(0, kept))
          const view = packetView(packet)
          expect(swapEmbeddedAddress(view, 0, packet.length, field, swap)).toBe(true)
          const at = transportOffset(locateTransport(view, 0, packet.length))
          expect(verifyTransportChecksum(view, 0, at, packet.length - at, protocol)).toBe(true)
          const embedded = embeddedOffset(at)
          if (!host.includes(':')) expect(verifyIpv4HeaderChecksum(view, embedded)).toBe(true)
          // What is quoted now is what the other address would have sent, byte for byte.
          expect(Buffer.from(packet.subarray(embedded))).toEqual(Buffer.from(whole.subarray(0, kept)))
        },
      ),
    )
  })

  test('what is not an error about that address stays as it is', () => {
    const quoted = udpPacket({ source: host, destination: peer, sourcePort: 1, destinationPort: 2 })
    const others = [
      quoted,
      error(udpPacket({ source: peer, destination: host, sourcePort: 1, destinationPort: 2 })),
      error(quoted.subarray(0, 10)),
      error(new Uint8Array(60)),
    ]
    for (const packet of others) {
      const before = packet.slice()
      expect(swapEmbeddedAddress(packetView(packet), 0, packet.length, 'source', swap)).toBe(false)
      expect(packet).toEqual(before)
    }
  })

  test('no bytes make it read outside of the packet', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), fc.boolean(), (bytes, likely) => {
        if (likely && bytes.length > 48) {
          bytes[0] = host.includes(':') ? 0x60 : 0x45 + (bytes[1]! & 0xf) - 5
          bytes[host.includes(':') ? 6 : 9] = protocol
        }
        // Exactly as long as the packet: reading beyond would throw.
        swapEmbeddedAddress(new DataView(bytes.slice().buffer), 0, bytes.length, 'destination', swap)
      }),
      { numRuns: 2000 },
    )
  })
})
