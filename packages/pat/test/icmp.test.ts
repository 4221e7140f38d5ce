import { IcmpType, Icmpv6Type } from '@twinbore/core/packet'
import { fragmentPacket, icmpEchoPacket, icmpErrorPacket, ipPacket, packetView } from '@twinbore/core/testing'
import { describe, expect, test } from 'vitest'
import {
  client,
  client6,
  contains,
  destinationOf,
  essence,
  Harness,
  hex,
  isWellFormed,
  neighbour,
  outside,
  outside6,
  router,
  router6,
  server,
  server6,
  sourceOf,
  sourcePortOf,
  tcp,
  transportAt,
  udp,
  udpAnswer,
} from './harness.ts'

const clientBytes = Uint8Array.of(10, 8, 0, 2)
/** The packet that an error carries. */
const quoted = (packet: Uint8Array) => packet.slice(transportAt(packet) + 8)
const icmpHeader = (packet: Uint8Array) => hex(packet.slice(transportAt(packet), transportAt(packet) + 8))

const originals: Record<string, Uint8Array> = {
  'UDP over IPv4': udp({}, new Uint8Array(24).fill(0x55)),
  'TCP over IPv4': tcp({ flags: 0x02, sequenceNumber: 77 }),
  'echo over IPv4': icmpEchoPacket({
    source: client,
    destination: server,
    identifier: 700,
    payload: new Uint8Array(20),
  }),
  'UDP over IPv6': udp({ source: client6, destination: server6 }, new Uint8Array(24).fill(0x55)),
  'TCP over IPv6': tcp({ source: client6, destination: server6, flags: 0x02, sequenceNumber: 77 }),
  'echo over IPv6': icmpEchoPacket({ source: client6, destination: server6, identifier: 700 }),
}

