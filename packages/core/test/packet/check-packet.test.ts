import {
  checkEmbeddedPacket,
  checkPacket,
  checkPackets,
  DropReason,
  hasRoutingHeader,
  IpProtocol,
  ipv6FragmentHeader,
  ipv6FragmentIdentification,
  ipv6FragmentOffset,
  ipv6MoreFragments,
  isFragment,
  isLaterFragment,
  locateTransport,
  PacketBatch,
  packetText,
  transportOffset,
  transportProtocol,
  Verdict,
  writeIpv4HeaderChecksum,
} from '@twinbore/core/packet'
import { fragmentPacket, icmpEchoPacket, ipPacket, packetView, tcpPacket, udpPacket } from '@twinbore/core/testing'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

const v4 = { source: '10.0.0.1', destination: '10.0.0.2' }
const v6 = { source: 'fd00::1', destination: 'fd00::2' }
const ports = { sourcePort: 1000, destinationPort: 2000 }
const payload = new Uint8Array(100).fill(0x61)
const check = (packet: Uint8Array) => checkPacket(packetView(packet), 0, packet.length)

/** A good packet with bytes changed and the IPv4 header checksum made right again. */
function changed(packet: Uint8Array, change: (view: DataView) => void): Uint8Array {
  const copy = packet.slice()
  change(packetView(copy))
  if (copy[0]! >>> 4 === 4) writeIpv4HeaderChecksum(packetView(copy), 0)
  return copy
}

describe('checkPacket lets through', () => {
  const good: Record<string, Uint8Array> = {
    'UDP over IPv4': udpPacket({ ...v4, ...ports, payload }),
    'UDP over IPv6': udpPacket({ ...v6, ...ports, payload }),
    'UDP without checksum over IPv4': udpPacket({ ...v4, ...ports, payload, checksum: 'none' }),
    'TCP with options behind IPv4 options': tcpPacket({
      ...v4,
      ...ports,
      options: new Uint8Array(8).fill(1),
      tcpOptions: Uint8Array.of(2, 4, 5, 180),
    }),
    'TCP behind 8 extension headers': tcpPacket({
      ...v6,
      ...ports,
      extensionHeaders: Array.from({ length: 8 }, () => ({
        type: IpProtocol.destinationOptions,
        body: new Uint8Array(6),
      })),
    }),
    'ICMP echo': icmpEchoPacket({ ...v4, identifier: 1 }),
    'ICMPv6 echo': icmpEchoPacket({ ...v6, identifier: 1 }),
    'an unknown protocol without a byte of payload': ipPacket({ ...v4, protocol: 253, payload: new Uint8Array(0) }),
    'no next header': ipPacket({ ...v6, protocol: IpProtocol.noNextHeader, payload: new Uint8Array(0) }),
    'UDP whose length leaves a surplus area': changed(udpPacket({ ...v4, ...ports, payload }), view =>
      view.setUint16(24, 50),
    ),
    'an atomic IPv6 fragment (RFC 6946)': udpPacket({
      ...v6,
      ...ports,
      payload,
      extensionHeaders: [{ type: IpProtocol.fragment, body: new Uint8Array(6) }],
    }),
  }
  test.each(Object.entries(good))('%s', (_, packet) => {
    expect(check(packet)).toBe(0)
  })

  test('every fragment of a packet, in both families', () => {
    for (const addresses of [v4, v6]) {
      const fragments = fragmentPacket(udpPacket({ ...addresses, ...ports, payload: new Uint8Array(3000) }), 576)
      expect(fragments.length).toBeGreaterThan(5)
      for (const fragment of fragments) expect(check(fragment)).toBe(0)
    }
  })
})

