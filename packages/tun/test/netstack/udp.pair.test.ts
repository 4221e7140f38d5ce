import { PacketBatch } from '@twinbore/core/packet'
import { seededRandom } from '@twinbore/core/runtime'
import { icmpErrorPacket, udpPacket } from '@twinbore/core/testing'
import { describe, expect, test } from 'vitest'
import type { RefuseReason } from '../../src/netstack/index.ts'
import { acceptingPair, client4, endpoint, families, icmpKind, lastOf, outputsOf, StackPair } from './stack-pair.ts'

const ping = Uint8Array.of(1, 2, 3)

describe.each(families)('$name', ({ name, inside, far, farther }) => {
  const v4 = name === 'IPv4'

  test('surfaces a flow with its first datagram, and carries both ways once it is accepted', () => {
    const pair = new StackPair()
    const flow = pair.client.bindUdp({ address: inside, port: 5000 }, pair.now)
    pair.client.sendDatagram(flow, endpoint(far, 53), ping, pair.now)
    pair.run()
    expect(pair.gatewayOutputs).toEqual([
      {
        type: 'flow-requested',
        flow: 0,
        protocol: 'udp',
        source: endpoint(inside, 5000),
        destination: endpoint(far, 53),
      },
    ])
    pair.gateway.accept(0, pair.now)
    pair.run()
    expect(pair.gatewayOutputs.slice(1)).toEqual([
      { type: 'datagram', flow: 0, remote: endpoint(far, 53), bytes: ping },
    ])
    expect(pair.gateway.sendDatagram(0, endpoint(far, 53), Uint8Array.of(4), pair.now)).toBe(true)
    pair.run()
    expect(pair.clientOutputs).toEqual([{ type: 'datagram', flow, remote: endpoint(far, 53), bytes: Uint8Array.of(4) }])
  })

  test('has one flow for all remotes of an inside endpoint, and takes datagrams from any (RFC 4787 REQ-1)', () => {
    const pair = udpPair()
    const flow = pair.client.bindUdp({ address: inside, port: 5000 }, pair.now)
    for (const [address, port] of [
      [far, 53],
      [farther, 53],
      [far, 54],
    ] as const) {
      pair.client.sendDatagram(flow, endpoint(address, port), ping, pair.now)
    }
    pair.run()
    expect(outputsOf(pair.gatewayOutputs, 'flow-requested').length).toBe(1)
    expect(outputsOf(pair.gatewayOutputs, 'datagram').map(datagram => datagram.remote)).toEqual([
      endpoint(far, 53),
      endpoint(farther, 53),
      endpoint(far, 54),
    ])
    pair.gateway.sendDatagram(0, endpoint(farther, 999), ping, pair.now)
    pair.run()
    expect(lastOf(pair.clientOutputs, 'datagram').remote).toEqual(endpoint(farther, 999))
  })

  test('cuts datagrams that are longer than the MTU of their source, both ways, empty and longest ones too', () => {
    const pair = udpPair({ maxFragmentsPerDatagram: 60, maxQueuedBytesPerUdpFlow: 1 << 20 })
    pair.gateway.setMtu(inside, 1300, pair.now)
    const flow = pair.client.bindUdp({ address: inside }, pair.now)
    for (const length of [0, 1, 1232, 1252, 1253, 1272, 1273, 9000, v4 ? 65_507 : 65_527]) {
      const bytes = seededRandom(length).fill(new Uint8Array(length))
      const sizes = length > 9000 ? 'longest' : length
      pair.client.sendDatagram(flow, endpoint(far, 7), bytes, pair.now)
      pair.run()
      expect(lastOf(pair.gatewayOutputs, 'datagram').bytes, `${sizes} up`).toEqual(bytes)
      expect(Math.max(...pair.taken('to-gateway').map(packet => packet.length))).toBeLessThanOrEqual(1400)
      if (length > 9000) continue
      pair.gateway.sendDatagram(0, endpoint(far, 7), bytes, pair.now)
      pair.run()
      expect(lastOf(pair.clientOutputs, 'datagram').bytes, `${sizes} down`).toEqual(bytes)
      expect(Math.max(...pair.taken('to-client').map(packet => packet.length))).toBeLessThanOrEqual(1300)
    }
  })

  test('refuses bytes that UDP can not carry, and remotes that are none', () => {
    const pair = udpPair()
    const flow = pair.client.bindUdp({ address: inside }, pair.now)
    const send = (address: string, port: number, length: number) => () =>
      pair.client.sendDatagram(flow, endpoint(address, port), new Uint8Array(length), pair.now)
    expect(send(far, 7, 65_528)).toThrow(RangeError)
    expect(send('elsewhere', 7, 1)).toThrow(RangeError)
    expect(send(v4 ? '::1' : '1.2.3.4', 7, 1)).toThrow(RangeError)
    expect(send(far, 0, 1)).toThrow(RangeError)
  })

  const refusals: [RefuseReason, string, string, string][] = [
    ['reset', '3/3', '1/4', 'port-unreachable'],
    ['port-unreachable', '3/3', '1/4', 'port-unreachable'],
    ['host-unreachable', '3/1', '1/3', 'host-unreachable'],
    ['net-unreachable', '3/0', '1/0', 'net-unreachable'],
    ['protocol-unreachable', '3/2', '4/1', 'protocol-unreachable'],
    ['admin-prohibited', '3/13', '1/1', 'admin-prohibited'],
  ]
  test.each(refusals)('a flow or a datagram refused as %s is answered with %s or %s', (reason, code4, code6, kind) => {
    const pair = new StackPair()
    const flow = pair.client.bindUdp({ address: inside, port: 5000 }, pair.now)
    pair.client.sendDatagram(flow, endpoint(far, 53), ping, pair.now)
    pair.run()
    pair.gateway.refuse(0, reason, pair.now)
    pair.run()
    expect(pair.taken('to-client').map(icmpKind)).toEqual([v4 ? code4 : code6])
    expect(pair.clientOutputs).toEqual([{ type: 'icmp-error', flow, kind, remote: endpoint(far, 53) }])
    expect(pair.gatewayOutputs.slice(1)).toEqual([
      { type: 'flow-reset', flow: 0, reason: 'local' },
      { type: 'flow-closed', flow: 0 },
    ])
    // The endpoint may try again, and this time only the datagram is refused.
    pair.client.sendDatagram(flow, endpoint(farther, 9), ping, pair.now)
    pair.run()
    const again = lastOf(pair.gatewayOutputs, 'flow-requested').flow
    pair.gateway.accept(again, pair.now)
    pair.gateway.refuseDatagram(again, endpoint(farther, 9), reason, pair.now)
    pair.run()
    expect(lastOf(pair.clientOutputs, 'icmp-error')).toEqual({
      type: 'icmp-error',
      flow,
      kind,
      remote: endpoint(farther, 9),
    })
    expect(pair.gateway.stats().udpFlows).toBe(1)
  })

  test('a silent refusal sends nothing', () => {
    const pair = new StackPair()
    const flow = pair.client.bindUdp({ address: inside }, pair.now)
    pair.client.sendDatagram(flow, endpoint(far, 53), ping, pair.now)
    pair.run()
    pair.gateway.refuse(0, 'silent', pair.now)
    pair.run()
    expect(pair.taken('to-client')).toEqual([])
    expect(pair.gateway.stats()).toMatchObject({ udpFlows: 0, bufferBytes: 0, flowsRefused: 1 })
  })

  test('lives 300 s from the last datagram that came from inside; answers do not count (RFC 4787 REQ-5, REQ-6)', () => {
    const pair = udpPair()
    const flow = pair.client.bindUdp({ address: inside }, pair.now)
    pair.client.sendDatagram(flow, endpoint(far, 7), ping, pair.now)
    pair.advance(200_000)
    pair.client.sendDatagram(flow, endpoint(far, 7), ping, pair.now)
    pair.run()
    for (let i = 0; i < 29; i++) {
      pair.advance(10_000)
      pair.gateway.sendDatagram(0, endpoint(far, 7), ping, pair.now)
    }
    pair.advance(9_999)
    expect(pair.gateway.stats().udpFlows).toBe(1)
    pair.advance(1)
    expect(pair.gatewayOutputs.slice(-2)).toEqual([
      { type: 'flow-reset', flow: 0, reason: 'idle' },
      { type: 'flow-closed', flow: 0 },
    ])
    expect(pair.gateway.deadline).toBe(undefined)
    expect(() => pair.gateway.sendDatagram(0, endpoint(far, 7), ping, pair.now)).toThrow(RangeError)
  })

  test('lives shorter while it only speaks to ports that are listed', () => {
    const pair = udpPair({}, { udpIdleTimeoutMsByPort: { 53: 30_000 } })
    const resolver = pair.client.bindUdp({ address: inside }, pair.now)
    const mixed = pair.client.bindUdp({ address: inside }, pair.now)
    pair.client.sendDatagram(resolver, endpoint(far, 53), ping, pair.now)
    pair.client.sendDatagram(mixed, endpoint(far, 53), ping, pair.now)
    pair.client.sendDatagram(mixed, endpoint(far, 443), ping, pair.now)
    pair.advance(29_999)
    expect(pair.gateway.stats().udpFlows).toBe(2)
    pair.client.sendDatagram(mixed, endpoint(far, 53), ping, pair.now)
    pair.advance(1)
    expect(pair.gateway.stats().udpFlows).toBe(1)
    pair.advance(299_998)
    expect(pair.gateway.stats().udpFlows).toBe(1)
    pair.advance(1)
    expect(pair.gateway.stats().udpFlows).toBe(0)
  })

  test('a datagram to a port that nobody bound is answered with port unreachable, and its flow is told', () => {
    const pair = udpPair()
    const flow = pair.client.bindUdp({ address: inside, port: 5000 }, pair.now)
    pair.client.sendDatagram(flow, endpoint(far, 7), ping, pair.now)
    pair.run()
    pair.client.abort(flow, pair.now)
    pair.gateway.sendDatagram(0, endpoint(far, 7), ping, pair.now)
    pair.run()
    expect(pair.taken('to-gateway').map(icmpKind).at(-1)).toBe(v4 ? '3/3' : '1/4')
    expect(lastOf(pair.gatewayOutputs, 'icmp-error')).toEqual({
      type: 'icmp-error',
      flow: 0,
      kind: 'port-unreachable',
      remote: endpoint(far, 7),
    })
    expect(pair.clientOutputs).toEqual([
      { type: 'flow-reset', flow, reason: 'local' },
      { type: 'flow-closed', flow },
    ])
  })

  test('drops datagrams whose checksum is wrong; without one is right only in IPv4 (RFC 8200 §8.1)', () => {
    const pair = udpPair()
    const packet = udpPacket({ source: inside, destination: far, sourcePort: 5, destinationPort: 6, payload: ping })
    packet[packet.length - 1]! ^= 1
    pair.inject('to-gateway', packet)
    const none = udpPacket({
      source: inside,
      destination: far,
      sourcePort: 5,
      destinationPort: 6,
      payload: ping,
      checksum: 'none',
    })
    pair.inject('to-gateway', none)
    expect(outputsOf(pair.gatewayOutputs, 'datagram').length).toBe(v4 ? 1 : 0)
    expect(pair.gateway.stats().drops).toEqual({ badChecksum: v4 ? 1 : 2 })
  })

  test('bindUdp chooses free ports, refuses taken ones and foreign addresses', () => {
    const pair = new StackPair({ client: { ephemeralPorts: [40_000, 40_009] } })
    const ports = Array.from({ length: 10 }, () => {
      const flow = pair.client.bindUdp({ address: inside }, pair.now)
      return pair.client.endpoints(flow).inside.port
    })
    expect(ports.toSorted()).toEqual([40_000, 40_001, 40_002, 40_003, 40_004, 40_005, 40_006, 40_007, 40_008, 40_009])
    expect(ports).not.toEqual(ports.toSorted())
    expect(pair.client.bindUdp({ address: inside }, pair.now)).toBe(-1)
    expect(pair.client.bindUdp({ address: inside, port: 40_003 }, pair.now)).toBe(-1)
    expect(pair.client.bindUdp({ address: inside, port: 53 }, pair.now)).toBeGreaterThanOrEqual(0)
    expect(pair.client.stats().portsExhausted).toBe(2)
    expect(() => pair.client.bindUdp({ address: far }, pair.now)).toThrow(RangeError)
    expect(() => pair.gateway.bindUdp({ address: far }, pair.now)).toThrow(TypeError)
  })
})

