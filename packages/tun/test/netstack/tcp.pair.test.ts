import { PacketBatch, TcpFlag } from '@twinbore/core/packet'
import { seededRandom } from '@twinbore/core/runtime'
import { icmpErrorPacket, tcpPacket } from '@twinbore/core/testing'
import { describe, expect, test } from 'vitest'
import type { FlowResetReason, NetStack, NetStackOutput, RefuseReason } from '../../src/netstack/index.ts'
import {
  acceptingPair,
  client4,
  endpoint,
  establishedPair,
  families,
  icmpKind,
  lastOf,
  outputsOf,
  StackPair,
} from './stack-pair.ts'

const far = '198.51.100.7'

describe.each(families)('$name', ({ name, inside, far }) => {
  const v4 = name === 'IPv4'

  test('dials first: no SYN-ACK before the shell accepts, and repeated SYNs are one request', () => {
    const pair = new StackPair()
    const flow = pair.client.openTcp({ remote: endpoint(far, 443), localPort: 40_000 }, pair.now)
    pair.advance(5000)
    expect(pair.taken('to-client')).toEqual([])
    expect(pair.taken('to-gateway').length).toBeGreaterThan(1)
    expect(pair.gatewayOutputs).toEqual([
      {
        type: 'flow-requested',
        flow: 0,
        protocol: 'tcp',
        source: endpoint(inside, 40_000),
        destination: endpoint(far, 443),
      },
    ])
    expect(pair.gateway.endpoints(0)).toEqual({ inside: endpoint(inside, 40_000), outside: endpoint(far, 443) })
    pair.gateway.accept(0, pair.now)
    pair.run()
    expect(pair.clientOutputs).toEqual([{ type: 'flow-established', flow }])
    expect(pair.gatewayOutputs.at(-1)).toEqual({ type: 'flow-established', flow: 0 })
    expect(pair.gateway.stats()).toMatchObject({ dials: 0, tcpFlows: 1 })
  })

  test('carries a megabyte each way at once, and ends with FIN both ways', () => {
    const pair = new StackPair()
    const up = seededRandom(1).fill(new Uint8Array(1_000_000))
    const down = seededRandom(2).fill(new Uint8Array(1_000_000))
    const server = new Endpoint(pair.gateway, down)
    const client = new Endpoint(pair.client, up)
    pair.onGateway = output => server.handle(output, pair.now)
    pair.onClient = output => client.handle(output, pair.now)
    pair.isRecording = false
    client.flow = pair.client.openTcp({ remote: endpoint(far, 443) }, pair.now)
    pair.advance(2000)
    expect([server.received.length, client.received.length]).toEqual([up.length, down.length])
    expect(equal(server.received, up) && equal(client.received, down)).toBe(true)
    expect([server.events, client.events]).toEqual([
      ['flow-requested', 'flow-established', 'flow-ended', 'flow-closed'],
      ['flow-established', 'flow-ended', 'flow-closed'],
    ])
    expect(pair.gateway.stats()).toMatchObject({ bufferBytes: 0 })
    expect(pair.client.stats()).toMatchObject({ bufferBytes: 0 })
    // One of the two closed first and waits; nothing but that is left.
    pair.advance(60_000)
    expect([pair.gateway.stats().tcpFlows, pair.client.stats().tcpFlows]).toEqual([0, 0])
    expect([pair.gateway.deadline, pair.client.deadline]).toEqual([undefined, undefined])
  })

  const refusals: [RefuseReason, string | undefined, string | undefined, FlowResetReason][] = [
    ['reset', undefined, undefined, 'refused'],
    ['port-unreachable', '3/3', '1/4', 'unreachable'],
    ['host-unreachable', '3/1', '1/3', 'unreachable'],
    ['net-unreachable', '3/0', '1/0', 'unreachable'],
    ['protocol-unreachable', '3/2', '4/1', 'unreachable'],
    ['admin-prohibited', '3/13', '1/1', 'unreachable'],
  ]
  test.each(refusals)('a request refused as %s is answered with RST, or %s, or %s', (reason, code4, code6, told) => {
    const pair = new StackPair()
    const flow = pair.client.openTcp({ remote: endpoint(far, 443) }, pair.now)
    pair.run()
    pair.gateway.refuse(0, reason, pair.now)
    pair.run()
    const answers = pair.taken('to-client')
    expect(answers.map(icmpKind)).toEqual([v4 ? code4 : code6])
    if (reason === 'reset') expect(flagsOf(answers[0]!)).toBe(TcpFlag.rst | TcpFlag.ack)
    expect(outputsOf(pair.clientOutputs, 'flow-reset')).toEqual([{ type: 'flow-reset', flow, reason: told }])
    if (told === 'unreachable') {
      const kind = reason === 'protocol-unreachable' ? 'port-unreachable' : reason
      expect(pair.clientOutputs[0]).toEqual({ type: 'icmp-error', flow, kind })
    }
    expect(pair.gatewayOutputs.slice(1)).toEqual([
      { type: 'flow-reset', flow: 0, reason: 'local' },
      { type: 'flow-closed', flow: 0 },
    ])
    expect(pair.gateway.stats()).toMatchObject({ tcpFlows: 0, dials: 0, flowsRefused: 1, bufferBytes: 0 })
    expect(pair.client.stats()).toMatchObject({ tcpFlows: 0, bufferBytes: 0 })
  })

  test('a request refused silently hears nothing, and asks again', () => {
    const pair = new StackPair()
    pair.client.openTcp({ remote: endpoint(far, 443) }, pair.now)
    pair.run()
    pair.gateway.refuse(0, 'silent', pair.now)
    pair.advance(1500)
    expect(pair.taken('to-client')).toEqual([])
    expect(outputsOf(pair.gatewayOutputs, 'flow-requested').length).toBe(2)
  })

  test('a segment of no flow is answered with RST as RFC 9293 §3.5.2 has it, in both modes', () => {
    const ends = { source: inside, destination: far, sourcePort: 1000, destinationPort: 443 }
    const cases: [Uint8Array, number, number, number][] = [
      [tcpPacket({ ...ends, flags: TcpFlag.ack, sequenceNumber: 5, acknowledgmentNumber: 77 }), TcpFlag.rst, 77, 0],
      [
        tcpPacket({ ...ends, flags: TcpFlag.syn | TcpFlag.ack, sequenceNumber: 5, acknowledgmentNumber: 78 }),
        TcpFlag.rst,
        78,
        0,
      ],
      [
        tcpPacket({ ...ends, flags: TcpFlag.fin, sequenceNumber: 5, payload: new Uint8Array(10) }),
        TcpFlag.rst | TcpFlag.ack,
        0,
        16,
      ],
    ]
    for (const [packet, flags, sequence, acknowledgment] of cases) {
      const pair = new StackPair()
      pair.inject('to-gateway', packet)
      pair.run()
      const [reset] = pair.taken('to-client')
      const at = v4 ? 20 : 40
      const view = new DataView(reset!.buffer)
      expect([flagsOf(reset!), view.getUint32(at + 4), view.getUint32(at + 8)]).toEqual([
        flags,
        sequence,
        acknowledgment,
      ])
      expect([view.getUint16(at), view.getUint16(at + 2)]).toEqual([443, 1000])
    }
    const pair = new StackPair()
    pair.inject('to-gateway', tcpPacket({ ...ends, flags: TcpFlag.rst, sequenceNumber: 5 }))
    pair.inject('to-client', tcpPacket({ ...ends, source: far, destination: inside, flags: TcpFlag.syn }))
    pair.run()
    expect(pair.taken('to-client')).toEqual([])
    expect(pair.taken('to-gateway').map(flagsOf)).toEqual([TcpFlag.rst | TcpFlag.ack])
    expect(pair.gateway.stats()).toMatchObject({ resetsSent: 0, drops: { noMapping: 2 } })
  })

  test('drops segments whose checksum is wrong', () => {
    const pair = new StackPair()
    const packet = tcpPacket({
      source: inside,
      destination: far,
      sourcePort: 1,
      destinationPort: 2,
      flags: TcpFlag.syn,
    })
    packet[packet.length - 1]! ^= 1
    pair.inject('to-gateway', packet)
    expect(pair.gatewayOutputs).toEqual([])
    expect(pair.gateway.stats().drops).toEqual({ badChecksum: 1 })
  })

  test('a gateway opens a flow to an inside host too', () => {
    const pair = new StackPair()
    pair.gateway.openTcp({ remote: endpoint(inside, 22), localAddress: far, localPort: 999 }, pair.now)
    pair.run()
    expect(outputsOf(pair.gatewayOutputs, 'flow-reset')).toEqual([{ type: 'flow-reset', flow: 0, reason: 'refused' }])
    expect(() => pair.gateway.openTcp({ remote: endpoint(inside, 22) }, pair.now)).toThrow(RangeError)
  })
})