describe('checkPacket refuses', () => {
  const udp4 = udpPacket({ ...v4, ...ports, payload })
  const udp6 = udpPacket({ ...v6, ...ports, payload })
  const tcp4 = tcpPacket({ ...v4, ...ports, payload })
  const extension = (type: number) => ({ type, body: new Uint8Array(6) })
  const malformed: Record<string, Uint8Array> = {
    nothing: new Uint8Array(0),
    'less than a header': udp4.subarray(0, 19),
    'version 0': changed(udp4, view => view.setUint8(0, 0x05)),
    'version 5': changed(udp4, view => view.setUint8(0, 0x55)),
    'an IPv4 header length below 5': changed(udp4, view => view.setUint8(0, 0x44)),
    'an IPv4 header longer than the packet': ipPacket({ ...v4, protocol: 253, payload: new Uint8Array(4) }).with(
      0,
      0x4f,
    ),
    'a total length beyond the bytes': changed(udp4, view => view.setUint16(2, udp4.length + 1)),
    'a total length short of the bytes': changed(udp4, view => view.setUint16(2, udp4.length - 1)),
    'an IPv6 payload length beyond the bytes': changed(udp6, view => view.setUint16(4, 109)),
    'an IPv6 jumbogram': changed(udp6, view => view.setUint16(4, 0)),
    '9 extension headers': tcpPacket({
      ...v6,
      ...ports,
      extensionHeaders: Array.from({ length: 9 }, () => extension(IpProtocol.destinationOptions)),
    }),
    'hop-by-hop options that are not first (RFC 8200 §4.1)': udpPacket({
      ...v6,
      ...ports,
      extensionHeaders: [extension(IpProtocol.destinationOptions), extension(IpProtocol.hopByHopOptions)],
    }),
    'two fragment headers': udpPacket({
      ...v6,
      ...ports,
      extensionHeaders: [extension(IpProtocol.fragment), extension(IpProtocol.fragment)],
    }),
    'an extension header that ends beyond the packet': changed(
      udpPacket({ ...v6, ...ports, extensionHeaders: [extension(IpProtocol.destinationOptions)] }),
      view => view.setUint8(41, 2),
    ),
    'a UDP header cut short': ipPacket({ ...v4, protocol: IpProtocol.udp, payload: new Uint8Array(7) }),
    'a UDP length below 8': changed(udp4, view => view.setUint16(24, 7)),
    'a UDP length beyond the packet': changed(udp4, view => view.setUint16(24, 109)),
    'a TCP header cut short': ipPacket({ ...v4, protocol: IpProtocol.tcp, payload: new Uint8Array(19) }),
    'a TCP data offset below 5': changed(tcp4, view => view.setUint8(32, 0x40)),
    'a TCP data offset beyond the packet': changed(tcpPacket({ ...v4, ...ports }), view => view.setUint8(32, 0x60)),
    'an ICMP header cut short': ipPacket({ ...v4, protocol: IpProtocol.icmp, payload: new Uint8Array(7) }),
    'a first fragment too short for TCP (RFC 1858 §3)': changed(
      ipPacket({ ...v4, protocol: IpProtocol.tcp, payload: new Uint8Array(16) }),
      view => view.setUint16(6, 0x2000),
    ),
    'a TCP fragment at offset 8 (RFC 3128)': changed(ipPacket({ ...v4, protocol: IpProtocol.tcp, payload }), view =>
      view.setUint16(6, 1),
    ),
    'a fragment that ends beyond 65535': changed(ipPacket({ ...v4, protocol: IpProtocol.udp, payload }), view =>
      view.setUint16(6, 0x1fff),
    ),
    'an IPv6 first fragment without the whole header chain (RFC 7112 §5)': udpPacket({
      ...v6,
      ...ports,
      extensionHeaders: [{ type: IpProtocol.fragment, body: Uint8Array.of(0, 1, 0, 0, 0, 9) }],
    }).subarray(0, 52),
  }
  // The last one was cut without its length field.
  packetView(malformed['an IPv6 first fragment without the whole header chain (RFC 7112 §5)']!).setUint16(4, 12)

  test.each(Object.entries(malformed))('%s as malformed', (_, packet) => {
    expect(check(packet)).toBe(DropReason.malformed)
  })

  test('a wrong IPv4 header checksum', () => {
    expect(check(udp4.with(11, udp4[11]! ^ 1))).toBe(DropReason.badChecksum)
  })

  test('UDP without checksum over IPv6 (RFC 8200 §8.1)', () => {
    expect(check(udpPacket({ ...v6, ...ports, checksum: 'none' }))).toBe(DropReason.badChecksum)
  })
})