test('holds a few datagrams until the flow is accepted, counts the others, and gives the memory back', () => {
  const pair = new StackPair()
  const flow = pair.client.bindUdp({ address: client4 }, pair.now)
  for (let i = 0; i < 20; i++) {
    pair.client.sendDatagram(flow, endpoint('198.51.100.7', 7), Uint8Array.of(i), pair.now)
    pair.run()
  }
  const stats = pair.gateway.stats()
  expect(stats).toMatchObject({ heldDatagramsDropped: 12, flowsRequested: 1 })
  expect(stats.drops).toEqual({ queueFull: 12 })
  expect(stats.bufferBytes).toBeGreaterThan(0)
  pair.gateway.accept(0, pair.now)
  pair.run()
  expect(outputsOf(pair.gatewayOutputs, 'datagram').map(datagram => datagram.bytes[0])).toEqual([
    0, 1, 2, 3, 4, 5, 6, 7,
  ])
  expect(pair.gateway.stats().bufferBytes).toBe(0)
})

test('says when a queue is full and when it has room again', () => {
  const pair = udpPair({ maxQueuedBytesPerUdpFlow: 10_000 })
  const flow = pair.client.bindUdp({ address: client4 }, pair.now)
  pair.client.sendDatagram(flow, endpoint('198.51.100.7', 7), ping, pair.now)
  pair.run()
  const bytes = new Uint8Array(1000)
  let taken = 0
  while (pair.gateway.sendDatagram(0, endpoint('198.51.100.7', 7), bytes, pair.now)) taken++
  expect(taken).toBe(9)
  expect(pair.gateway.writableBytes(0)).toBeLessThan(1000)
  expect(outputsOf(pair.gatewayOutputs, 'flow-writable')).toEqual([])
  pair.run()
  expect(outputsOf(pair.gatewayOutputs, 'flow-writable')).toEqual([{ type: 'flow-writable', flow: 0 }])
  expect(pair.gateway.stats()).toMatchObject({ datagramsDropped: 1, bufferBytes: 0 })
  expect(outputsOf(pair.clientOutputs, 'datagram').length).toBe(9)
})