describe('errors from outside (RFC 5508 §4.2, RFC 4787 REQ-12, RFC 5382 REQ-9)', () => {
  const types4: [number, number, number][] = [
    [3, 0, 0],
    [3, 1, 0],
    [3, 2, 0],
    [3, 3, 0],
    [3, 4, 1280],
    [3, 13, 0],
    [11, 0, 0],
    [12, 0, 0x14000000],
  ]
  const types6: [number, number, number][] = [
    [1, 0, 0],
    [1, 4, 0],
    [2, 0, 1400],
    [3, 0, 0],
    [4, 1, 40],
  ]

  for (const [name, original] of Object.entries(originals)) {
    const v4 = name.endsWith('4')
    test.each(v4 ? types4 : types6)(
      `${name}: type %i code %i reaches the client about its own packet`,
      (type, code, parameter) => {
        const harness = new Harness()
        const sent = harness.sent(original)
        const error = icmpErrorPacket({
          source: v4 ? router : router6,
          destination: v4 ? outside : outside6,
          type,
          code,
          parameter,
          about: sent,
        })
        const received = harness.received(error)
        expect(isWellFormed(received)).toBe(true)
        expect([sourceOf(received), destinationOf(received)]).toEqual([v4 ? router : router6, v4 ? client : client6])
        // Type, code and the four bytes behind the checksum are untouched.
        expect(icmpHeader(received).slice(0, 4) + icmpHeader(received).slice(8)).toBe(
          icmpHeader(error).slice(0, 4) + icmpHeader(error).slice(8),
        )
        // The client finds what it sent, down to a right transport checksum.
        expect(essence(quoted(received))).toBe(essence(original))
        expect(isWellFormed(quoted(received))).toBe(true)
      },
    )
  }

  test('golden vector: 3/3 about UDP, byte for byte', () => {
    // Computed by an independent program.
    const harness = new Harness({ portRange: { first: 40_000, last: 40_000 } })
    const sent = harness.sent(fromHex('4500002000004000401106860a080002c633640a13880035000cb3cb01020304'))
    expect(hex(sent)).toBe('4500002000004000' + '3f11d587cb007107c633640a' + '9c400035000cf914' + '01020304')
    const error = fromHex(
      '450000380000400040013cbcc0000201cb007107' +
        '0303676600000000' +
        '45000020000040003f11d587cb007107c633640a9c400035000cf914',
    )
    expect(hex(harness.received(error))).toBe(
      '45000038000040003f016fbac00002010a080002' +
        '0303356800000000' +
        '45000020000040003f1107860a080002c633640a13880035000cb3cb',
    )
  })

  test('eight bytes of the transport header are enough (RFC 792)', () => {
    for (const original of [originals['UDP over IPv4']!, originals['TCP over IPv4']!, originals['echo over IPv4']!]) {
      const harness = new Harness()
      const sent = harness.sent(original)
      const received = harness.received(
        icmpErrorPacket({ source: router, destination: outside, type: 11, code: 0, about: sent.slice(0, 28) }),
      )
      expect(isWellFormed(received)).toBe(true)
      expect(quoted(received).length).toBe(28)
      expect(sourcePortOf(quoted(received))).toBe(sourcePortOf(original))
    }
  })

  test('embedded options are skipped (RFC 5508 REQ-3 c)', () => {
    const harness = new Harness()
    const sent = harness.sent(udp())
    // A router on the way put a (NOP) option word in.
    const about = ipPacket({
      source: sourceOf(sent),
      destination: server,
      protocol: 17,
      options: Uint8Array.of(1, 1, 1, 1),
      payload: sent.slice(20),
    })
    const received = harness.received(
      icmpErrorPacket({ source: router, destination: outside, type: 11, code: 0, about }),
    )
    expect(sourceOf(quoted(received))).toBe(client)
    expect(isWellFormed(received)).toBe(true)
  })

  test('extensions of RFC 4884 stay in place, bit for bit (traceroute -e)', () => {
    const harness = new Harness()
    const sent = harness.sent(udp())
    const about = new Uint8Array(128 + 12)
    about.set(sent)
    // MPLS label stack object (RFC 4950) with its own checksum field.
    const extension = Uint8Array.of(0x20, 0, 0xab, 0xcd, 0, 8, 1, 1, 0x12, 0x34, 0x51, 0x01)
    about.set(extension, 128)
    const error = icmpErrorPacket({
      source: router,
      destination: outside,
      type: 11,
      code: 0,
      parameter: 32 << 16,
      about,
    })
    const received = harness.received(error)
    expect(isWellFormed(received)).toBe(true)
    expect(quoted(received).slice(128)).toEqual(extension)
    expect(quoted(received).slice(sent.length, 128)).toEqual(new Uint8Array(128 - sent.length))
    expect(icmpHeader(received).slice(8)).toBe('00200000')
  })

  const bad: [string, (sent: Uint8Array) => Uint8Array, string][] = [
    [
      'a wrong ICMP checksum',
      sent => changed(error4({ about: sent }), view => view.setUint16(22, 0x1234)),
      'badChecksum',
    ],
    ['a wrong embedded IPv4 checksum', sent => error4({ about: changed(sent, v => v.setUint8(8, 9)) }), 'badChecksum'],
    ['too little embedded data', sent => error4({ about: sent.slice(0, 27) }), 'malformed'],
    ['nothing embedded', () => error4({ about: new Uint8Array(0) }), 'malformed'],
    ['an embedded error', sent => error4({ about: error4({ source: outside, about: sent }) }), 'noMapping'],
    ['an embedded packet of another family', () => error4({ about: originals['UDP over IPv6']! }), 'malformed'],
    ['no mapping', () => error4({ about: udp({ source: outside, sourcePort: 3333 }) }), 'noMapping'],
    [
      'a destination that the client never spoke to',
      sent => error4({ about: udp({ source: outside, sourcePort: sourcePortOf(sent), destination: '198.51.100.66' }) }),
      'filtered',
    ],
    ['an embedded source that is not where the error goes', () => error4({ about: udp() }), 'noMapping'],
    ['an MTU below 68', sent => error4({ type: 3, code: 4, parameter: 67, about: sent }), 'malformed'],
    ['source quench (RFC 6633)', sent => error4({ type: 4, code: 0, about: sent }), 'unsupportedProtocol'],
    ['a redirect', sent => error4({ type: 5, code: 1, about: sent }), 'unsupportedProtocol'],
  ]
  test.each(bad)('%s is refused', (_, make, reason) => {
    const harness = new Harness()
    expect(harness.in(make(harness.sent(udp())))).toBe(reason)
    expect(harness.outputs).toEqual([])
  })

  test('an IPv6 MTU below 1280 is refused', () => {
    const harness = new Harness()
    const about = harness.sent(originals['UDP over IPv6']!)
    const error = { source: router6, destination: outside6, type: 2, code: 0, about }
    expect(harness.in(icmpErrorPacket({ ...error, parameter: 1279 }))).toBe('malformed')
    harness.received(icmpErrorPacket({ ...error, parameter: 1280 }))
  })

  test('an error about a TCP segment that was never sent is refused (RFC 5927 §4.1)', () => {
    const harness = new Harness()
    const sent = harness.sent(tcp({ flags: 2, sequenceNumber: 1000 }))
    const forged = (sequenceNumber: number) =>
      error4({ about: tcp({ source: outside, sourcePort: sourcePortOf(sent), flags: 2, sequenceNumber }) })
    expect(harness.in(forged(5000))).toBe('filtered')
    expect(typeof harness.in(forged(1000))).toBe('object')
  })

  test('errors of the gateway itself pass, other inside sources do not', () => {
    const harness = new Harness({ insidePrefixes: ['10.8.0.0/16'], gatewayAddresses: ['10.8.0.1'] })
    const about = harness.sent(udp())
    for (const source of ['10.8.0.1', outside]) {
      expect(sourceOf(harness.received(error4({ source, type: 3, code: 4, parameter: 1400, about })))).toBe(source)
    }
    expect(harness.in(error4({ source: '10.8.0.9', about }))).toBe('spoofedSource')
    expect(harness.in(udpAnswer(about, { source: '10.8.0.1' }))).toBe('spoofedSource')
  })

  test('a storm of errors ends and refreshes nothing (RFC 5508 REQ-6)', () => {
    const harness = new Harness({ inboundRefresh: true })
    const sent = harness.sent(udp())
    for (let i = 0; i < 200; i++) {
      harness.advance(1000)
      harness.received(error4({ about: sent }))
    }
    expect(typeof harness.in(udpAnswer(sent))).toBe('object')
    const quiet = new Harness({ inboundRefresh: true })
    const again = quiet.sent(udp())
    for (let i = 0; i < 31; i++) {
      quiet.advance(10_000)
      quiet.in(error4({ about: again }))
    }
    expect(quiet.in(udpAnswer(again))).toBe('noMapping')
  })
})

