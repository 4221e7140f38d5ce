import {
  checksumAdd,
  checksumFinish,
  IpProtocol,
  ipv4HeaderChecksum,
  transportChecksum,
  updateChecksum16,
  updateChecksum32,
  updateChecksum128,
  updateUdpChecksum16,
  updateUdpChecksum32,
  updateUdpChecksum128,
  verifyIpv4HeaderChecksum,
  verifyTransportChecksum,
} from '@twinbore/core/packet'
import { icmpEchoPacket, packetView, tcpPacket, udpPacket } from '@twinbore/core/testing'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

/** RFC 1071 §4.1 word by word, as slow and plain as it gets. */
function plainChecksum(bytes: Uint8Array): number {
  let sum = 0n
  for (let i = 0; i < bytes.length; i += 2) sum += BigInt((bytes[i]! << 8) | (bytes[i + 1] ?? 0))
  while (sum > 0xffffn) sum = (sum & 0xffffn) + (sum >> 16n)
  return Number(~sum & 0xffffn)
}

const checksumOf = (bytes: Uint8Array) => checksumFinish(checksumAdd(packetView(bytes), 0, bytes.length))

// Words at the corners of ones' complement arithmetic, mixed with any others.
const word = fc.oneof(fc.constantFrom(0, 1, 0xfffe, 0xffff, 0x7fff, 0x8000), fc.integer({ min: 0, max: 0xffff }))
const words = (length: number) => fc.array(word, { minLength: length, maxLength: length })
const runs = { numRuns: 3000 }

function bytesOf(words: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(words.length * 2)
  for (const [i, word] of words.entries()) packetView(bytes).setUint16(i * 2, word)
  return bytes
}

describe('whole checksum', () => {
  test('is that of the example of RFC 1071 §3', () => {
    expect(checksumAdd(packetView(Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7)), 0, 8)).toBe(0xddf2)
  })

  test('equals the plain sum for every length and alignment', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat({ max: 7 }), (bytes, shift) => {
        const shifted = new Uint8Array(shift + bytes.length)
        shifted.set(bytes, shift)
        expect(checksumFinish(checksumAdd(packetView(shifted), shift, bytes.length))).toBe(plainChecksum(bytes))
      }),
      runs,
    )
  })

  test('stays right for 65535 bytes of 0xff', () => {
    const bytes = new Uint8Array(65535).fill(0xff)
    expect(checksumOf(bytes)).toBe(plainChecksum(bytes))
  })

  test('chains over pieces of even length', () => {
    fc.assert(
      fc.property(words(9), fc.nat({ max: 9 }), (all, cut) => {
        const bytes = bytesOf(all)
        const view = packetView(bytes)
        const chained = checksumAdd(view, cut * 2, bytes.length - cut * 2, checksumAdd(view, 0, cut * 2))
        expect(checksumFinish(chained)).toBe(plainChecksum(bytes))
      }),
      runs,
    )
  })
})