test('at the cap of its source a new flow is answered with host unreachable, and live ones stay (RFC 6888 REQ-11)', () => {
  const pair = udpPair({ maxUdpFlowsPerSource: 3 })
  const flows = [1, 2, 3, 4].map(port => pair.client.bindUdp({ address: client4, port }, pair.now))
  for (const flow of flows) pair.client.sendDatagram(flow, endpoint('198.51.100.7', 7), ping, pair.now)
  pair.run()
  expect(outputsOf(pair.gatewayOutputs, 'datagram').length).toBe(3)
  expect(outputsOf(pair.clientOutputs, 'icmp-error')).toEqual([
    { type: 'icmp-error', flow: flows[3], kind: 'host-unreachable', remote: endpoint('198.51.100.7', 7) },
  ])
  expect(pair.gateway.stats()).toMatchObject({ udpFlows: 3, flowLimitHits: 1, drops: { quotaExceeded: 1 } })
})

test('a source opens new flows only at its rate, and does not slow another one down', () => {
  const pair = udpPair({ newFlowsPerSecondPerSource: 10, newFlowBurstPerSource: 20 })
  const open = (source: string, from: number, count: number): number => {
    const before = pair.gateway.stats().flowsOpened
    for (let port = from; port < from + count; port++) {
      pair.inject(
        'to-gateway',
        udpPacket({ source, destination: '198.51.100.7', sourcePort: port, destinationPort: 7 }),
      )
    }
    return pair.gateway.stats().flowsOpened - before
  }
  expect(open('10.77.0.3', 1000, 100)).toBe(20)
  expect(open('10.77.0.4', 1000, 15)).toBe(15)
  pair.now += 500
  expect(open('10.77.0.3', 2000, 100)).toBe(5)
  expect(pair.gateway.stats().newFlowRateHits).toBe(175)
})

