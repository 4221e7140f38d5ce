import { describe, expect, test } from 'vitest'
import { establishedWire, type Incoming } from './wire.ts'

const sackOf = (wire: ReturnType<typeof establishedWire>) => wire.sent().map(({ ack, sack }) => [ack, ...sack])

describe('when to acknowledge (RFC 9293 §3.8.6.3, RFC 5681 §4.2)', () => {
  test('data in order at the end of the batch, by one ACK', () => {
    const wire = establishedWire()
    wire.receive({ length: 1000 }, { seq: 1001, length: 1000 }, { seq: 2001, length: 1000 })
    expect(wire.sentText()).toEqual(['A 1 3001'])
  })

  test('a long batch by two, of which the first leaves the last segment out: one of them may get lost', () => {
    const wire = establishedWire({ windowScaling: false })
    wire.receive(...[1, 1001, 2001, 3001, 4001].map(seq => ({ seq, length: 1000 })))
    const sent = wire.sent()
    expect(sent.map(({ ack }) => ack)).toEqual([4001, 5001])
    // The right edge of the window stays where it is.
    expect(sent[0]!.ack + sent[0]!.window).toBe(sent[1]!.ack + sent[1]!.window)
  })

  test('segments beyond a gap, in one batch, by as many as three', () => {
    const wire = establishedWire()
    wire.receive(...[1001, 2001].map(seq => ({ seq, length: 1000 })))
    expect(sackOf(wire)).toEqual(Array(2).fill([1, [1001, 3001]]))
    wire.receive(...[3001, 4001, 5001, 6001, 7001].map(seq => ({ seq, length: 1000 })))
    expect(sackOf(wire)).toEqual(Array(3).fill([1, [1001, 8001]]))
  })

  test('what came before gets one, which a peer without SACK may count', () => {
    const wire = establishedWire({}, { sackPermitted: false })
    wire.receive({ length: 1000 })
    wire.sent()
    wire.receive({ length: 1000 }, { length: 1000 }, { length: 1000 })
    expect(wire.sentText()).toEqual(['A 1 1001'])
  })

  test('data that goes out meanwhile carries the ACK', () => {
    const wire = establishedWire()
    wire.receive({ length: 10 })
    wire.connection.write(new Uint8Array(5), wire.now)
    expect(wire.sentText()).toEqual(['PA 1+5 11'])
  })

  test('an ACK is not acknowledged', () => {
    const wire = establishedWire()
    wire.connection.write(new Uint8Array(5), wire.now)
    wire.sent()
    wire.receive({ ack: 6 })
    expect(wire.sentText()).toEqual([])
  })

  test('a peer without SACK gets a duplicate ACK for each segment out of order, to count', () => {
    const wire = establishedWire({}, { sackPermitted: false })
    wire.receive({ seq: 1001, length: 100 }, { seq: 1101, length: 100 }, { seq: 1201, length: 100 })
    expect(wire.sentText()).toEqual(['A 1 1', 'A 1 1', 'A 1 1'])
    wire.receive({ length: 1000 })
    expect(wire.sentText()).toEqual(['A 1 1301'])
  })
})

describe('SACK blocks (RFC 2018 §4, RFC 2883)', () => {
  test('the latest arrival first, then the ones before it', () => {
    const wire = establishedWire()
    const seen: unknown[] = []
    for (const seq of [101, 301, 501, 701, 901]) {
      wire.receive({ seq, length: 100 })
      seen.push(...sackOf(wire))
    }
    expect(seen).toEqual([
      [1, [101, 201]],
      [1, [301, 401], [101, 201]],
      [1, [501, 601], [301, 401], [101, 201]],
      [1, [701, 801], [501, 601], [301, 401], [101, 201]],
      [1, [901, 1001], [701, 801], [501, 601], [301, 401]],
    ])
  })

  test('beside timestamps there is room for three', () => {
    const wire = establishedWire({}, { timestamps: [1, 0] })
    for (const seq of [101, 301, 501, 701]) wire.receive({ seq, length: 100, timestamps: [1, 0] })
    expect(wire.sent().at(-1)!.sack).toEqual([
      [701, 801],
      [501, 601],
      [301, 401],
    ])
  })

  test.each<[string, Incoming[], [number, ...(readonly [number, number])[]]]>([
    [
      'touching ranges become one',
      [
        { seq: 101, length: 100 },
        { seq: 201, length: 100 },
      ],
      [1, [101, 301]],
    ],
    [
      'what lies between joins them',
      [
        { seq: 101, length: 100 },
        { seq: 301, length: 100 },
        { seq: 201, length: 100 },
      ],
      [1, [101, 401]],
    ],
    [
      'what overlaps both joins them, and the first overlap is a duplicate',
      [
        { seq: 101, length: 100 },
        { seq: 301, length: 100 },
        { seq: 151, length: 200 },
      ],
      [1, [151, 201], [101, 401]],
    ],
    [
      'filling the gap leaves none',
      [
        { seq: 101, length: 100 },
        { seq: 1, length: 100 },
      ],
      [201],
    ],
    [
      'filling a part of it leaves the rest',
      [
        { seq: 101, length: 100 },
        { seq: 1, length: 50 },
      ],
      [51, [101, 201]],
    ],
    [
      'filling the first of two leaves the second',
      [
        { seq: 101, length: 100 },
        { seq: 301, length: 100 },
        { seq: 1, length: 100 },
      ],
      [201, [301, 401]],
    ],
    ['data before the window is reported as a duplicate', [{ length: 100 }, { length: 100 }], [101, [1, 101]]],
    ['a part of it too', [{ length: 100 }, { seq: 51, length: 100 }], [151, [51, 101]]],
    [
      'a duplicate out of order comes with its range',
      [
        { seq: 101, length: 300 },
        { seq: 201, length: 100 },
      ],
      [1, [201, 301], [101, 401]],
    ],
  ])('%s', (_, segments, expected) => {
    const wire = establishedWire()
    wire.receive(...segments)
    expect(sackOf(wire)[0]).toEqual(expected)
  })

  test('a duplicate is reported once', () => {
    const wire = establishedWire()
    wire.receive({ length: 100 }, { length: 100 })
    wire.sent()
    wire.receive({ seq: 101, length: 100 })
    expect(sackOf(wire)).toEqual([[201]])
  })

  test('data that goes out carries them too, and still fits the path', () => {
    const wire = establishedWire({ mtu: 1500 })
    wire.receive({ seq: 101, length: 100 })
    wire.connection.write(new Uint8Array(3000), wire.now)
    const sent = wire.sent()
    expect(sent[0]!.sack).toEqual([[101, 201]])
    expect(Math.max(...sent.map(({ packetBytes }) => packetBytes))).toBeLessThanOrEqual(1500)
    expect(sent.reduce((sum, { length }) => sum + length, 0)).toBe(3000)
  })

  test('a peer that did not offer SACK gets none', () => {
    const wire = establishedWire({}, { sackPermitted: false })
    wire.receive({ seq: 101, length: 100 })
    expect(sackOf(wire)).toEqual([[1]])
  })
})

test('more gaps than are remembered: the rest is dropped and asked for again', () => {
  const wire = establishedWire({ initialReceiveWindow: 65_536 })
  for (let i = 0; i < 300; i++) wire.receive({ seq: 3 + 2 * i, length: 1 })
  wire.receive({ seq: 1, length: 600 })
  expect(wire.connection.readableBytes).toBe(600)
  const bytes = wire.connection.read()!
  expect(bytes.every((byte, i) => byte === ((i + 1) * 7 + ((i + 1) >>> 8)) % 256)).toBe(true)
})