test.each([1, 2, 3, 4])('a lossy tunnel changes nothing but the time it takes (seed %i)', seed => {
  const random = seededRandom(seed)
  const pair = new StackPair({ client: { mtu: 1300 } })
  const up = seededRandom(seed + 10).fill(new Uint8Array(200_000))
  const down = seededRandom(seed + 20).fill(new Uint8Array(300_000))
  const server = new Endpoint(pair.gateway, down)
  const client = new Endpoint(pair.client, up)
  pair.onGateway = output => server.handle(output, pair.now)
  pair.onClient = output => client.handle(output, pair.now)
  pair.passes = () => random.uint32() % 100 >= 5
  pair.isRecording = false
  client.flow = pair.client.openTcp({ remote: endpoint(far, 443) }, pair.now)
  pair.advance(300_000)
  expect(equal(server.received, up) && equal(client.received, down)).toBe(true)
  expect([server.events.at(-1), client.events.at(-1)]).toEqual(['flow-closed', 'flow-closed'])
  expect([server.events, client.events].flat()).not.toContain('flow-reset')
  for (const stack of [pair.client, pair.gateway]) {
    expect(stack.stats()).toMatchObject({ tcpFlows: 0, bufferBytes: 0 })
    expect(stack.deadline).toBe(undefined)
  }
})