test('removeSource leaves nothing of an inside address and tells the shell', () => {
  const pair = udpPair()
  const flow = pair.client.bindUdp({ address: client4 }, pair.now)
  pair.client.sendDatagram(flow, endpoint('198.51.100.7', 7), new Uint8Array(3000), pair.now)
  pair.run()
  pair.gateway.sendDatagram(0, endpoint('198.51.100.7', 7), new Uint8Array(3000), pair.now)
  pair.gateway.removeSource(client4, pair.now)
  pair.run()
  expect(pair.gatewayOutputs.slice(-2)).toEqual([
    { type: 'flow-reset', flow: 0, reason: 'source-removed' },
    { type: 'flow-closed', flow: 0 },
  ])
  expect(pair.gateway.stats()).toMatchObject({ udpFlows: 0, sources: 0, bufferBytes: 0 })
  expect(pair.clientOutputs).toEqual([])
  expect([pair.gateway.deadline, pair.gateway.wantsToSend]).toEqual([undefined, false])
})

test('an ICMP error of one client about the packet of another is ignored', () => {
  const pair = udpPair()
  const flow = pair.client.bindUdp({ address: client4, port: 5000 }, pair.now)
  pair.client.sendDatagram(flow, endpoint('198.51.100.7', 7), ping, pair.now)
  pair.run()
  const about = udpPacket({ source: '198.51.100.7', destination: client4, sourcePort: 7, destinationPort: 5000 })
  const error = (source: string): Uint8Array =>
    icmpErrorPacket({ source, destination: '198.51.100.7', type: 3, code: 3, about })
  pair.inject('to-gateway', error('10.77.0.3'))
  expect(pair.gateway.stats()).toMatchObject({ errorsIgnored: 1, drops: { noMapping: 1 } })
  expect(outputsOf(pair.gatewayOutputs, 'icmp-error')).toEqual([])
  pair.inject('to-gateway', error(client4))
  expect(outputsOf(pair.gatewayOutputs, 'icmp-error').length).toBe(1)
})

