// Which segments a connection believes: RFC 9293 §3.10.7.4, RFC 5961, RFC 7323 §5.
import { describe, expect, test } from 'vitest'
import { establishedWire, type Incoming } from './wire.ts'

const edge = 1 + 65_536

describe('RST in an established connection (RFC 5961 §3.2)', () => {
  test.each<[string, Incoming, string[], string[]]>([
    ['the exact number resets', { flags: 'R', seq: 1 }, ['reset', 'closed'], []],
    ['with ACK too', { flags: 'RA', seq: 1 }, ['reset', 'closed'], []],
    ['a number in the window is challenged', { flags: 'R', seq: 2 }, [], ['A 1 1']],
    ['the last one of the window too', { flags: 'R', seq: edge - 1 }, [], ['A 1 1']],
    ['one behind the window is ignored', { flags: 'R', seq: edge + 1 }, [], []],
    ['one before the window is ignored', { flags: 'R', seq: 0 }, [], []],
  ])('%s', (_, segment, outputs, answer) => {
    const wire = establishedWire()
    wire.receive(segment)
    expect([wire.outputs(), wire.sentText()]).toEqual([outputs, answer])
  })

  test('data and then RST: what came can be read, and it is a reset, not an end', () => {
    const wire = establishedWire()
    wire.receive({ length: 100 }, { flags: 'R', seq: 101 })
    expect(wire.outputs()).toEqual(['readable', 'reset', 'closed'])
    expect(wire.connection.peerEnded).toBe(false)
    expect(wire.connection.read()!.length).toBe(100)
    expect(wire.connection.peerEnded).toBe(false)
    expect(wire.sentText()).toEqual([])
  })

  test('FIN and then RST: both are told', () => {
    const wire = establishedWire()
    wire.receive({ flags: 'FA' }, { flags: 'R', seq: 2 })
    expect(wire.outputs()).toEqual(['ended', 'reset', 'closed'])
  })

  test('RST with old timestamps counts (RFC 7323 §5.3)', () => {
    const wire = establishedWire({}, { timestamps: [1000, 0] })
    wire.receive({ flags: 'R', seq: 1, timestamps: [1, 0] })
    expect(wire.outputs()).toEqual(['reset', 'closed'])
  })
})

describe('SYN in an established connection is challenged (RFC 5961 §4.2)', () => {
  test.each<[string, Incoming]>([
    ['in the window', { flags: 'S', seq: 5 }],
    ['exact', { flags: 'S', seq: 1 }],
    ['with ACK', { flags: 'SA', seq: 1 }],
    ['before the window', { flags: 'S', seq: -5000 }],
    ['behind the window', { flags: 'S', seq: edge + 5000 }],
  ])('%s', (_, segment) => {
    const wire = establishedWire()
    wire.receive(segment)
    expect([wire.outputs(), wire.sentText(), wire.connection.state]).toEqual([[], ['A 1 1'], 'established'])
  })
})

test('challenges are limited per connection: ten in five seconds (RFC 5961 §7)', () => {
  const wire = establishedWire()
  let answers = 0
  for (let i = 0; i < 100; i++) {
    wire.receive({ flags: 'S', seq: 5 })
    answers += wire.sent().length
  }
  expect(answers).toBe(10)
  wire.now += 5001
  wire.receive({ flags: 'S', seq: 5 })
  expect(wire.sent().length).toBe(1)
})

describe('sequence numbers (RFC 9293 §3.10.7.4, first)', () => {
  test.each<[string, Incoming, number, string[]]>([
    ['data that came before is acknowledged again', { seq: -99, length: 100 }, 0, ['A 1 1']],
    ['of data that came in part the rest is taken', { seq: -49, length: 100 }, 50, ['A 1 51']],
    ['data behind the window is acknowledged and dropped', { seq: edge + 1, length: 10 }, 0, ['A 1 1']],
    ['an empty segment before the window is answered: a probe', { seq: 0 }, 0, ['A 1 1']],
    ['an empty segment at the right edge is taken', { seq: edge }, 0, []],
    ['a segment without ACK is dropped', { flags: 'P', length: 10 }, 0, []],
  ])('%s', (_, segment, readable, answer) => {
    const wire = establishedWire()
    wire.receive(segment)
    expect([wire.connection.readableBytes, wire.sentText()]).toEqual([readable, answer])
  })

  test('data beyond the right edge is cut off', () => {
    const wire = establishedWire({ initialReceiveWindow: 2048, maxReceiveWindow: 2048, windowScaling: false })
    wire.receive({ length: 1400 }, { seq: 1401, length: 1000 })
    expect(wire.connection.readableBytes).toBe(2048)
    expect(wire.sent().at(-1)).toMatchObject({ ack: 2049, window: 0 })
  })
})