describe('incremental checksum (RFC 1624 §3, equation 3)', () => {
  // Headers with a pseudo header or a version are never all zero, which is the one case where two zeros would differ.
  const header = words(20).map(all => [0x4500, ...all])

  test('gives the example of RFC 1624 §4', () => {
    expect(updateChecksum16(0xdd2f, 0x5555, 0x3285)).toBe(0x0000)
  })

  test('of 16 bits equals a full recompute', () => {
    fc.assert(
      fc.property(header, fc.integer({ min: 1, max: 20 }), word, (all, place, after) => {
        const before = all[place]!
        const checksum = checksumOf(bytesOf(all))
        const changed = all.with(place, after)
        expect(updateChecksum16(checksum, before, after)).toBe(checksumOf(bytesOf(changed)))
      }),
      runs,
    )
  })

  test('of 32 bits equals a full recompute', () => {
    fc.assert(
      fc.property(header, fc.integer({ min: 1, max: 19 }), word, word, (all, place, high, low) => {
        const before = ((all[place]! << 16) | all[place + 1]!) >>> 0
        const after = ((high << 16) | low) >>> 0
        const changed = all.with(place, high).with(place + 1, low)
        expect(updateChecksum32(checksumOf(bytesOf(all)), before, after)).toBe(checksumOf(bytesOf(changed)))
      }),
      runs,
    )
  })

  test('of 128 bits equals a full recompute', () => {
    fc.assert(
      fc.property(header, fc.integer({ min: 1, max: 13 }), words(8), (all, place, after) => {
        const bytes = bytesOf(all)
        const changed = all.toSpliced(place, 8, ...after)
        const checksum = updateChecksum128(
          checksumOf(bytes),
          packetView(bytes),
          place * 2,
          packetView(bytesOf(after)),
          0,
        )
        expect(checksum).toBe(checksumOf(bytesOf(changed)))
      }),
      runs,
    )
  })

  test('survives a chain of changes without drifting', () => {
    fc.assert(
      fc.property(
        header,
        fc.array(fc.tuple(fc.integer({ min: 1, max: 20 }), word), { maxLength: 40 }),
        (all, changes) => {
          let checksum = checksumOf(bytesOf(all))
          let current = all
          for (const [place, after] of changes) {
            checksum = updateChecksum16(checksum, current[place]!, after)
            current = current.with(place, after)
          }
          expect(checksum).toBe(checksumOf(bytesOf(current)))
        },
      ),
      { numRuns: 500 },
    )
  })
})

describe('the zero rules of UDP', () => {
  const udpOf = (all: readonly number[]) => checksumOf(bytesOf(all)) || 0xffff
  const datagram = words(12).map(all => [0x0011, ...all])

  test('"none" stays "none"', () => {
    const view = packetView(new Uint8Array(16))
    expect(updateUdpChecksum16(0, 1, 2)).toBe(0)
    expect(updateUdpChecksum32(0, 1, 2)).toBe(0)
    expect(updateUdpChecksum128(0, view, 0, packetView(new Uint8Array(16).fill(7)), 0)).toBe(0)
  })

  test('a computed 0 becomes 0xffff', () => {
    // RFC 1624 §4's words: the plain update gives 0.
    expect(updateUdpChecksum16(0xdd2f, 0x5555, 0x3285)).toBe(0xffff)
    expect(updateUdpChecksum32(0xdd2f, 0x5555, 0x3285)).toBe(0xffff)
    const before = packetView(bytesOf([0x5555, 0, 0, 0, 0, 0, 0, 0]))
    const after = packetView(bytesOf([0, 0, 0, 0, 0, 0, 0, 0x3285]))
    expect(updateUdpChecksum128(0xdd2f, before, 0, after, 0)).toBe(0xffff)
  })

  test('the incremental update equals a full recompute, also from 0xffff', () => {
    fc.assert(
      fc.property(datagram, fc.integer({ min: 1, max: 4 }), words(8), (all, place, after) => {
        const bytes = bytesOf(all)
        const by16 = updateUdpChecksum16(udpOf(all), all[place]!, after[0]!)
        expect(by16).toBe(udpOf(all.with(place, after[0]!)))
        const before32 = ((all[place]! << 16) | all[place + 1]!) >>> 0
        const after32 = ((after[0]! << 16) | after[1]!) >>> 0
        const by32 = updateUdpChecksum32(udpOf(all), before32, after32)
        expect(by32).toBe(udpOf(all.toSpliced(place, 2, after[0]!, after[1]!)))
        const by128 = updateUdpChecksum128(udpOf(all), packetView(bytes), place * 2, packetView(bytesOf(after)), 0)
        expect(by128).toBe(udpOf(all.toSpliced(place, 8, ...after)))
      }),
      runs,
    )
  })

  test('a datagram that sums up to 0xffff carries 0xffff and verifies', () => {
    const fields = { source: '10.0.0.1', destination: '10.0.0.2', sourcePort: 1, destinationPort: 2 }
    const plain = udpPacket({ ...fields, payload: Uint8Array.of(0, 0) })
    const checksum = packetView(plain).getUint16(26)
    const zeroed = udpPacket({ ...fields, payload: Uint8Array.of(checksum >>> 8, checksum & 0xff) })
    expect(packetView(zeroed).getUint16(26)).toBe(0xffff)
    expect(verifyTransportChecksum(packetView(zeroed), 0, 20, 10, IpProtocol.udp)).toBe(true)
  })

  test('no checksum is right over IPv4 and wrong over IPv6 (RFC 8200 §8.1)', () => {
    const ports = { sourcePort: 1, destinationPort: 2, checksum: 'none' } as const
    const v4 = packetView(udpPacket({ source: '10.0.0.1', destination: '10.0.0.2', ...ports }))
    const v6 = packetView(udpPacket({ source: 'fd00::1', destination: 'fd00::2', ...ports }))
    expect(verifyTransportChecksum(v4, 0, 20, 8, IpProtocol.udp)).toBe(true)
    expect(verifyTransportChecksum(v6, 0, 40, 8, IpProtocol.udp)).toBe(false)
  })
})