describe('checkPacket at its limits', () => {
  test('a fragment may end at 65535 and not behind it', () => {
    const fragment = (data: number, position: number) =>
      changed(ipPacket({ ...v4, protocol: 253, payload: new Uint8Array(data) }), view =>
        view.setUint16(6, position >>> 3),
      )
    expect(check(fragment(7, 65528))).toBe(0)
    expect(check(fragment(8, 65528))).toBe(DropReason.malformed)
    const tail = (data: number) => fragmentOf6(65528, data)
    expect(check(tail(7))).toBe(0)
    expect(check(tail(8))).toBe(DropReason.malformed)
  })

  test('an extension header may end with the packet and not behind it', () => {
    const extensionHeaders = [{ type: IpProtocol.destinationOptions, body: new Uint8Array(6) }]
    const packet = ipPacket({ ...v6, protocol: IpProtocol.noNextHeader, payload: new Uint8Array(0), extensionHeaders })
    expect(check(packet)).toBe(0)
    const longer = changed(packet, view => view.setUint8(41, 1))
    expect(locateTransport(packetView(longer), 0, longer.length)).toBe(-1)
    expect(check(longer)).toBe(DropReason.malformed)
  })
})

/** A later IPv6 fragment of an unknown protocol. */
function fragmentOf6(position: number, data: number): Uint8Array {
  const body = Uint8Array.of(position >>> 8, position & 0xff, 0, 0, 0, 9)
  const extensionHeaders = [{ type: IpProtocol.fragment, body }]
  return ipPacket({ ...v6, protocol: 253, payload: new Uint8Array(data), extensionHeaders })
}

describe('locateTransport', () => {
  test('walks over extension headers and notices a routing header', () => {
    const packet = tcpPacket({
      ...v6,
      ...ports,
      extensionHeaders: [
        { type: IpProtocol.hopByHopOptions, body: new Uint8Array(6) },
        { type: IpProtocol.routing, body: new Uint8Array(22) },
        { type: IpProtocol.destinationOptions, body: new Uint8Array(14) },
      ],
    })
    const location = locateTransport(packetView(packet), 0, packet.length)
    expect(transportProtocol(location)).toBe(IpProtocol.tcp)
    expect(transportOffset(location)).toBe(40 + 8 + 24 + 16)
    expect(hasRoutingHeader(location)).toBe(true)
    expect(isFragment(location)).toBe(false)
  })

  test('works at any offset of a slab', () => {
    const packet = udpPacket({ ...v4, ...ports, options: new Uint8Array(12).fill(1) })
    const slab = new Uint8Array(500).fill(0xff)
    slab.set(packet, 133)
    const location = locateTransport(packetView(slab), 133, packet.length)
    expect([transportProtocol(location), transportOffset(location)]).toEqual([IpProtocol.udp, 32])
  })

  test('tells first, later and atomic fragments apart', () => {
    for (const addresses of [v4, v6]) {
      const whole = udpPacket({ ...addresses, ...ports, payload: new Uint8Array(2000) })
      const locations = fragmentPacket(whole, 1280).map(packet => locateTransport(packetView(packet), 0, packet.length))
      expect(locations.map(isFragment)).toEqual([true, true])
      expect(locations.map(isLaterFragment)).toEqual([false, true])
      expect(locations.map(transportProtocol)).toEqual([IpProtocol.udp, IpProtocol.udp])
    }
    const atomic = udpPacket({
      ...v6,
      ...ports,
      extensionHeaders: [{ type: IpProtocol.fragment, body: new Uint8Array(6) }],
    })
    expect(isFragment(locateTransport(packetView(atomic), 0, atomic.length))).toBe(false)
  })

  test('fragment headers are found behind other headers', () => {
    const extensionHeaders = [
      { type: IpProtocol.hopByHopOptions, body: new Uint8Array(14) },
      { type: IpProtocol.fragment, body: Uint8Array.of(0x05, 0xa9, 0, 0, 0x12, 0x34) },
    ]
    const packet = ipPacket({ ...v6, protocol: IpProtocol.udp, payload, extensionHeaders })
    const view = packetView(packet)
    const header = ipv6FragmentHeader(view, 0, packet.length)
    expect(header).toBe(56)
    expect(ipv6FragmentOffset(view, header)).toBe(0x5a8)
    expect(ipv6MoreFragments(view, header)).toBe(true)
    expect(ipv6FragmentIdentification(view, header)).toBe(0x1234)
    expect(ipv6FragmentHeader(packetView(udpPacket({ ...v6, ...ports })), 0, 48)).toBe(-1)
  })
})

