import { DropReason, PacketBatch, Verdict } from '@twinbore/core/packet'
import { seededRandom } from '@twinbore/core/runtime'
import { fragmentPacket, icmpEchoPacket, icmpErrorPacket, ipPacket, tcpPacket, udpPacket } from '@twinbore/core/testing'
import { describe, expect, test } from 'vitest'
import type { EchoMessage } from '../../src/netstack/index.ts'
import { client4, client6, families, gateway4, icmpKind, lastOf, outputsOf, StackPair } from './stack-pair.ts'

describe.each(families)('$name', ({ name, inside, own, far }) => {
  const v4 = name === 'IPv4'
  const echo = (destination: string, length = 56): EchoMessage => ({
    source: inside,
    destination,
    identifier: 77,
    sequenceNumber: 3,
    payload: seededRandom(length).fill(new Uint8Array(length)),
  })

  test('the stack answers pings of its own addresses in both modes, long ones too', () => {
    const pair = new StackPair()
    for (const length of [0, 56, 1372, 5000]) {
      pair.client.sendEcho(echo(own, length), pair.now)
      pair.run()
      expect(lastOf(pair.clientOutputs, 'echo-replied')).toEqual({ type: 'echo-replied', ...echo(own, length) })
    }
    expect(pair.gatewayOutputs).toEqual([])
    pair.inject(
      'to-client',
      icmpEchoPacket({ source: own, destination: inside, identifier: 5, payload: new Uint8Array(9) }),
    )
    pair.run()
    expect(pair.taken('to-gateway').map(icmpKind).at(-1)).toBe(v4 ? '0/0' : '129/0')
  })

  test('a ping of another host is surfaced, and the answer goes back in its name', () => {
    const pair = new StackPair()
    pair.client.sendEcho(echo(far), pair.now)
    pair.run()
    const request = lastOf(pair.gatewayOutputs, 'echo-requested')
    expect(request).toEqual({ type: 'echo-requested', ...echo(far) })
    pair.gateway.echoReply(request, pair.now)
    pair.run()
    expect(pair.clientOutputs).toEqual([{ type: 'echo-replied', ...echo(far) }])
  })

  test('a refused ping is answered with an error that carries it', () => {
    const pair = new StackPair()
    pair.client.sendEcho(echo(far), pair.now)
    pair.run()
    pair.gateway.refuseEcho(lastOf(pair.gatewayOutputs, 'echo-requested'), 'admin-prohibited', pair.now)
    pair.run()
    const [error] = pair.taken('to-client')
    expect(icmpKind(error!)).toBe(v4 ? '3/13' : '1/1')
    // The embedded packet: type, identifier and sequence number of the request.
    const embedded = error!.subarray((v4 ? 20 : 40) + 8 + (v4 ? 20 : 40))
    expect([embedded[0], embedded[5], embedded[7]]).toEqual([v4 ? 8 : 128, 77, 3])
  })

  test('pings beyond the rate of a source are dropped, others are not', () => {
    const pair = new StackPair({ limits: { echoRequestsPerSecondPerSource: 5 } })
    const ping = icmpEchoPacket({ source: inside, destination: far, identifier: 1 })
    const other = icmpEchoPacket({ source: v4 ? '10.77.0.9' : 'fd77::9', destination: far, identifier: 1 })
    pair.inject('to-gateway', ...Array.from({ length: 20 }, () => ping), other)
    expect(outputsOf(pair.gatewayOutputs, 'echo-requested').length).toBe(6)
    expect(pair.gateway.stats()).toMatchObject({ echoRequestsSuppressed: 15, drops: { rateLimited: 15 } })
    pair.now += 400
    pair.inject('to-gateway', ping, ping, ping)
    expect(outputsOf(pair.gatewayOutputs, 'echo-requested').length).toBe(8)
  })

  test('a hop limit that ends at the gateway is answered with time exceeded in its name; for the gateway itself it is enough', () => {
    const pair = new StackPair()
    const probe = { source: inside, sourcePort: 40_000, destinationPort: 33_434, hopLimit: 1 }
    const [verdict] = pair.inject('to-gateway', udpPacket({ ...probe, destination: far }))
    pair.run()
    const [error] = pair.taken('to-client')
    expect([verdict, icmpKind(error!)]).toEqual([Verdict.drop, v4 ? '11/0' : '3/0'])
    expect(pair.gateway.stats().drops).toEqual({ ttlExceeded: 1 })
    expect([...error!.subarray(v4 ? 12 : 8, v4 ? 16 : 24)]).toEqual(
      v4 ? [10, 77, 0, 1] : [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    )
    expect(pair.inject('to-gateway', udpPacket({ ...probe, destination: own }))).toEqual([Verdict.divert])
    expect(
      pair.inject('to-client', icmpEchoPacket({ source: far, destination: inside, identifier: 1, hopLimit: 1 })),
    ).toEqual([Verdict.divert])
  })

  test('other protocols are answered with protocol unreachable', () => {
    const pair = new StackPair()
    pair.inject('to-gateway', ipPacket({ source: inside, destination: far, protocol: 47, payload: new Uint8Array(8) }))
    pair.run()
    const [error] = pair.taken('to-client')
    expect(icmpKind(error!)).toBe(v4 ? '3/2' : '4/1')
    // The pointer names the next-header field (RFC 4443 §3.4).
    if (!v4) expect(error![47]).toBe(6)
    expect(pair.gateway.stats().drops).toEqual({ unsupportedProtocol: 1 })
  })

  test('fragments that never come are answered with time exceeded, code 1', () => {
    const pair = new StackPair()
    const packet = udpPacket({
      source: inside,
      destination: far,
      sourcePort: 1,
      destinationPort: 2,
      payload: new Uint8Array(3000),
    })
    pair.inject('to-gateway', fragmentPacket(packet, 1400)[0]!)
    pair.advance(v4 ? 15_000 : 60_000)
    expect(pair.taken('to-client').map(icmpKind)).toEqual([v4 ? '11/1' : '3/1'])
    expect(pair.gateway.stats()).toMatchObject({ reassemblies: 0, reassemblyBytes: 0, reassemblyTimeouts: 1 })
  })

  test('drops what is broken, spoofed or not for it, without a word', () => {
    const pair = new StackPair()
    const udp = (source: string, destination: string): Uint8Array =>
      udpPacket({ source, destination, sourcePort: 1, destinationPort: 2 })
    const cases: [Uint8Array, string][] = [
      [udp(own, far), 'spoofedSource'],
      [udp(far, far), 'spoofedSource'],
      [udp(v4 ? '127.0.0.1' : '::1', far), 'spoofedSource'],
      [udp(v4 ? '224.0.0.1' : 'ff02::1', far), 'spoofedSource'],
      [udp(inside, v4 ? '224.0.0.251' : 'ff02::fb'), 'deniedDestination'],
      [udp(inside, v4 ? '255.255.255.255' : '::'), 'deniedDestination'],
      [badIcmp(inside, far), 'badChecksum'],
      [icmpEchoPacket({ source: inside, destination: far, identifier: 1, reply: true }), 'noMapping'],
    ]
    for (const [packet, reason] of cases) {
      const fresh = new StackPair()
      fresh.inject('to-gateway', packet)
      expect(fresh.gateway.stats().drops, reason).toEqual({ [reason]: 1 })
      expect(fresh.gateway.wantsToSend).toBe(false)
    }
    pair.inject('to-client', udp(far, v4 ? '10.77.0.99' : 'fd77::99'))
    expect(pair.client.stats().drops).toEqual({ deniedDestination: 1 })
    expect(pair.client.wantsToSend).toBe(false)
  })

  test('never answers errors, multicast, or later fragments', () => {
    const pair = new StackPair()
    const about = udpPacket({ source: far, destination: inside, sourcePort: 1, destinationPort: 2 })
    pair.inject(
      'to-gateway',
      icmpErrorPacket({ source: inside, destination: far, type: v4 ? 3 : 1, code: 3, about, hopLimit: 1 }),
    )
    const packet = ipPacket({
      source: inside,
      destination: far,
      protocol: 47,
      payload: new Uint8Array(3000),
      hopLimit: 1,
    })
    pair.inject('to-gateway', fragmentPacket(packet, 1400)[1]!)
    expect(pair.gateway.wantsToSend).toBe(false)
  })
})

test('the rate of errors is limited for each source and for all', () => {
  const pair = new StackPair({ limits: { errorsPerSecondPerSource: 10, errorsPerSecond: 25 } })
  const probe = (source: string): Uint8Array =>
    udpPacket({ source, destination: '198.51.100.7', sourcePort: 1, destinationPort: 2, hopLimit: 1 })
  for (let i = 0; i < 100; i++) pair.inject('to-gateway', probe('10.77.0.3'))
  expect(pair.gateway.stats()).toMatchObject({ errorsSent: 10, errorsSuppressed: 90 })
  for (let i = 0; i < 100; i++) pair.inject('to-gateway', probe(`10.77.1.${i + 1}`))
  expect(pair.gateway.stats()).toMatchObject({ errorsSent: 25, errorsSuppressed: 175 })
  pair.now += 1000
  for (let i = 0; i < 100; i++) pair.inject('to-gateway', probe('10.77.0.3'))
  expect(pair.gateway.stats().errorsSent).toBe(35)
})

test('answers that nobody drains are bounded', () => {
  const pair = new StackPair({ limits: { maxAnswersPerSource: 5 } })
  pair.inject(
    'to-gateway',
    ...Array.from({ length: 30 }, () => icmpEchoPacket({ source: client4, destination: gateway4, identifier: 1 })),
  )
  expect(pair.gateway.stats().answersDropped).toBe(25)
})

test('source routes, routing headers and options that ask for it are refused', () => {
  const udp = { sourcePort: 1, destinationPort: 2 }
  const v4 = { source: client4, destination: '198.51.100.7', ...udp }
  const v6 = { source: client6, destination: '2001:db8::7', ...udp }
  const refused = [
    udpPacket({ ...v4, options: Uint8Array.of(131, 7, 4, 1, 2, 3, 4) }),
    udpPacket({ ...v4, options: Uint8Array.of(1, 137, 7, 4, 1, 2, 3, 4) }),
    udpPacket({ ...v6, extensionHeaders: [{ type: 43, body: new Uint8Array(6) }] }),
    udpPacket({ ...v6, extensionHeaders: [{ type: 0, body: Uint8Array.of(0x45, 0, 1, 2, 0, 0) }] }),
  ]
  const taken = [
    udpPacket({ ...v4, options: Uint8Array.of(148, 4, 0, 0) }),
    udpPacket({ ...v6, extensionHeaders: [{ type: 60, body: Uint8Array.of(0x05, 0, 1, 2, 0, 0) }] }),
  ]
  const pair = new StackPair()
  expect(pair.inject('to-gateway', ...refused)).toEqual(refused.map(() => Verdict.drop))
  expect(pair.gateway.stats().drops).toEqual({ refusedOptions: refused.length })
  expect(pair.inject('to-gateway', ...taken)).toEqual(taken.map(() => Verdict.divert))
})

test('IPv4-mapped addresses in IPv6 packets are refused', () => {
  const pair = new StackPair()
  const packet = tcpPacket({
    source: client6,
    destination: '::ffff:127.0.0.1',
    sourcePort: 1,
    destinationPort: 2,
    flags: 2,
  })
  expect(pair.inject('to-gateway', packet)).toEqual([Verdict.drop])
  expect(pair.gateway.stats().drops).toEqual({ deniedDestination: 1 })
})

test('leaves slots alone that are not forward', () => {
  const pair = new StackPair()
  const batch = new PacketBatch({ capacity: 2 })
  const ping = icmpEchoPacket({ source: client4, destination: '198.51.100.7', identifier: 1 })
  batch.push(ping)
  batch.push(ping)
  batch.drop(0, DropReason.filtered)
  pair.gateway.handlePackets(batch, pair.now)
  expect([...batch.verdicts]).toEqual([Verdict.drop, Verdict.divert])
  expect(pair.gateway.stats()).toMatchObject({ packetsIn: 1, drops: {} })
})

test('sources that are idle make room; those in use do not', () => {
  const pair = new StackPair({ limits: { maxSources: 3 } })
  const udp = (source: string): Uint8Array =>
    udpPacket({ source, destination: '198.51.100.7', sourcePort: 1, destinationPort: 2 })
  const ping = (source: string): Uint8Array => icmpEchoPacket({ source, destination: '198.51.100.7', identifier: 1 })
  for (let i = 1; i <= 50; i++) pair.inject('to-gateway', ping(`10.77.1.${i}`))
  expect(pair.gateway.stats()).toMatchObject({ sources: 3, sourceLimitHits: 0 })
  for (let i = 1; i <= 5; i++) pair.inject('to-gateway', udp(`10.77.2.${i}`))
  expect(pair.gateway.stats()).toMatchObject({ sources: 3, udpFlows: 3, sourceLimitHits: 2 })
  pair.gateway.removeSource('10.77.2.1', pair.now)
  pair.gateway.setMtu('10.77.2.9', 1300, pair.now)
  pair.inject('to-gateway', ping('10.77.1.1'))
  expect(pair.gateway.stats()).toMatchObject({ sources: 3, sourceLimitHits: 3 })
  expect(() => pair.gateway.setMtu('10.77.2.9', 575, pair.now)).toThrow(RangeError)
  expect(() => pair.gateway.setMtu('fd77::9', 1279, pair.now)).toThrow(RangeError)
})

/** An echo request with a wrong checksum. */
function badIcmp(source: string, destination: string): Uint8Array {
  const packet = icmpEchoPacket({ source, destination, identifier: 1 })
  packet[packet.length - 1]! ^= 1
  return packet
}