describe('checksums of transports', () => {
  const packets = {
    'UDP over IPv4': {
      packet: udpPacket({
        source: '10.0.0.1',
        destination: '10.0.0.2',
        sourcePort: 5,
        destinationPort: 6,
        payload: Uint8Array.of(1, 2, 3),
      }),
      at: 20,
      protocol: IpProtocol.udp,
    },
    'UDP over IPv6': {
      packet: udpPacket({
        source: 'fd00::1',
        destination: 'fd00::2',
        sourcePort: 5,
        destinationPort: 6,
        payload: Uint8Array.of(1, 2, 3),
      }),
      at: 40,
      protocol: IpProtocol.udp,
    },
    'TCP over IPv4': {
      packet: tcpPacket({
        source: '10.0.0.1',
        destination: '10.0.0.2',
        sourcePort: 5,
        destinationPort: 6,
        payload: Uint8Array.of(1, 2, 3),
      }),
      at: 20,
      protocol: IpProtocol.tcp,
    },
    'TCP over IPv6': {
      packet: tcpPacket({
        source: 'fd00::1',
        destination: 'fd00::2',
        sourcePort: 5,
        destinationPort: 6,
        payload: Uint8Array.of(1, 2, 3),
      }),
      at: 40,
      protocol: IpProtocol.tcp,
    },
    ICMP: {
      packet: icmpEchoPacket({ source: '10.0.0.1', destination: '10.0.0.2', identifier: 9, payload: Uint8Array.of(1) }),
      at: 20,
      protocol: IpProtocol.icmp,
    },
    ICMPv6: {
      packet: icmpEchoPacket({ source: 'fd00::1', destination: 'fd00::2', identifier: 9, payload: Uint8Array.of(1) }),
      at: 40,
      protocol: IpProtocol.icmpv6,
    },
  }
  test.each(Object.entries(packets))(
    '%s: right when built, wrong after any flipped bit',
    (_, { packet, at, protocol }) => {
      const length = packet.length - at
      const view = packetView(packet)
      expect(verifyTransportChecksum(view, 0, at, length, protocol)).toBe(true)
      for (let bit = at * 8; bit < packet.length * 8; bit++) {
        packet[bit >>> 3]! ^= 0x80 >>> (bit & 7)
        expect(verifyTransportChecksum(view, 0, at, length, protocol)).toBe(false)
        packet[bit >>> 3]! ^= 0x80 >>> (bit & 7)
      }
      expect(view.getUint16(at + { 1: 2, 58: 2, 6: 16, 17: 6 }[protocol]!)).toBe(
        transportChecksum(view, 0, at, length, protocol),
      )
    },
  )

  test('of a well-known IPv4 header is 0xb861', () => {
    const bytes = Uint8Array.from([0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 192, 168, 0, 1, 192, 168, 0, 199])
    expect(ipv4HeaderChecksum(packetView(bytes), 0)).toBe(0xb861)
    packetView(bytes).setUint16(10, 0xb861)
    expect(verifyIpv4HeaderChecksum(packetView(bytes), 0)).toBe(true)
    expect(verifyIpv4HeaderChecksum(packetView(bytes.with(8, 0x3f)), 0)).toBe(false)
  })
})