describe('acknowledgment numbers (RFC 9293 §3.10.7.4, fifth, RFC 5961 §5.2)', () => {
  test.each<[string, Incoming, number, string[]]>([
    ['of what was not sent: challenged, data dropped', { ack: 102, length: 10 }, 0, ['A 101 1']],
    ['far too old: challenged, data dropped', { ack: -70_000, length: 10 }, 0, ['A 101 1']],
    ['old: ignored, data taken', { ack: -5000, length: 10 }, 10, ['A 101 11']],
    ['of what was sent: data taken', { ack: 101, length: 10 }, 10, ['A 101 11']],
  ])('%s', (_, segment, readable, answer) => {
    const wire = establishedWire()
    wire.connection.write(new Uint8Array(100), wire.now)
    wire.sent()
    wire.receive(segment)
    expect([wire.connection.readableBytes, wire.sentText()]).toEqual([readable, answer])
  })
})

describe('timestamps (RFC 7323 §5)', () => {
  const established = () => establishedWire({}, { timestamps: [5000, 0] })

  test('an older one is answered and dropped', () => {
    const wire = established()
    wire.receive({ length: 10, timestamps: [4999, 0] })
    expect([wire.connection.readableBytes, wire.sentText()]).toEqual([0, ['A 1 1']])
  })

  test('an equal or newer one is taken and echoed', () => {
    const wire = established()
    wire.receive({ length: 10, timestamps: [5000, 0] })
    expect(wire.sent()).toMatchObject([{ ack: 11, timestamps: [wire.now, 5000] }])
    wire.receive({ seq: 11, length: 10, timestamps: [5007, 0] })
    expect(wire.sent()).toMatchObject([{ ack: 21, timestamps: [wire.now, 5007] }])
  })

  test('one ACK for several segments echoes the first of them (§4.3)', () => {
    const wire = established()
    wire.receive({ length: 10, timestamps: [5001, 0] }, { seq: 11, length: 10, timestamps: [5007, 0] })
    expect(wire.sent()).toMatchObject([{ ack: 21, timestamps: [wire.now, 5001] }])
  })

  test('what wrapped around is newer', () => {
    const wire = establishedWire({}, { timestamps: [0xffff_fff0, 0] })
    wire.receive({ length: 10, timestamps: [5, 0] })
    expect(wire.sent().at(-1)).toMatchObject({ ack: 11, timestamps: [wire.now, 5] })
  })

  test('a segment without them is dropped in silence (§3.2)', () => {
    const wire = established()
    wire.receive({ length: 10 })
    expect([wire.connection.readableBytes, wire.sentText()]).toEqual([0, []])
  })

  test('a gap is echoed as of the last segment in order (§4.3)', () => {
    const wire = established()
    wire.receive({ seq: 101, length: 100, timestamps: [6000, 0] })
    expect(wire.sent().at(-1)!.timestamps).toEqual([wire.now, 5000])
    wire.receive({ seq: 1, length: 100, timestamps: [6001, 0] })
    expect(wire.sent().at(-1)!.timestamps).toEqual([wire.now, 6001])
  })

  test('a segment with an impossible ACK leaves nothing behind (RFC 5961 §5.2)', () => {
    const wire = established()
    wire.receive({ ack: 5000, length: 10, timestamps: [0x7000_0000, 0] })
    expect(wire.sent()).toMatchObject([{ ack: 1, timestamps: [wire.now, 5000] }])
    wire.receive({ length: 10, timestamps: [5001, 0] })
    expect(wire.connection.readableBytes).toBe(10)
  })

  test('after 24 days of silence an old one is taken (§5.5)', () => {
    const wire = established()
    wire.now += 24 * 86_400_000
    wire.receive({ length: 10, timestamps: [1, 0] })
    expect(wire.connection.readableBytes).toBe(10)
  })
})

test('urgent data stays in its place in the stream (RFC 9293 §3.8.5)', () => {
  const wire = establishedWire()
  wire.receive({ flags: 'UA', length: 10 }, { seq: 11, length: 10 })
  expect(wire.connection.readableBytes).toBe(20)
})

test('SACK blocks that make no sense are ignored', () => {
  const wire = establishedWire()
  wire.connection.write(new Uint8Array(14_600), wire.now)
  wire.sent()
  for (const sack of [
    [[5, 5]],
    [[9000, 100]],
    [[100, 90_000]],
    [[-5000, -4000]],
    [[0x4000_0000, 0x4000_0100]],
  ] as const)
    wire.receive({ sack: sack as unknown as [number, number][] })
  expect(wire.sentText()).toEqual([])
  wire.receive({ ack: 14_601 })
  expect(wire.connection.deadline).toBe(10_000 + 7_440_000)
})
