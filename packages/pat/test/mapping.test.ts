import { IcmpType, IpProtocol } from '@twinbore/core/packet'
import { icmpEchoPacket, packetView } from '@twinbore/core/testing'
import { describe, expect, test } from 'vitest'
import type { PortsExhaustedOutput } from '../src/index.ts'
import {
  client,
  client6,
  destinationOf,
  destinationPortOf,
  essence,
  Harness,
  identifierOf,
  isWellFormed,
  neighbour,
  outside,
  outside6,
  server,
  server6,
  sourceOf,
  sourcePortOf,
  tcp,
  transportAt,
  udp,
  udpAnswer,
} from './harness.ts'

const syn = { flags: 0x02 }
const other = '198.51.100.99'

describe('mapping (RFC 4787 §4)', () => {
  test('an inside endpoint has one outside endpoint for every destination (REQ-1)', () => {
    const harness = new Harness()
    const ports = [udp(), udp({ destination: other }), udp({ destinationPort: 443 })].map(packet => {
      const sent = harness.sent(packet)
      expect(sourceOf(sent)).toBe(outside)
      expect(isWellFormed(sent)).toBe(true)
      return sourcePortOf(sent)
    })
    expect(new Set(ports).size).toBe(1)
  })

  test('the same for TCP (RFC 5382 REQ-1)', () => {
    const harness = new Harness()
    const ports = [server, other].map(destination => sourcePortOf(harness.sent(tcp({ destination, ...syn }))))
    expect(ports[0]).toBe(ports[1])
  })

  test('TCP, UDP and echo have mappings of their own', () => {
    const harness = new Harness()
    harness.sent(udp())
    harness.sent(tcp(syn))
    harness.sent(icmpEchoPacket({ source: client, destination: server, identifier: 5000 }))
    expect(harness.translator.stats().mappings).toEqual({ tcp: 1, udp: 1, icmp: 1 })
  })

  test.each([
    ['UDP over IPv4', udp()],
    ['UDP over IPv6', udp({ source: client6, destination: server6 })],
    ['UDP with an empty payload', udp({}, new Uint8Array(0))],
    ['UDP with an odd payload', udp({}, new Uint8Array(7).fill(9))],
  ])('%s: the answer comes back to the sender', (_, packet) => {
    const harness = new Harness()
    const sent = harness.sent(packet)
    const received = harness.received(udpAnswer(sent))
    expect(isWellFormed(sent) && isWellFormed(received)).toBe(true)
    expect([destinationOf(received), destinationPortOf(received)]).toEqual([sourceOf(packet), sourcePortOf(packet)])
    expect([sourceOf(received), sourcePortOf(received)]).toEqual([destinationOf(packet), destinationPortOf(packet)])
  })

  test.each([
    ['IPv4', client, server, outside],
    ['IPv6', client6, server6, outside6],
  ])('echo over %s: two clients with one identifier get their own answers (RFC 5508 REQ-1)', (_, source, to, as) => {
    const harness = new Harness()
    const second = source === client ? neighbour : 'fd00:8::3'
    for (const from of [source, second]) {
      const request = icmpEchoPacket({
        source: from,
        destination: to,
        identifier: 7,
        payload: new Uint8Array(9).fill(3),
      })
      const sent = harness.sent(request)
      expect(sourceOf(sent)).toBe(as)
      expect(isWellFormed(sent)).toBe(true)
      const reply = icmpEchoPacket({ source: to, destination: as, identifier: identifierOf(sent), reply: true })
      const received = harness.received(reply)
      expect([destinationOf(received), identifierOf(received)]).toEqual([from, 7])
      expect(isWellFormed(received)).toBe(true)
    }
  })

  test('an echo request from outside passes where the filter lets it, and its reply goes back (RFC 5508 REQ-1)', () => {
    const harness = new Harness()
    const id = identifierOf(harness.sent(icmpEchoPacket({ source: client, destination: server, identifier: 7 })))
    const request = harness.received(icmpEchoPacket({ source: server, destination: outside, identifier: id }))
    expect([destinationOf(request), identifierOf(request)]).toEqual([client, 7])
    const reply = harness.sent(icmpEchoPacket({ source: client, destination: server, identifier: 7, reply: true }))
    expect([sourceOf(reply), identifierOf(reply)]).toEqual([outside, id])
  })

  test('an echo reply never makes a mapping', () => {
    const harness = new Harness()
    const reply = icmpEchoPacket({ source: client, destination: server, identifier: 7, reply: true })
    expect(harness.out(reply)).toBe('noMapping')
    expect(harness.translator.stats().insideAddresses).toBe(0)
  })

  test('a client keeps one outside address for all protocols (paired pooling, RFC 6888 REQ-2)', () => {
    const pool = ['203.0.113.1', '203.0.113.8', '203.0.113.100']
    const harness = new Harness({ outsideAddresses: pool })
    const used = new Map<string, Set<string>>()
    for (let host = 2; host < 62; host++) {
      const source = `10.8.0.${host}`
      const seen = new Set<string>()
      for (let port = 0; port < 20; port++) {
        seen.add(sourceOf(harness.sent(udp({ source, sourcePort: 3000 + port }))))
        seen.add(sourceOf(harness.sent(tcp({ source, sourcePort: 3000 + port, ...syn }))))
      }
      seen.add(sourceOf(harness.sent(icmpEchoPacket({ source, destination: server, identifier: 1 }))))
      used.set(source, seen)
    }
    for (const seen of used.values()) expect(seen.size).toBe(1)
    const perAddress = pool.map(address => [...used.values()].filter(seen => seen.has(address)).length)
    expect(perAddress).toEqual([20, 20, 20])
  })

  test('who leaves makes room on its outside address', () => {
    const harness = new Harness({ outsideAddresses: ['203.0.113.1', '203.0.113.2'] })
    const use = (host: number) => sourceOf(harness.sent(udp({ source: `10.8.0.${host}` })))
    const first = use(2)
    expect(use(3)).not.toBe(first)
    for (let host = 4; host < 30; host++) {
      harness.translator.removeInside(`10.8.0.${host - 2}`, harness.now)
      harness.translator.removeInside(`10.8.0.${host - 1}`, harness.now)
      const pair = [use(host), use(host - 1)]
      expect(new Set(pair).size).toBe(2)
    }
    harness.translator.removeInside('10.8.0.29', harness.now)
    const gone = use(29)
    harness.translator.removeInside('10.8.0.29', harness.now)
    expect(use(200)).toBe(gone)
  })

  test('without an outside address of the family there is no way out', () => {
    const harness = new Harness({ outsideAddresses: [outside] })
    expect(harness.out(udp({ source: client6, destination: server6 }))).toBe('noRoute')
  })
})

