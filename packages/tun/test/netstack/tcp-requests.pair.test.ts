import { TcpFlag } from '@twinbore/core/packet'
import { tcpPacket } from '@twinbore/core/testing'
import { describe, expect, test } from 'vitest'
import { acceptingPair, client4, endpoint, icmpKind, lastOf, outputsOf, StackPair } from './stack-pair.ts'

const far = '198.51.100.7'

describe('requests', () => {
  const syn = (sourcePort: number, source = client4, sequenceNumber = 100): Uint8Array =>
    tcpPacket({ source, destination: far, sourcePort, destinationPort: 443, flags: TcpFlag.syn, sequenceNumber })

  test('are withdrawn when the client sends RST', () => {
    const pair = new StackPair()
    pair.client.openTcp({ remote: endpoint(far, 443), localPort: 7 }, pair.now)
    pair.run()
    const sent = new DataView(pair.taken('to-gateway')[0]!.buffer).getUint32(24)
    const ends = { source: client4, destination: far, sourcePort: 7, destinationPort: 443 }
    pair.inject('to-gateway', tcpPacket({ ...ends, flags: TcpFlag.rst, sequenceNumber: sent + 1 }))
    expect(pair.gatewayOutputs.slice(1)).toEqual([
      { type: 'flow-reset', flow: 0, reason: 'peer' },
      { type: 'flow-closed', flow: 0 },
    ])
    expect(pair.gateway.stats()).toMatchObject({ dials: 0, tcpFlows: 0 })
  })

  test('of a client that gave up and begins again with another number are new', () => {
    const pair = new StackPair()
    pair.inject('to-gateway', syn(7, client4, 100))
    pair.inject('to-gateway', syn(7, client4, 100))
    pair.inject('to-gateway', syn(7, client4, 5000))
    expect(pair.gatewayOutputs.map(output => [output.type, 'flow' in output ? output.flow : -1])).toEqual([
      ['flow-requested', 0],
      ['flow-reset', 0],
      ['flow-closed', 0],
      ['flow-requested', 1],
    ])
    expect(pair.gateway.stats()).toMatchObject({ dials: 1, tcpFlows: 1 })
  })

  test('that nobody answers end as host unreachable', () => {
    const pair = new StackPair()
    pair.inject('to-gateway', syn(7))
    pair.advance(74_999)
    expect(pair.gateway.stats().dials).toBe(1)
    pair.advance(1)
    expect(pair.gatewayOutputs.slice(1)).toEqual([
      { type: 'flow-reset', flow: 0, reason: 'timed-out' },
      { type: 'flow-closed', flow: 0 },
    ])
    expect(pair.taken('to-client').map(icmpKind)).toEqual(['3/1'])
    expect(pair.gateway.stats()).toMatchObject({ dials: 0, tcpFlows: 0, requestsTimedOut: 1 })
    expect(pair.gateway.deadline).toBe(undefined)
  })

  test('beyond the dials of a source wait for it, and those of others do not', () => {
    const pair = new StackPair({ limits: { maxDialsPerSource: 5, maxDials: 8 } })
    for (let port = 1; port <= 20; port++) pair.inject('to-gateway', syn(port))
    for (let port = 1; port <= 20; port++) pair.inject('to-gateway', syn(port, '10.77.0.3'))
    expect(outputsOf(pair.gatewayOutputs, 'flow-requested').length).toBe(8)
    expect(pair.gateway.stats()).toMatchObject({ dials: 8, dialLimitHits: 32, errorsSent: 0 })
    pair.gateway.refuse(0, 'silent', pair.now)
    pair.inject('to-gateway', syn(9))
    expect(pair.gateway.stats()).toMatchObject({ dials: 8, dialLimitHits: 32 })
  })

  test('beyond the flows of a source are answered with host unreachable', () => {
    const pair = acceptingPair({ limits: { maxTcpFlowsPerSource: 2 } })
    for (let port = 1; port <= 3; port++) pair.client.openTcp({ remote: endpoint(far, port) }, pair.now)
    pair.run()
    expect(outputsOf(pair.clientOutputs, 'flow-established').length).toBe(2)
    expect(outputsOf(pair.clientOutputs, 'flow-reset')).toEqual([
      { type: 'flow-reset', flow: 2, reason: 'unreachable' },
    ])
    expect(pair.gateway.stats()).toMatchObject({ tcpFlows: 2, flowLimitHits: 1 })
  })

  test('beyond the flows of all are answered with host unreachable', () => {
    const pair = new StackPair({ limits: { maxFlows: 3 } })
    for (let i = 1; i <= 5; i++) pair.inject('to-gateway', syn(7, `10.77.0.${i + 10}`))
    expect(pair.gateway.stats()).toMatchObject({ tcpFlows: 3, flowLimitHits: 2, errorsSent: 2 })
  })

  test('come only at the rate of their source', () => {
    const pair = new StackPair({
      limits: { newFlowsPerSecondPerSource: 10, newFlowBurstPerSource: 20, maxDialsPerSource: 1000 },
    })
    for (let port = 1; port <= 100; port++) pair.inject('to-gateway', syn(port))
    pair.now += 1000
    for (let port = 101; port <= 200; port++) pair.inject('to-gateway', syn(port))
    expect(pair.gateway.stats()).toMatchObject({ flowsRequested: 30, newFlowRateHits: 170 })
  })

  test('from or to port 0, and SYN with FIN, open nothing', () => {
    const pair = new StackPair()
    const ends = { source: client4, destination: far, sourcePort: 7, destinationPort: 443 }
    pair.inject('to-gateway', syn(0))
    pair.inject('to-gateway', tcpPacket({ ...ends, destinationPort: 0, flags: TcpFlag.syn }))
    pair.inject('to-gateway', tcpPacket({ ...ends, flags: TcpFlag.syn | TcpFlag.fin }))
    expect(pair.gatewayOutputs).toEqual([])
    expect(pair.gateway.stats().drops).toEqual({ malformed: 2, noMapping: 1 })
  })
})