test('half-close each way: after one FIN the other direction goes on', () => {
  for (const first of ['client', 'gateway'] as const) {
    const pair = establishedPair()
    const [closer, other] = first === 'client' ? [pair.client, pair.gateway] : [pair.gateway, pair.client]
    closer.shutdown(0, pair.now)
    pair.advance(600_000)
    const [ofCloser, ofOther] =
      first === 'client' ? [pair.clientOutputs, pair.gatewayOutputs] : [pair.gatewayOutputs, pair.clientOutputs]
    expect(lastOf(ofOther, 'flow-ended')).toEqual({ type: 'flow-ended', flow: 0 })
    expect(closer.write(0, Uint8Array.of(1), pair.now)).toBe(0)
    expect(other.write(0, Uint8Array.of(1, 2, 3), pair.now)).toBe(3)
    pair.run()
    expect(closer.read(0, pair.now)).toEqual(Uint8Array.of(1, 2, 3))
    other.shutdown(0, pair.now)
    pair.run()
    expect([ofCloser.at(-1)?.type, ofOther.at(-1)?.type]).toEqual(['flow-closed', 'flow-closed'])
    expect(outputsOf([...ofCloser, ...ofOther], 'flow-reset')).toEqual([])
  }
})

test('flow-closed waits until everything was read, so that an end is never mistaken', () => {
  const pair = establishedPair()
  pair.client.write(0, Uint8Array.of(1, 2, 3, 4), pair.now)
  pair.client.shutdown(0, pair.now)
  pair.gateway.shutdown(0, pair.now)
  pair.run()
  expect(outputsOf(pair.gatewayOutputs, 'flow-closed')).toEqual([])
  expect(pair.gateway.readableBytes(0)).toBe(4)
  expect(pair.gateway.read(0, pair.now, 3)).toEqual(Uint8Array.of(1, 2, 3))
  pair.run()
  expect(outputsOf(pair.gatewayOutputs, 'flow-closed')).toEqual([])
  const rest = new Uint8Array(10)
  expect([pair.gateway.readInto(0, rest, pair.now), rest[0]]).toEqual([1, 4])
  pair.run()
  expect(pair.gatewayOutputs.at(-1)).toEqual({ type: 'flow-closed', flow: 0 })
  expect(() => pair.gateway.read(0, pair.now)).toThrow(RangeError)
})