describe('checkEmbeddedPacket', () => {
  const cut = (packet: Uint8Array, length: number) => checkEmbeddedPacket(packetView(packet), 0, length)

  test('takes packets that were cut behind 8 bytes of the transport', () => {
    expect(cut(udpPacket({ ...v4, ...ports, payload }), 28)).toBe(0)
    expect(cut(tcpPacket({ ...v6, ...ports, payload }), 48)).toBe(0)
    expect(cut(tcpPacket({ ...v4, ...ports, options: new Uint8Array(12).fill(1) }), 40)).toBe(0)
  })

  test('refuses what has no ports and what was changed on the way', () => {
    expect(cut(udpPacket({ ...v4, ...ports, payload }), 27)).toBe(DropReason.malformed)
    expect(cut(udpPacket({ ...v4, ...ports, payload }).with(8, 1), 28)).toBe(DropReason.badChecksum)
  })
})

test('the stage drops and counts what the door refuses, and touches nothing else', () => {
  const batch = new PacketBatch({ capacity: 4 })
  batch.push(udpPacket({ ...v4, ...ports }))
  batch.push(Uint8Array.of(1, 2, 3))
  batch.divert(batch.push(Uint8Array.of(4)))
  checkPackets(batch)
  expect(Array.from(batch.verdicts.subarray(0, 3))).toEqual([Verdict.forward, Verdict.drop, Verdict.divert])
  expect(batch.drops[DropReason.malformed]).toBe(1)
})

describe('hostile bytes', () => {
  const seed = Number(process.env.FUZZ_SEED ?? 1)
  const numRuns = Number(process.env.FUZZ_RUNS ?? 30_000)
  const seeds = [
    udpPacket({ ...v4, ...ports, payload }),
    tcpPacket({
      ...v6,
      ...ports,
      payload,
      extensionHeaders: [{ type: IpProtocol.hopByHopOptions, body: new Uint8Array(6) }],
    }),
    icmpEchoPacket({ ...v6, identifier: 1 }),
    ...fragmentPacket(udpPacket({ ...v6, ...ports, payload: new Uint8Array(200) }), 136),
  ]
  const mutated = fc
    .tuple(fc.constantFrom(...seeds), fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 6 }), fc.nat())
    .map(([packet, changes, cut]) => {
      const copy = packet.slice(0, cut % 4 === 0 ? (cut >>> 2) % (packet.length + 1) : packet.length)
      for (const [place, byte] of changes) if (copy.length > 0) copy[place % copy.length] = byte
      return copy
    })

  test('never make the door, the walk or the text throw, and nothing behind the packet is read', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 120 }), mutated), bytes => {
        // A view that ends with the packet: reading beyond it would throw RangeError.
        const exact = new DataView(bytes.slice().buffer)
        const verdict = checkPacket(exact, 0, bytes.length)
        expect([0, DropReason.malformed, DropReason.badChecksum]).toContain(verdict)
        checkEmbeddedPacket(exact, 0, bytes.length)
        expect(packetText(bytes)).toMatch(/^IP/)
        if (verdict !== 0) return
        const location = locateTransport(exact, 0, bytes.length)
        expect(transportOffset(location)).toBeLessThanOrEqual(bytes.length)
      }),
      { numRuns, seed },
    )
  })
})