describe('errors from clients', () => {
  test.each([
    ['IPv4', client, server, outside, 3],
    ['IPv6', client6, server6, outside6, Icmpv6Type.destinationUnreachable],
  ])('over %s carry the outside endpoint, and no inside address anywhere (RFC 5508 REQ-5)', (_, from, to, as, type) => {
    const harness = new Harness()
    const sent = harness.sent(udp({ source: from, destination: to }))
    const answer = udpAnswer(sent)
    const received = harness.received(answer)
    const error = icmpErrorPacket({ source: from, destination: to, type, code: 3, about: received })
    const out = harness.sent(error)
    expect([sourceOf(out), destinationOf(out)]).toEqual([as, to])
    expect(isWellFormed(out)).toBe(true)
    expect(essence(quoted(out))).toBe(essence(answer))
    expect(isWellFormed(quoted(out))).toBe(true)
    expect(contains(out, from === client ? clientBytes : sourceBytes6)).toBe(false)
  })

  test('about a TCP segment that never came in are refused (RFC 5927 §4.1)', () => {
    const harness = new Harness()
    const sent = harness.sent(tcp({ flags: 2, sequenceNumber: 99 }))
    const answer = { source: server, sourcePort: 80, destination: outside, destinationPort: sourcePortOf(sent) }
    harness.received(tcp({ ...answer, flags: 0x12, sequenceNumber: 700_000, acknowledgmentNumber: 100 }))
    const error = (sequenceNumber: number) =>
      icmpErrorPacket({
        source: client,
        destination: server,
        type: 3,
        code: 3,
        about: tcp({ ...answer, destination: client, destinationPort: 5000, sequenceNumber }),
      })
    expect(harness.out(error(500_000))).toBe('filtered')
    expect(harness.out(error(700_002))).toBe('filtered')
    expect(typeof harness.out(error(700_000))).toBe('object')
  })

  test('come from routers behind the client, too', () => {
    const harness = new Harness()
    const received = harness.received(udpAnswer(harness.sent(udp())))
    const error = icmpErrorPacket({ source: '10.8.0.200', destination: server, type: 11, code: 0, about: received })
    expect(sourceOf(harness.sent(error))).toBe(outside)
  })

  test.each([
    [
      'about nothing that is mapped',
      { about: udp({ source: server, destination: client, destinationPort: 1 }) },
      'noMapping',
    ],
    ['about a stranger', { about: udp({ source: server, destination: neighbour }) }, 'noMapping'],
    ['to somebody else than the sender', { destination: router }, 'noMapping'],
    ['about a packet with options, which never came in', { about: withOptions() }, 'refusedOptions'],
  ])('%s are refused', (_, fields, reason) => {
    const harness = new Harness()
    const received = harness.received(udpAnswer(harness.sent(udp())))
    const error = { source: client, destination: server, type: 3, code: 3, about: received, ...fields }
    expect(harness.out(icmpErrorPacket(error))).toBe(reason)
    expect(harness.outputs).toEqual([])
  })
})