test('abort sends RST, and data that came before it does not make it look like an end', () => {
  const pair = establishedPair()
  pair.gateway.write(0, new Uint8Array(5000), pair.now)
  pair.run()
  pair.gateway.abort(0, pair.now)
  pair.run()
  expect(pair.clientOutputs.slice(-2)).toEqual([
    { type: 'flow-reset', flow: 0, reason: 'peer' },
    { type: 'flow-closed', flow: 0 },
  ])
  expect(outputsOf(pair.clientOutputs, 'flow-ended')).toEqual([])
  expect(pair.gatewayOutputs.slice(-2)).toEqual([
    { type: 'flow-reset', flow: 0, reason: 'local' },
    { type: 'flow-closed', flow: 0 },
  ])
  for (const stack of [pair.client, pair.gateway]) expect(stack.stats()).toMatchObject({ tcpFlows: 0, bufferBytes: 0 })
})

test('removeSource leaves nothing of a session: no flow, no memory, no packet, no timer', () => {
  const pair = acceptingPair()
  for (let i = 0; i < 20; i++) {
    const flow = pair.client.openTcp({ remote: endpoint(far, 1 + i) }, pair.now)
    pair.run()
    pair.client.write(flow, new Uint8Array(20_000), pair.now)
  }
  pair.gateway.setMtu(client4, 1300, pair.now)
  pair.run()
  for (let flow = 0; flow < 20; flow++) pair.gateway.write(flow, new Uint8Array(100_000), pair.now)
  pair.gateway.drain(new PacketBatch(), pair.now)
  expect(pair.gateway.stats().bufferBytes).toBeGreaterThan(1_000_000)
  pair.gatewayOutputs.length = 0
  pair.taken('to-client')
  pair.gateway.removeSource(client4, pair.now)
  pair.passes = () => false
  pair.run()
  expect(pair.taken('to-client')).toEqual([])
  expect(outputsOf(pair.gatewayOutputs, 'flow-reset').map(output => output.reason)).toEqual(
    Array.from({ length: 20 }, () => 'source-removed'),
  )
  expect(outputsOf(pair.gatewayOutputs, 'flow-closed').length).toBe(20)
  expect(pair.gateway.stats()).toMatchObject({ tcpFlows: 0, sources: 0, bufferBytes: 0, timeWait: 0 })
  expect([pair.gateway.deadline, pair.gateway.wantsToSend]).toEqual([undefined, false])
  pair.gateway.removeSource(client4, pair.now)
})

test('setMtu changes what live connections send', () => {
  const pair = establishedPair()
  const longest = (): number => {
    pair.taken('to-client')
    pair.gateway.write(0, new Uint8Array(20_000), pair.now)
    pair.run()
    pair.client.read(0, pair.now)
    pair.run()
    return Math.max(...pair.taken('to-client').map(packet => packet.length))
  }
  expect(longest()).toBe(1400)
  pair.gateway.setMtu(client4, 1280, pair.now)
  expect(longest()).toBe(1280)
  pair.gateway.setMtu(client4, 1350, pair.now)
  expect(longest()).toBe(1350)
})