describe('openTcp', () => {
  test('chooses random ports that are free for the remote, and reuses them for another (RFC 6056)', () => {
    const pair = new StackPair({ client: { ephemeralPorts: [50_000, 50_004] } })
    const ports = Array.from({ length: 5 }, () => {
      const flow = pair.client.openTcp({ remote: endpoint(far, 443) }, pair.now)
      return pair.client.endpoints(flow).inside.port
    })
    expect(ports.toSorted()).toEqual([50_000, 50_001, 50_002, 50_003, 50_004])
    expect(pair.client.openTcp({ remote: endpoint(far, 443) }, pair.now)).toBe(-1)
    const other = pair.client.openTcp({ remote: endpoint(far, 444) }, pair.now)
    const taken = pair.client.endpoints(other).inside.port
    expect(ports).toContain(taken)
    expect(pair.client.openTcp({ remote: endpoint(far, 444), localPort: taken }, pair.now)).toBe(-1)
    expect(pair.client.stats().portsExhausted).toBe(2)
  })

  test('refuses what can not be', () => {
    const { client, now } = new StackPair({ client: { addresses: [client4] } })
    expect(() => client.openTcp({ remote: endpoint('nowhere', 1) }, now)).toThrow(RangeError)
    expect(() => client.openTcp({ remote: endpoint(far, 65_536) }, now)).toThrow(RangeError)
    expect(() => client.openTcp({ remote: endpoint('2001:db8::1', 1) }, now)).toThrow(RangeError)
    expect(() => client.openTcp({ remote: endpoint(far, 1), localAddress: far }, now)).toThrow(RangeError)
    expect(() => client.openTcp({ remote: endpoint('::ffff:1.2.3.4', 1) }, now)).toThrow(RangeError)
    expect(() => client.write(17, Uint8Array.of(1), now)).toThrow(RangeError)
    const udp = client.bindUdp({ address: client4 }, now)
    expect(() => client.write(udp, Uint8Array.of(1), now)).toThrow(TypeError)
  })

  test('returns -1 at the limit of its source', () => {
    const pair = new StackPair({ client: { limits: { maxTcpFlowsPerSource: 2 } } })
    const open = (): number => pair.client.openTcp({ remote: endpoint(far, 443) }, pair.now)
    expect([open(), open(), open()]).toEqual([0, 1, -1])
  })

  test('gives up when nobody answers', () => {
    const pair = new StackPair()
    pair.passes = () => false
    pair.client.openTcp({ remote: endpoint(far, 443) }, pair.now)
    pair.advance(600_000)
    expect(pair.clientOutputs).toEqual([
      { type: 'flow-reset', flow: 0, reason: 'timed-out' },
      { type: 'flow-closed', flow: 0 },
    ])
    expect(pair.client.stats()).toMatchObject({ tcpFlows: 0, bufferBytes: 0 })
  })
})

