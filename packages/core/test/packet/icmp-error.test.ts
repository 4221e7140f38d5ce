import {
  buildIcmpError,
  checkEmbeddedPacket,
  checkPacket,
  embeddedLength,
  IcmpType,
  Icmpv6Type,
  IpProtocol,
  icmpNextHopMtu,
  icmpv6Mtu,
  ipv4DontFragment,
  ipv4DscpAndEcn,
  ipv6TrafficClass,
  packetText,
  UnreachableCode,
  verifyTransportChecksum,
} from '@twinbore/core/packet'
import {
  fragmentPacket,
  icmpEchoPacket,
  icmpErrorPacket,
  packetView,
  tcpPacket,
  udpPacket,
} from '@twinbore/core/testing'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

const v4 = { source: '10.0.0.1', destination: '192.0.2.9' }
const v6 = { source: 'fd00::1', destination: '2001:db8::9' }
const ports = { sourcePort: 1000, destinationPort: 2000 }
const from4 = Uint8Array.of(10, 0, 0, 254)
const from6 = Uint8Array.from([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfe])
const exceeded4 = { type: IcmpType.timeExceeded, code: 0, source: from4 }
const exceeded6 = { type: Icmpv6Type.timeExceeded, code: 0, source: from6 }
const build = (packet: Uint8Array, options: Parameters<typeof buildIcmpError>[3]) =>
  buildIcmpError(packetView(packet), 0, packet.length, options)

describe('an ICMP error', () => {
  test('is a good packet that carries the whole trigger when it is short', () => {
    const trigger = udpPacket({ ...v4, ...ports, payload: new Uint8Array(40), trafficClass: 0xb9 })
    const error = build(trigger, { ...exceeded4 })!
    expect(checkPacket(packetView(error), 0, error.length)).toBe(0)
    expect(verifyTransportChecksum(packetView(error), 0, 20, error.length - 20, IpProtocol.icmp)).toBe(true)
    expect(packetText(error)).toBe('IP 10.0.0.254 > 10.0.0.1: ICMP time exceeded in-transit, length 76')
    expect(error.subarray(28)).toEqual(trigger)
    expect(ipv4DscpAndEcn(packetView(error), 0)).toBe(0xb8)
    expect(ipv4DontFragment(packetView(error), 0)).toBe(true)
  })

  test('is a good ICMPv6 packet', () => {
    const trigger = tcpPacket({ ...v6, ...ports, payload: new Uint8Array(40), trafficClass: 0xb9 })
    const error = build(trigger, exceeded6)!
    expect(checkPacket(packetView(error), 0, error.length)).toBe(0)
    expect(verifyTransportChecksum(packetView(error), 0, 40, error.length - 40, IpProtocol.icmpv6)).toBe(true)
    expect(packetText(error)).toBe('IP6 fd00::fe > fd00::1: ICMP6, time exceeded in-transit, length 108')
    expect(error.subarray(48)).toEqual(trigger)
    expect(ipv6TrafficClass(packetView(error), 0)).toBe(0xb8)
  })

  test('is at most 576 bytes in IPv4 and 1280 in IPv6 (RFC 1812 §4.3.2.3, RFC 4443 §2.4 (c))', () => {
    const payload = new Uint8Array(1400)
    expect(build(udpPacket({ ...v4, ...ports, payload }), exceeded4)!.length).toBe(576)
    expect(build(udpPacket({ ...v6, ...ports, payload }), exceeded6)!.length).toBe(1280)
  })

  test('tells the next-hop MTU (RFC 1191 §4, RFC 4443 §3.2)', () => {
    const packet4 = udpPacket({ ...v4, ...ports, payload: new Uint8Array(1400) })
    const code = UnreachableCode.fragmentationNeeded
    const tooBig4 = build(packet4, { type: IcmpType.destinationUnreachable, code, source: from4, mtu: 1326 })!
    expect(icmpNextHopMtu(packetView(tooBig4), 20)).toBe(1326)
    const packet6 = udpPacket({ ...v6, ...ports, payload: new Uint8Array(1400) })
    const tooBig6 = build(packet6, { type: Icmpv6Type.packetTooBig, code: 0, source: from6, mtu: 1326 })!
    expect(icmpv6Mtu(packetView(tooBig6), 40)).toBe(1326)
    expect(checkEmbeddedPacket(packetView(tooBig6), 48, embeddedLength(packetView(tooBig6), 40, 1240, 6))).toBe(0)
  })

  test('tells the pointer of a parameter problem', () => {
    const problem4 = build(udpPacket({ ...v4, ...ports }), { type: 12, code: 0, source: from4, pointer: 20 })!
    expect(packetView(problem4).getUint32(24)).toBe(20 << 24)
    const problem6 = build(udpPacket({ ...v6, ...ports }), { type: 4, code: 1, source: from6, pointer: 6 })!
    expect(packetView(problem6).getUint32(44)).toBe(6)
  })

  test('reads its trigger at any offset of a slab', () => {
    const trigger = udpPacket({ ...v4, ...ports })
    const slab = new Uint8Array(300)
    slab.set(trigger, 77)
    const inner = slab.subarray(30)
    expect(buildIcmpError(packetView(inner), 47, trigger.length, exceeded4)).toEqual(build(trigger, exceeded4))
  })

  test('asks for a source of the right family', () => {
    expect(() => build(udpPacket({ ...v4, ...ports }), { ...exceeded4, source: from6 })).toThrow(RangeError)
  })
})