describe('filtering (RFC 4787 §5)', () => {
  const sameAddress = { sourcePort: 9999 }
  const elsewhere = { source: other }
  test.each([
    ['endpoint-independent', true, true],
    ['address-dependent', true, false],
    ['address-and-port-dependent', false, false],
  ] as const)('%s: UDP from another port %s, from another address %s', (filteringBehavior, port, address) => {
    const harness = new Harness({ filteringBehavior })
    const sent = harness.sent(udp())
    expect(typeof harness.in(udpAnswer(sent))).toBe('object')
    expect(typeof harness.in(udpAnswer(sent, sameAddress))).toBe(port ? 'object' : 'string')
    expect(typeof harness.in(udpAnswer(sent, elsewhere))).toBe(address ? 'object' : 'string')
    if (!address) expect(harness.in(udpAnswer(sent, elsewhere))).toBe('filtered')
  })

  test.each([
    ['endpoint-independent', true, true],
    ['address-dependent', true, false],
    ['address-and-port-dependent', false, false],
  ] as const)(
    '%s: a TCP connection from another port %s, from another address %s',
    (filteringBehavior, port, address) => {
      const harness = new Harness({ filteringBehavior })
      const destinationPort = sourcePortOf(harness.sent(tcp(syn)))
      const opening = { source: server, sourcePort: 9999, destination: outside, destinationPort, ...syn }
      expect(typeof harness.in(tcp(opening))).toBe(port ? 'object' : 'string')
      expect(typeof harness.in(tcp({ ...opening, source: other }))).toBe(address ? 'object' : 'string')
      // Only a SYN opens.
      expect(harness.in(tcp({ ...opening, sourcePort: 9998, flags: 0x10 }))).toBe('filtered')
    },
  )

  test('a TCP mapping admits no UDP', () => {
    const harness = new Harness({ filteringBehavior: 'endpoint-independent' })
    const port = sourcePortOf(harness.sent(tcp(syn)))
    expect(harness.in(udp({ source: server, sourcePort: 80, destination: outside, destinationPort: port }))).toBe(
      'noMapping',
    )
  })

  test('unsolicited packets get silence', () => {
    const harness = new Harness()
    harness.sent(udp())
    for (const packet of [
      udp({ source: server, destination: outside, destinationPort: 3333 }),
      tcp({ source: server, destination: outside, destinationPort: 3333, ...syn }),
      icmpEchoPacket({ source: server, destination: outside, identifier: 3 }),
    ]) {
      expect(harness.in(packet)).toBe('noMapping')
    }
    expect(harness.packets('outbound')).toEqual([])
  })
})