test('packet too big makes the pieces of an IPv6 flow shorter, down to 1280', () => {
  const pair = udpPair({}, {}, { mtu: 1500 })
  const flow = pair.client.bindUdp({ address: 'fd77::2', port: 5000 }, pair.now)
  const longest = (): number => {
    pair.taken('to-gateway')
    pair.client.sendDatagram(flow, endpoint('2001:db8::1', 7), new Uint8Array(4000), pair.now)
    pair.run()
    return Math.max(...pair.taken('to-gateway').map(packet => packet.length))
  }
  expect(longest()).toBe(1496)
  const about = udpPacket({ source: 'fd77::2', destination: '2001:db8::1', sourcePort: 5000, destinationPort: 7 })
  const tooBig = (mtu: number): Uint8Array =>
    icmpErrorPacket({ source: '2001:db8:aa::1', destination: 'fd77::2', type: 2, code: 0, parameter: mtu, about })
  pair.inject('to-client', tooBig(1300))
  expect(lastOf(pair.clientOutputs, 'icmp-error')).toMatchObject({ kind: 'packet-too-big', mtu: 1300 })
  expect(longest()).toBe(1296)
  pair.inject('to-client', tooBig(600))
  expect(longest()).toBe(1296)
  pair.inject('to-client', tooBig(1280))
  expect(longest()).toBe(1280)
})

test('a batch whose slots are too short for an MTU is refused', () => {
  const pair = udpPair()
  const batch = new PacketBatch({ slotBytes: 1400 })
  expect(pair.gateway.drain(batch, pair.now)).toBe(0)
  pair.gateway.setMtu(client4, 1401, pair.now)
  expect(() => pair.gateway.drain(batch, pair.now)).toThrow(RangeError)
})

test('a datagram from or to port 0 opens nothing', () => {
  const pair = udpPair()
  for (const [sourcePort, destinationPort] of [
    [0, 7],
    [7, 0],
  ] as const) {
    pair.inject('to-gateway', udpPacket({ source: client4, destination: '198.51.100.7', sourcePort, destinationPort }))
  }
  expect(pair.gateway.stats()).toMatchObject({ udpFlows: 0, drops: { malformed: 2 } })
})

type Options = NonNullable<ConstructorParameters<typeof StackPair>[0]>

function udpPair(
  limits: NonNullable<Options['limits']> = {},
  gateway: NonNullable<Options['gateway']> = {},
  client: NonNullable<Options['client']> = {},
): StackPair {
  return acceptingPair({ gateway: { ...gateway, limits }, client })
}