describe('what does not cross', () => {
  test.each([5, 9, 10, 13, 14, 15, 17, 18, 40])('ICMP type %i', type => {
    const message = Uint8Array.of(type, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
    const packet = ipPacket({ source: client, destination: server, protocol: 1, payload: message })
    const harness = new Harness()
    expect(harness.out(packet)).toBe('unsupportedProtocol')
    expect(harness.in(ipPacket({ source: server, destination: outside, protocol: 1, payload: message }))).toBe(
      'unsupportedProtocol',
    )
    expect(harness.outputs).toEqual([])
  })

  test.each([130, 131, 133, 134, 135, 136, 137, 143])('ICMPv6 type %i', type => {
    const payload = Uint8Array.of(type, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
    const harness = new Harness()
    expect(harness.out(ipPacket({ source: client6, destination: server6, protocol: 58, payload }))).toBe(
      'unsupportedProtocol',
    )
    expect(harness.in(ipPacket({ source: server6, destination: outside6, protocol: 58, payload }))).toBe(
      'unsupportedProtocol',
    )
  })
})

describe('errors that the translator makes', () => {
  test.each([
    ['IPv4', client, server, outside, '0b00', 1],
    ['IPv6', client6, server6, outside6, '0300', 1],
    ['IPv4, TTL 0', client, server, outside, '0b00', 0],
  ])('a last hop over %s is answered', (_, source, destination, gateway, typeAndCode, hopLimit) => {
    const harness = new Harness()
    const packet = udp({ source, destination, ...{ hopLimit } } as never)
    const [v] = [packetView(packet)]
    if (source === client) {
      v.setUint8(8, hopLimit)
      v.setUint16(10, 0)
      v.setUint16(10, checksum(packet.slice(0, 20)))
    } else v.setUint8(7, hopLimit)
    expect(harness.out(packet)).toBe('ttlExceeded')
    const [error] = harness.packets('inbound')
    expect([sourceOf(error!), destinationOf(error!)]).toEqual([gateway, source])
    expect(icmpHeader(error!).slice(0, 4)).toBe(typeAndCode)
    expect(hex(quoted(error!))).toBe(hex(packet))
    expect(isWellFormed(error!)).toBe(true)
    expect(harness.translator.stats().insideAddresses).toBe(0)
  })

  test('come from the gateway address when there is one', () => {
    const harness = new Harness({ gatewayAddresses: ['10.8.0.1', 'fd00:8::1'] })
    harness.out(ipPacket({ source: client, destination: server, protocol: 47, payload: new Uint8Array(20) }))
    harness.out(ipPacket({ source: client6, destination: server6, protocol: 47, payload: new Uint8Array(20) }))
    expect(harness.packets('inbound').map(sourceOf)).toEqual(['10.8.0.1', 'fd00:8::1'])
  })

  test('an inbound last hop is answered in the name of the outside address, without an inside address', () => {
    const harness = new Harness()
    const sent = harness.sent(udp())
    const answer = udpAnswer(sent)
    const view = packetView(answer)
    view.setUint8(8, 1)
    view.setUint16(10, 0)
    view.setUint16(10, checksum(answer.slice(0, 20)))
    expect(harness.in(answer)).toBe('ttlExceeded')
    const [error] = harness.packets('outbound')
    expect([sourceOf(error!), destinationOf(error!)]).toEqual([outside, server])
    expect(hex(quoted(error!))).toBe(hex(answer))
    // A stranger's last hop gets silence.
    view.setUint16(22, 4444)
    expect(harness.in(answer)).toBe('noMapping')
    expect(harness.packets('outbound')).toEqual([])
  })

  test('decrementTtl: false leaves hop limits alone', () => {
    const harness = new Harness({ decrementTtl: false })
    const packet = udp()
    packetView(packet).setUint8(8, 1)
    packetView(packet).setUint16(10, 0)
    packetView(packet).setUint16(10, checksum(packet.slice(0, 20)))
    const sent = harness.sent(packet)
    expect([sent[8], harness.received(udpAnswer(sent))[8]]).toEqual([1, 64])
  })

  test.each([4, 41, 47, 50, 51, 132, 136])('protocol %i is refused with 3/2 and 4/1 (items 68, 69)', protocol => {
    const harness = new Harness()
    const payload = new Uint8Array(40).fill(1)
    expect(harness.out(ipPacket({ source: client, destination: server, protocol, payload }))).toBe(
      'unsupportedProtocol',
    )
    expect(harness.out(ipPacket({ source: client6, destination: server6, protocol, payload }))).toBe(
      'unsupportedProtocol',
    )
    const [first, second] = harness.packets('inbound')
    expect([icmpHeader(first!).slice(0, 4), icmpHeader(second!)]).toEqual([
      '0302',
      expect.stringMatching(/^0401....00000006$/),
    ])
  })

  test('are never about errors, later fragments or multicast (RFC 1812 §4.3.2.7)', () => {
    const harness = new Harness()
    const lastHop = (packet: Uint8Array) => {
      packetView(packet).setUint8(8, 1)
      packetView(packet).setUint16(10, 0)
      packetView(packet).setUint16(10, checksum(packet.slice(0, 20)))
      return packet
    }
    const received = harness.received(udpAnswer(harness.sent(udp())))
    const error = icmpErrorPacket({ source: client, destination: server, type: 3, code: 3, about: received })
    expect(harness.out(lastHop(error))).toBe('ttlExceeded')
    const [, later] = fragmentPacket(udp({}, new Uint8Array(3000)), 1500)
    expect(harness.out(lastHop(later!))).toBe('ttlExceeded')
    expect(harness.out(lastHop(udp({ destination: '239.1.1.1' })))).toBe('deniedDestination')
    expect(harness.outputs).toEqual([])
  })

  test('are limited per receiver and in all (RFC 4443 §2.4 f)', () => {
    const harness = new Harness({ icmpErrorsPerSecond: 50, icmpErrorsPerSecondPerReceiver: 10 })
    const gre = (source: string) => ipPacket({ source, destination: server, protocol: 47, payload: new Uint8Array(8) })
    for (let i = 0; i < 1000; i++) harness.out(gre(client))
    expect(harness.packets('inbound').length).toBe(10)
    for (let host = 1; host <= 100; host++) harness.out(gre(`10.8.7.${host}`))
    expect(harness.packets('inbound').length).toBe(40)
    harness.advance(1000)
    for (let i = 0; i < 1000; i++) harness.out(gre(client))
    expect(harness.packets('inbound').length).toBe(10)
    expect(harness.translator.stats()).toMatchObject({ icmpErrorsSent: 60, icmpErrorsSuppressed: 2040 })
  })
})

const sourceBytes6 = Uint8Array.of(0xfd, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2)

function error4(fields: {
  source?: string
  type?: number
  code?: number
  parameter?: number
  about: Uint8Array
}): Uint8Array {
  return icmpErrorPacket({
    source: router,
    destination: outside,
    type: IcmpType.destinationUnreachable,
    code: 1,
    ...fields,
  })
}

function fromHex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'hex'))
}

function changed(packet: Uint8Array, change: (view: DataView) => void): Uint8Array {
  const copy = packet.slice()
  change(packetView(copy))
  return copy
}

function checksum(bytes: Uint8Array): number {
  let sum = 0
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | bytes[i + 1]!
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}

function withOptions(): Uint8Array {
  const payload = udp({ source: server, destination: client, sourcePort: 80, destinationPort: 5000 }).slice(20)
  const options = Uint8Array.of(7, 7, 4, 10, 8, 0, 2, 0)
  return ipPacket({ source: server, destination: client, protocol: 17, options, payload })
}