test('packet too big shortens the segments of the connection it is about', () => {
  const pair = establishedPair()
  pair.passes = (direction, packet) => direction === 'to-client' || packet.length <= 1200
  pair.taken('to-gateway')
  pair.client.write(0, new Uint8Array(3000), pair.now)
  pair.run()
  const about = pair.taken('to-gateway').find(packet => packet.length > 1200)!
  const error = { source: '203.0.113.1', destination: client4, type: 3, code: 4 }
  pair.inject('to-client', icmpErrorPacket({ ...error, parameter: 1200, about: about.subarray(0, 28) }))
  pair.advance(5000)
  expect(pair.gateway.read(0, pair.now)?.length).toBe(3000)
  expect(pair.client.stats()).toMatchObject({ errorsReceived: 1, errorsIgnored: 0 })
})

test('a slow reader stops only its own sender', () => {
  const pair = establishedPair({}, 2)
  const bytes = new Uint8Array(1_000_000)
  let blocked = 0
  for (;;) {
    const taken = pair.client.write(0, bytes, pair.now)
    pair.run()
    blocked += taken
    if (taken === 0) break
  }
  expect(blocked).toBeGreaterThan(100_000)
  expect(pair.gateway.stats().bufferBytes).toBeLessThan(5_000_000)
  pair.client.write(1, Uint8Array.of(9), pair.now)
  pair.run()
  expect(pair.gateway.read(1, pair.now)).toEqual(Uint8Array.of(9))
})

describe('fairness', () => {
  test('flows of a source take turns in a batch, and so do sources', () => {
    const pair = acceptingPair({ gateway: { tcp: { initialSendBuffer: 1_000_000 } } })
    const far2 = endpoint(far, 443)
    for (let i = 0; i < 3; i++) pair.client.openTcp({ remote: far2 }, pair.now)
    pair.run()
    for (let flow = 0; flow < 3; flow++) pair.gateway.write(flow, new Uint8Array(100_000), pair.now)
    const batch = new PacketBatch({ capacity: 16, slotBytes: 1400 })
    pair.gateway.drain(batch, pair.now)
    const ports = Array.from({ length: batch.count }, (_, slot) => batch.view.getUint16(batch.offsets[slot]! + 22))
    const runs = ports.filter((port, i) => port !== ports[i - 1])
    // Four segments of each, then the next one's turn.
    expect(ports.length).toBe(16)
    expect(runs.length).toBe(4)
    expect(new Set(runs).size).toBe(3)
  })
})

/** Sends all its bytes and FIN, reads all that comes. */
class Endpoint {
  flow = -1
  readonly events: string[] = []
  private readonly stack: NetStack
  private readonly bytes: Uint8Array
  private readonly pieces: Uint8Array[] = []
  private sent = 0

  constructor(stack: NetStack, bytes: Uint8Array) {
    this.stack = stack
    this.bytes = bytes
  }

  get received(): Uint8Array {
    const whole = new Uint8Array(this.pieces.reduce((sum, piece) => sum + piece.length, 0))
    let at = 0
    for (const piece of this.pieces) {
      whole.set(piece, at)
      at += piece.length
    }
    return whole
  }

  handle(output: NetStackOutput, now: number): void {
    if (output.type !== 'flow-readable' && output.type !== 'flow-writable') this.events.push(output.type)
    switch (output.type) {
      case 'flow-requested':
        this.flow = output.flow
        this.stack.accept(output.flow, now)
        break
      case 'flow-established':
      case 'flow-writable':
        this.send(now)
        break
      case 'flow-readable':
        for (let bytes = this.stack.read(this.flow, now); bytes; bytes = this.stack.read(this.flow, now)) {
          this.pieces.push(bytes)
        }
        break
    }
  }

  private send(now: number): void {
    this.sent += this.stack.write(this.flow, this.bytes.subarray(this.sent), now)
    if (this.sent === this.bytes.length) this.stack.shutdown(this.flow, now)
  }
}

function flagsOf(packet: Uint8Array): number {
  return packet[(packet[0]! >>> 4 === 4 ? 20 : 40) + 13]!
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}