describe('TIME-WAIT', () => {
  /** Opens from one port and closes, the gateway first. */
  const once = (pair: StackPair, localPort: number): number => {
    const flow = pair.client.openTcp({ remote: endpoint(far, 443), localPort }, pair.now)
    pair.run()
    const accepted = lastOf(pair.gatewayOutputs, 'flow-requested').flow
    pair.gateway.shutdown(accepted, pair.now)
    pair.run()
    pair.client.shutdown(flow, pair.now)
    pair.run()
    return flow
  }

  test('does not count as a flow of its source, and the oldest makes room', () => {
    const pair = acceptingPair({ limits: { maxTimeWait: 10, maxTcpFlowsPerSource: 2 } })
    for (let port = 1; port <= 30; port++) once(pair, port)
    expect(outputsOf(pair.clientOutputs, 'flow-established').length).toBe(30)
    expect(pair.gateway.stats()).toMatchObject({ timeWait: 10, tcpFlows: 10, timeWaitEvicted: 20, flowLimitHits: 0 })
    pair.advance(60_000)
    expect(pair.gateway.stats()).toMatchObject({ timeWait: 0, tcpFlows: 0 })
  })

  test('gives way to a new connection of the same ends', () => {
    const pair = acceptingPair({ gateway: { keyedHash: steadyHash }, client: { keyedHash: steadyHash } })
    for (let i = 0; i < 20; i++) {
      once(pair, 4000)
      pair.now += 5
    }
    expect(outputsOf(pair.clientOutputs, 'flow-established').length).toBe(20)
    expect(pair.gateway.stats()).toMatchObject({ timeWait: 1, timeWaitReused: 19, resetsSent: 0 })
  })
})