describe('never answered (RFC 1812 §4.3.2.7, RFC 4443 §2.4 (e))', () => {
  const fragments = (addresses: typeof v4) =>
    fragmentPacket(udpPacket({ ...addresses, ...ports, payload: new Uint8Array(3000) }), 1280)
  const silent: Record<string, [Uint8Array, Parameters<typeof buildIcmpError>[3]]> = {
    'an ICMP error': [icmpErrorPacket({ ...v4, type: 3, code: 1, about: udpPacket({ ...v4, ...ports }) }), exceeded4],
    'an ICMP redirect': [
      icmpErrorPacket({ ...v4, type: 5, code: 1, about: udpPacket({ ...v4, ...ports }) }),
      exceeded4,
    ],
    'an ICMPv6 error': [icmpErrorPacket({ ...v6, type: 1, code: 1, about: udpPacket({ ...v6, ...ports }) }), exceeded6],
    'an ICMPv6 redirect': [icmpErrorPacket({ ...v6, type: 137, code: 0, about: new Uint8Array(40) }), exceeded6],
    'a later IPv4 fragment': [fragments(v4)[1]!, exceeded4],
    'a later IPv6 fragment': [fragments(v6)[1]!, exceeded6],
    'a packet to IPv4 multicast': [udpPacket({ ...v4, destination: '224.0.0.251', ...ports }), exceeded4],
    'a packet to broadcast': [udpPacket({ ...v4, destination: '255.255.255.255', ...ports }), exceeded4],
    'a packet to IPv6 multicast': [udpPacket({ ...v6, destination: 'ff02::fb', ...ports }), exceeded6],
    'a packet from 0.0.0.0': [udpPacket({ ...v4, source: '0.0.0.0', ...ports }), exceeded4],
    'a packet from loopback': [udpPacket({ ...v4, source: '127.0.0.1', ...ports }), exceeded4],
    'a packet from multicast': [udpPacket({ ...v4, source: '224.0.0.1', ...ports }), exceeded4],
    'a packet from broadcast': [udpPacket({ ...v4, source: '255.255.255.255', ...ports }), exceeded4],
    'a packet from ::': [udpPacket({ ...v6, source: '::', ...ports }), exceeded6],
    'a packet from ::1': [udpPacket({ ...v6, source: '::1', ...ports }), exceeded6],
    'a packet from IPv6 multicast': [udpPacket({ ...v6, source: 'ff02::1', ...ports }), exceeded6],
  }
  test.each(Object.entries(silent))('%s', (_, [packet, options]) => {
    expect(build(packet, options)).toBeUndefined()
  })

  test('but echo requests and first fragments are', () => {
    expect(build(icmpEchoPacket({ ...v4, identifier: 1 }), exceeded4)).toBeDefined()
    expect(build(icmpEchoPacket({ ...v6, identifier: 1 }), exceeded6)).toBeDefined()
    expect(build(fragments(v4)[0]!, exceeded4)).toBeDefined()
    expect(build(fragments(v6)[0]!, exceeded6)).toBeDefined()
  })

  test('but multicast gets "packet too big" and the unrecognized option that asks for it', () => {
    const packet = udpPacket({
      ...v6,
      destination: 'ff0e::1',
      ...ports,
      extensionHeaders: [{ type: IpProtocol.hopByHopOptions, body: Uint8Array.of(0x9e, 4, 0, 0, 0, 0) }],
    })
    expect(build(packet, { type: Icmpv6Type.packetTooBig, code: 0, source: from6, mtu: 1280 })).toBeDefined()
    expect(build(packet, { type: Icmpv6Type.parameterProblem, code: 2, source: from6, pointer: 42 })).toBeDefined()
    expect(build(packet, { type: Icmpv6Type.parameterProblem, code: 2, source: from6, pointer: 44 })).toBeUndefined()
    expect(build(packet, { type: Icmpv6Type.parameterProblem, code: 1, source: from6, pointer: 42 })).toBeUndefined()
  })
})

test('no bytes make it throw, and whatever it builds is a good packet that gets no answer itself', () => {
  const some = fc.oneof(
    fc.uint8Array({ maxLength: 100 }),
    fc.constantFrom(udpPacket({ ...v4, ...ports }), tcpPacket({ ...v6, ...ports })),
  )
  fc.assert(
    fc.property(some, fc.nat({ max: 255 }), fc.nat({ max: 255 }), (bytes, type, code) => {
      const version = (bytes[0] ?? 0) >>> 4
      const error = build(bytes, { type, code, source: version === 4 ? from4 : from6 })
      if (!error) return
      expect(checkPacket(packetView(error), 0, error.length)).toBe(0)
    }),
    { numRuns: 5000 },
  )
})

describe('embeddedLength (RFC 4884 §4)', () => {
  const about = udpPacket({ ...v4, ...ports, payload: new Uint8Array(200) })

  test('stops at the extensions when the length field is set', () => {
    const error = icmpErrorPacket({ ...v4, type: 11, code: 0, parameter: 32 << 16, about })
    expect(embeddedLength(packetView(error), 20, error.length - 20, 4)).toBe(128)
    const error6 = icmpErrorPacket({ ...v6, type: 3, code: 0, parameter: 16 << 24, about })
    expect(embeddedLength(packetView(error6), 40, error6.length - 40, 6)).toBe(128)
  })

  test('is everything without the field, with one that lies, and for types without extensions', () => {
    const plain = icmpErrorPacket({ ...v4, type: 11, code: 0, about })
    expect(embeddedLength(packetView(plain), 20, plain.length - 20, 4)).toBe(about.length)
    const lies = icmpErrorPacket({ ...v4, type: 11, code: 0, parameter: 255 << 16, about })
    expect(embeddedLength(packetView(lies), 20, lies.length - 20, 4)).toBe(about.length)
    const tooBig = icmpErrorPacket({ ...v6, type: 2, code: 0, parameter: 0x10000500, about })
    expect(embeddedLength(packetView(tooBig), 40, tooBig.length - 40, 6)).toBe(about.length)
  })
})