describe('addresses', () => {
  test.each([
    ['unspecified', '0.0.0.0'],
    ['loopback', '127.0.0.1'],
    ['multicast', '224.0.0.1'],
    ['broadcast', '255.255.255.255'],
    ['an outside address', outside],
    ['outside the inside prefixes', '10.9.0.1'],
  ])('a client cannot send from %s', (_, source) => {
    const harness = new Harness({ insidePrefixes: ['10.8.0.0/16'] })
    expect(harness.out(udp({ source }))).toBe('spoofedSource')
    expect(harness.translator.stats().insideAddresses).toBe(0)
    expect(harness.outputs).toEqual([])
  })

  test.each([
    ['unspecified', '0.0.0.1'],
    ['loopback', '127.0.0.1'],
    ['link-local', '169.254.169.254'],
    ['multicast', '224.0.0.251'],
    ['broadcast', '255.255.255.255'],
    ['inside', '10.8.9.9'],
  ])('a client cannot send to %s', (_, destination) => {
    const harness = new Harness({ insidePrefixes: ['10.8.0.0/16'] })
    expect(harness.out(udp({ destination }))).toBe('deniedDestination')
  })

  test.each(['::', '::1', 'ff02::1', 'fe80::1', '2002:a00:1::1', '2001::1'])('nor to %s', destination => {
    expect(new Harness().out(udp({ source: client6, destination }))).toBe('deniedDestination')
  })

  test('IPv4-mapped addresses do not pass for IPv4', () => {
    expect(new Harness().out(udp({ source: '::ffff:10.8.0.2', destination: server6 }))).toBe('malformed')
    expect(new Harness().out(udp({ source: client6, destination: '::ffff:198.51.100.1' }))).toBe('malformed')
  })

  test('a link-local pool works (169.254.0.0/16 inside)', () => {
    const harness = new Harness({ insidePrefixes: ['169.254.0.0/16'] })
    const sent = harness.sent(udp({ source: '169.254.3.4' }))
    expect(destinationOf(harness.received(udpAnswer(sent)))).toBe('169.254.3.4')
  })

  test('outside packets that claim an inside or outside source are dropped', () => {
    const harness = new Harness({ insidePrefixes: ['10.8.0.0/16'], filteringBehavior: 'endpoint-independent' })
    const sent = harness.sent(udp())
    for (const source of ['10.8.0.9', outside, '127.0.0.1', '169.254.1.1']) {
      expect(harness.in(udpAnswer(sent, { source }))).toBe('spoofedSource')
    }
    expect(harness.in(udpAnswer(sent, { destination: '203.0.113.200' }))).toBe('noRoute')
  })
})