describe('a connection that is over before all was read', () => {
  // Whoever closes first remembers the ends for a while; the client soon forgets.
  const steady = {
    gateway: { keyedHash: steadyHash },
    client: { keyedHash: steadyHash, tcp: { timeWaitMs: 2 } },
  }
  const text = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes)

  /** The client sends `words` from a port; both ends close, the one named first. Nothing is read at the gateway. */
  const unread = (pair: StackPair, first: 'client' | 'gateway', words: string): [client: number, gateway: number] => {
    const flow = pair.client.openTcp({ remote: endpoint(far, 443), localPort: 4000 }, pair.now)
    pair.run()
    const accepted = lastOf(pair.gatewayOutputs, 'flow-requested').flow
    pair.client.write(flow, new TextEncoder().encode(words), pair.now)
    pair.run()
    const ends = {
      client: () => pair.client.shutdown(flow, pair.now),
      gateway: () => pair.gateway.shutdown(accepted, pair.now),
    }
    ends[first]()
    pair.run()
    ends[first === 'client' ? 'gateway' : 'client']()
    pair.run()
    return [flow, accepted]
  }

  test.each(['client', 'gateway'] as const)(
    'lets another begin between the same ends, when the %s closed first',
    first => {
      const pair = acceptingPair(steady)
      const flows: number[] = []
      for (let i = 0; i < 5; i++) {
        flows.push(unread(pair, first, `words ${i}`)[1])
        pair.advance(5)
      }
      expect(new Set(flows).size).toBe(5)
      expect(outputsOf(pair.gatewayOutputs, 'flow-closed')).toEqual([])
      expect(pair.gateway.stats()).toMatchObject({ tcpFlows: 5, resetsSent: 0 })
      // Read in another order than they came.
      for (const i of [3, 0, 4, 1, 2]) {
        expect(text(pair.gateway.read(flows[i]!, pair.now))).toBe(`words ${i}`)
        pair.run()
        expect(lastOf(pair.gatewayOutputs, 'flow-closed')).toEqual({ type: 'flow-closed', flow: flows[i] })
      }
      expect(outputsOf(pair.gatewayOutputs, 'flow-reset')).toEqual([])
      pair.advance(60_000)
      expect(pair.gateway.stats()).toMatchObject({ tcpFlows: 0, timeWait: 0, bufferBytes: 0 })
    },
  )

  test('the new one carries its own bytes while the old ones wait', () => {
    const pair = acceptingPair(steady)
    const [, old] = unread(pair, 'gateway', 'old')
    pair.now += 5
    const flow = pair.client.openTcp({ remote: endpoint(far, 443), localPort: 4000 }, pair.now)
    pair.run()
    const fresh = lastOf(pair.gatewayOutputs, 'flow-requested').flow
    pair.client.write(flow, new TextEncoder().encode('new'), pair.now)
    pair.run()
    expect(text(pair.gateway.read(fresh, pair.now))).toBe('new')
    expect(text(pair.gateway.read(old, pair.now))).toBe('old')
    pair.gateway.write(fresh, new TextEncoder().encode('answer'), pair.now)
    pair.run()
    expect(text(pair.client.read(flow, pair.now))).toBe('answer')
  })

  test('counts for its source until it was read, so a client cannot make them without bound', () => {
    const pair = acceptingPair({ ...steady, limits: { maxTcpFlowsPerSource: 3 } })
    const flows: number[] = []
    for (let i = 0; i < 3; i++) {
      flows.push(unread(pair, 'gateway', 'words')[1])
      pair.now += 5
    }
    pair.client.openTcp({ remote: endpoint(far, 443), localPort: 4000 }, pair.now)
    pair.run()
    expect(pair.gateway.stats()).toMatchObject({ tcpFlows: 3, flowLimitHits: 1 })
    pair.gateway.read(flows[0]!, pair.now)
    pair.advance(5)
    pair.client.openTcp({ remote: endpoint(far, 443), localPort: 4000 }, pair.now)
    pair.run()
    expect(outputsOf(pair.gatewayOutputs, 'flow-requested').length).toBe(4)
  })

  test('ends with its source, and by an abort', () => {
    const pair = acceptingPair(steady)
    const [, one] = unread(pair, 'gateway', 'words')
    pair.now += 5
    const [, other] = unread(pair, 'gateway', 'words')
    pair.now += 5
    pair.gateway.abort(one, pair.now)
    pair.run()
    expect(pair.gatewayOutputs.slice(-2)).toEqual([
      { type: 'flow-reset', flow: one, reason: 'local' },
      { type: 'flow-closed', flow: one },
    ])
    pair.gateway.removeSource(client4, pair.now)
    pair.run()
    expect(lastOf(pair.gatewayOutputs, 'flow-reset')).toMatchObject({ flow: other, reason: 'source-removed' })
    expect(pair.gateway.stats()).toMatchObject({ tcpFlows: 0, bufferBytes: 0, sources: 0 })
  })
})

/** A hash that is no secret: sequence numbers follow the clock alone. */
function steadyHash(): Uint8Array {
  return new Uint8Array(8)
}