describe('ports and quotas', () => {
  test('ports come from the range, without the exclusions (no port shadow)', () => {
    const harness = new Harness({
      portRange: { first: 20_000, last: 20_031 },
      excludedPorts: [20_000, { first: 20_010, last: 20_019 }],
    })
    const ports = new Set<number>()
    for (let i = 0; i < 21; i++) ports.add(sourcePortOf(harness.sent(udp({ sourcePort: 1000 + i }))))
    expect(ports.size).toBe(21)
    for (const port of ports) expect(port > 20_000 && port <= 20_031 && (port < 20_010 || port > 20_019)).toBe(true)
    expect(harness.out(udp({ sourcePort: 2000 }))).toBe('portsExhausted')
  })

  test('exhaustion drops, answers 3/1, evicts nobody and is reported once per interval (RFC 6888 REQ-11)', () => {
    const harness = new Harness({ portRange: { first: 40_000, last: 40_003 } })
    const first = harness.sent(udp({ sourcePort: 1 }))
    for (let i = 2; i <= 4; i++) harness.sent(udp({ sourcePort: i }))
    for (let i = 0; i < 100; i++) expect(harness.out(udp({ sourcePort: 100 + i }))).toBe('portsExhausted')
    const errors = harness.packets('inbound')
    expect(errors.length).toBe(10)
    const error = errors[0]!
    expect([error[20], error[21]]).toEqual([IcmpType.destinationUnreachable, 1])
    expect([sourceOf(error), destinationOf(error), error[9]]).toEqual([outside, client, IpProtocol.icmp])
    expect(isWellFormed(error)).toBe(true)
    // It quotes what the client sent, unchanged.
    expect(essence(error.slice(28))).toBe(essence(udp({ sourcePort: 100 })))
    expect(harness.outputs).toEqual([
      {
        type: 'ports-exhausted',
        resource: 'ports',
        protocol: 'udp',
        outsideAddress: outside,
        refused: 1,
        at: harness.now,
      } satisfies PortsExhaustedOutput,
    ])
    expect(typeof harness.in(udpAnswer(first))).toBe('object')
    harness.advance(60_000)
    harness.out(udp({ sourcePort: 999 }))
    expect(harness.outputs.filter(output => output.type === 'ports-exhausted').map(output => output.refused)).toEqual([
      1, 100,
    ])
    expect(harness.translator.stats().icmpErrorsSuppressed).toBe(90)
  })

  test('IPv6 exhaustion answers 1/3', () => {
    const harness = new Harness({ portRange: { first: 40_000, last: 40_000 } })
    const flow = { source: client6, destination: server6 }
    harness.sent(udp({ ...flow, sourcePort: 1 }))
    expect(harness.out(udp({ ...flow, sourcePort: 2 }))).toBe('portsExhausted')
    const [error] = harness.packets('inbound')
    expect([error![40], error![41], isWellFormed(error!)]).toEqual([1, 3, true])
  })

  test('a greedy client reaches its quota, its neighbour notices nothing (RFC 6888 REQ-4)', () => {
    const harness = new Harness({
      maxTcpMappingsPerInside: 3,
      maxUdpMappingsPerInside: 2,
      maxIcmpMappingsPerInside: 1,
    })
    const fates = { tcp: [] as unknown[], udp: [] as unknown[], icmp: [] as unknown[] }
    for (let i = 1; i <= 5; i++) {
      fates.tcp.push(harness.out(tcp({ sourcePort: i, ...syn })))
      fates.udp.push(harness.out(udp({ sourcePort: i })))
      fates.icmp.push(harness.out(icmpEchoPacket({ source: client, destination: server, identifier: i })))
    }
    const refused = (list: unknown[]) => list.filter(fate => fate === 'quotaExceeded').length
    expect([refused(fates.tcp), refused(fates.udp), refused(fates.icmp)]).toEqual([2, 3, 4])
    for (let i = 1; i <= 2; i++) harness.sent(udp({ source: neighbour, sourcePort: i }))
  })

  test('sessions per client are bounded (RFC 6888 REQ-5)', () => {
    const harness = new Harness({ maxSessionsPerInside: 10 })
    const fates = Array.from({ length: 12 }, (_, i) => harness.out(udp({ destination: `198.51.100.${i + 1}` })))
    expect(fates.filter(fate => fate === 'quotaExceeded').length).toBe(2)
    // A known destination still works.
    harness.sent(udp({ destination: '198.51.100.1' }))
  })

  test('new mappings per second are bounded, with a burst', () => {
    const harness = new Harness({ newMappingsPerSecond: 10, newMappingBurst: 5 })
    const open = (port: number) => harness.out(udp({ sourcePort: port }))
    for (let i = 0; i < 5; i++) expect(typeof open(1000 + i)).toBe('object')
    expect(open(2000)).toBe('rateLimited')
    // What is mapped is not limited.
    expect(typeof open(1000)).toBe('object')
    harness.advance(100)
    expect(typeof open(2000)).toBe('object')
    expect(open(2001)).toBe('rateLimited')
  })

  test('full tables refuse, report and keep what lives', () => {
    const harness = new Harness({ maxMappings: 4, maxSessions: 6 })
    for (let i = 1; i <= 4; i++) harness.sent(udp({ sourcePort: i }))
    expect(harness.out(udp({ sourcePort: 5 }))).toBe('portsExhausted')
    expect(harness.out(udp({ source: neighbour }))).toBe('portsExhausted')
    harness.sent(udp({ sourcePort: 1, destination: '198.51.100.1' }))
    harness.sent(udp({ sourcePort: 1, destination: '198.51.100.2' }))
    expect(harness.out(udp({ sourcePort: 1, destination: '198.51.100.3' }))).toBe('portsExhausted')
    const causes = harness.outputs.filter(output => output.type === 'ports-exhausted').map(output => output.resource)
    expect(causes).toEqual(['mappings', 'sessions'])
    expect(harness.translator.stats()).toMatchObject({ mappings: { udp: 4 }, sessions: 6, insideAddresses: 1 })
  })

  test('a removed client is gone at once; its ports rest (RFC 6888 REQ-8)', () => {
    const harness = new Harness({ portRange: { first: 50_000, last: 50_000 } })
    const sent = harness.sent(udp())
    harness.sent(tcp(syn))
    expect(harness.translator.removeInside(client, harness.now)).toBe(2)
    expect(harness.translator.removeInside(client, harness.now)).toBe(0)
    expect(harness.in(udpAnswer(sent))).toBe('noMapping')
    expect(harness.translator.stats()).toMatchObject({
      sessions: 0,
      insideAddresses: 0,
      quarantinedPorts: { tcp: 1, udp: 1, icmp: 0 },
    })
    for (const packet of [udp({ source: neighbour }), tcp({ source: neighbour, ...syn })]) {
      expect(harness.out(packet)).toBe('portsExhausted')
    }
    harness.advance(119_999)
    expect(harness.out(udp({ source: neighbour }))).toBe('portsExhausted')
    harness.advance(1)
    harness.sent(udp({ source: neighbour }))
    harness.sent(tcp({ source: neighbour, ...syn }))
  })

  test('removing one client leaves the others', () => {
    const harness = new Harness()
    const kept = harness.sent(udp({ source: neighbour }))
    for (let i = 0; i < 50; i++) harness.sent(udp({ sourcePort: 1000 + i, destination: `198.51.100.${i}` }))
    expect(harness.translator.removeInside(client, harness.now)).toBe(50)
    expect(destinationOf(harness.received(udpAnswer(kept)))).toBe(neighbour)
    expect(harness.translator.stats()).toMatchObject({ mappings: { udp: 1 }, sessions: 1, insideAddresses: 1 })
  })
})

describe('the attribution log (RFC 6888 §4)', () => {
  test('names who had which endpoint when, and no destination', () => {
    const harness = new Harness({ logMappings: true })
    const port = sourcePortOf(harness.sent(udp()))
    harness.sent(udp({ destination: other }))
    const record = {
      protocol: 'udp',
      inside: { address: client, port: 5000 },
      outside: { address: outside, port },
    }
    expect(harness.outputs).toEqual([{ type: 'mapping-created', ...record, at: harness.now }])
    harness.outputs.length = 0
    harness.advance(301_000)
    expect(harness.outputs).toMatchObject([{ type: 'mapping-expired', reason: 'idle', ...record }])
    harness.outputs.length = 0
    harness.sent(udp({ source: client6, destination: server6 }))
    harness.translator.removeInside(client6, harness.now)
    harness.advance(0)
    expect(harness.outputs.map(output => output.type)).toEqual(['mapping-created', 'mapping-expired'])
    expect(JSON.stringify(harness.outputs)).not.toContain(server6)
  })

  test('is off by default', () => {
    const harness = new Harness()
    harness.sent(udp())
    expect(harness.outputs).toEqual([])
  })
})

describe('headers', () => {
  test('no ALG: payloads pass untouched', () => {
    const payload = new TextEncoder().encode('PORT 10,8,0,2,19,136\r\n')
    const sent = new Harness().sent(udp({ destinationPort: 21 }, payload))
    expect(sent.subarray(28)).toEqual(payload)
  })

  test('padding behind the packet is cut', () => {
    const packet = udp()
    const padded = new Uint8Array(packet.length + 6)
    padded.set(packet)
    expect(new Harness().sent(padded).length).toBe(packet.length)
  })

  test('UDP without checksum stays without (RFC 3022 §4.1)', () => {
    const packet = udp()
    packetView(packet).setUint16(transportAt(packet) + 6, 0)
    const sent = new Harness().sent(packet)
    expect(packetView(sent).getUint16(transportAt(sent) + 6)).toBe(0)
  })
})
