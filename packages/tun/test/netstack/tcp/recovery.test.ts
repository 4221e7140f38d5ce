import { describe, expect, test } from 'vitest'
import { establishedWire, type Incoming, Wire } from './wire.ts'

const mss = 1000
const established = (options = {}, syn = {}) =>
  establishedWire({ mtu: 1500, roundTripMs: 100, ...options }, { mss, ...syn })
const starts = (segments: { seq: number; length: number }[]) => segments.filter(s => s.length > 0).map(s => s.seq)

/** Round trips of 100 ms measured, and `segments` more in flight since 100 ms. Stamped segments carry 988 bytes. */
function inFlight(segments: number, syn: Incoming = {}): Wire {
  const wire = established({}, syn)
  const size = syn.timestamps ? mss - 12 : mss
  wire.connection.write(new Uint8Array(2 * mss), wire.now)
  wire.sent()
  wire.now += 100
  wire.receive({ ack: 1 + 2 * mss, ...(syn.timestamps ? { timestamps: [1, wire.now - 100] as const } : {}) })
  wire.connection.write(new Uint8Array(segments * size), wire.now)
  expect(wire.sent().length).toBe(segments)
  wire.now += 100
  return wire
}
const first = 2 * mss + 1

describe('loss found by what arrived (RFC 8985 §6)', () => {
  test('three segments beyond a gap: it is sent again at once', () => {
    const wire = inFlight(6)
    wire.receive({ ack: first, sack: [[first + mss, first + 2 * mss]] })
    expect(wire.sentText()).toEqual([])
    wire.receive({ ack: first, sack: [[first + mss, first + 4 * mss]] })
    expect(starts(wire.sent())).toEqual([first])
  })

  test('fewer: after a quarter of a round trip', () => {
    const wire = inFlight(3)
    wire.receive({ ack: first, sack: [[first + mss, first + 2 * mss]] })
    const start = wire.now
    const sent = wire.advance(100)
    expect(starts(sent)[0]).toBe(first)
    expect(sent[0]!.at - start).toBeCloseTo(25, 6)
  })

  test('more in flight than the window then allows: the first of them goes again all the same', () => {
    const wire = inFlight(10)
    wire.receive({ ack: first, sack: [[first + mss, first + 2 * mss]] })
    expect(wire.sentText()).toEqual([])
    // Nothing more comes: only the end of the reordering window tells of the loss.
    expect(starts(wire.advance(50))).toEqual([first])
  })

  test('what is sent at the same time has an order too', () => {
    const wire = inFlight(6)
    wire.connection.write(new Uint8Array(20 * mss), wire.now)
    // New data goes out before the retransmission, within the same millisecond.
    wire.receive({ ack: first + mss })
    const fresh = wire.sent().filter(({ length }) => length > 0)
    wire.receive({ ack: first + mss, sack: [[first + 2 * mss, first + 6 * mss]] })
    expect(starts(wire.sent())[0]).toBe(first + mss)
    wire.now += 100
    // It arrived, and the retransmission may still do so.
    const end = fresh.at(-1)!.seq + mss
    wire.receive({ ack: first + mss, sack: [[first + 2 * mss, end]] })
    expect(starts(wire.sent())).not.toContain(first + mss)
  })

  test('acknowledgements of one batch: the window is reduced from what was in flight before it', () => {
    const wire = inFlight(10)
    wire.connection.write(new Uint8Array(60 * mss), wire.now)
    wire.receive({ ack: first + 5 * mss }, { ack: first + 5 * mss, sack: [[first + 6 * mss, first + 10 * mss]] })
    // 0.7 of ten segments, none of which is in flight any more.
    expect(wire.sent().length).toBe(7)
  })

  test('several gaps are filled in order, as the window allows', () => {
    const wire = inFlight(10)
    wire.receive({
      ack: first,
      sack: [
        [first + mss, first + 2 * mss],
        [first + 3 * mss, first + 4 * mss],
        [first + 5 * mss, first + 10 * mss],
      ],
    })
    expect(starts(wire.sent())).toEqual([first, first + 2 * mss, first + 4 * mss])
  })

  test('a lost retransmission is found too, without a timeout', () => {
    const wire = inFlight(10)
    wire.connection.write(new Uint8Array(20 * mss), wire.now)
    wire.receive({ ack: first, sack: [[first + mss, first + 8 * mss]] })
    const sent = wire.sent()
    expect(sent[0]!.seq).toBe(first)
    const later = sent.at(-1)!
    expect(later.seq).toBeGreaterThan(first + 9 * mss)
    wire.now += 100
    wire.receive({ ack: first, sack: [[first + mss, later.seq + later.length]] })
    expect(starts(wire.sent())[0]).toBe(first)
  })

  test('what was reordered once is waited for the next time', () => {
    const wire = inFlight(6, { timestamps: [1, 0] })
    const stamped = (fields: object) => ({ timestamps: [1, wire.now - 100] as const, ...fields })
    // The second segment arrives before the first, which was not sent again.
    wire.receive(stamped({ ack: first, sack: [[first + 988, first + 2 * 988]] }))
    wire.receive(stamped({ ack: first + 2 * 988 }))
    wire.receive(stamped({ ack: first + 2 * 988, sack: [[first + 3 * 988, first + 6 * 988]] }))
    expect(starts(wire.sent())).toEqual([])
    expect(starts(wire.advance(60))[0]).toBe(first + 2 * 988)
  })

  test('the window is reduced once per episode, to 0.7 (RFC 9438 §4.6)', () => {
    const wire = inFlight(10)
    wire.connection.write(new Uint8Array(60 * mss), wire.now)
    wire.receive({ ack: first, sack: [[first + mss, first + 4 * mss]] })
    wire.sent()
    for (let i = 5; i <= 10; i++) {
      wire.receive({ ack: first, sack: [[first + mss, first + i * mss]] })
      wire.sent()
    }
    wire.now += 100
    wire.receive({ ack: first + 40 * mss })
    wire.now += 1
    // Slow start had brought the window to 12 segments.
    const sent = wire.sent()
    expect(sent.length).toBeLessThanOrEqual(9)
  })
})

describe('a peer without SACK: NewReno (RFC 5681 §3.2, RFC 6582)', () => {
  const reno = { sackPermitted: false }

  test('the third duplicate ACK sends the first segment again, a partial ACK the next gap', () => {
    const wire = inFlight(8, reno)
    wire.receive({ ack: first }, { ack: first })
    expect(wire.sentText()).toEqual([])
    wire.receive({ ack: first })
    expect(starts(wire.sent())).toEqual([first])
    wire.receive({ ack: first }, { ack: first }, { ack: first })
    wire.now += 100
    wire.receive({ ack: first + 4 * mss })
    expect(starts(wire.sent())).toContain(first + 4 * mss)
    wire.receive({ ack: first + 8 * mss })
    expect(wire.connection.deadline).toBeGreaterThan(wire.now + 1_000_000)
  })

  test('what changes the window or carries data is no duplicate', () => {
    const wire = inFlight(8, reno)
    for (let i = 0; i < 5; i++) wire.receive({ ack: first, window: 60_000 - i }, { seq: 1 + i, length: 1, ack: first })
    expect(starts(wire.sent())).toEqual([])
  })
})

describe('the tail (RFC 8985 §7)', () => {
  test('a probe after two round trips sends the last segment again', () => {
    const wire = inFlight(4)
    const start = wire.now - 100
    const sent = wire.advance(150)
    expect(starts(sent)).toEqual([first + 3 * mss])
    expect(sent[0]!.at - start).toBeCloseTo(200, 6)
  })

  test('its report finds the loss before it', () => {
    const wire = inFlight(4)
    expect(starts(wire.advance(100))).toEqual([first + 3 * mss])
    wire.advance(100)
    wire.receive({ ack: first, sack: [[first + 3 * mss, first + 4 * mss]] })
    expect(starts([...wire.sent(), ...wire.advance(60)])).toContain(first)
  })

  test('new data probes when there is some', () => {
    const wire = inFlight(10)
    wire.connection.write(new Uint8Array(5 * mss), wire.now)
    wire.sent()
    const sent = wire.advance(250).filter(({ length }) => length > 0)
    expect(sent[0]!.seq).toBeGreaterThan(first + 9 * mss)
  })
})

describe('timeouts (RFC 6298)', () => {
  test('a round trip and 200 ms at least; doubled each time; at most 60 s; three minutes in all', () => {
    const wire = establishedWire({ roundTripMs: 50 }, { sackPermitted: false })
    wire.connection.write(new Uint8Array(10), wire.now)
    const start = wire.now
    const times = wire.advance(600_000).map(({ at }) => at - start)
    expect(times.slice(0, 9)).toEqual([0, 250, 750, 1750, 3750, 7750, 15_750, 31_750, 63_750])
    expect(wire.outputs()).toEqual(['timed-out', 'closed'])
    const last = times.at(-1)!
    expect(last).toBeGreaterThanOrEqual(180_000)
  })

  test('what follows the last attempt is RST', () => {
    const wire = established()
    wire.connection.write(new Uint8Array(10), wire.now)
    expect(wire.advance(600_000).at(-1)).toMatchObject({ flags: 'RA' })
  })

  test('slow start from one segment', () => {
    const wire = inFlight(10)
    wire.advance(400)
    wire.advance(1)
    wire.now += 100
    wire.receive({ ack: first + mss })
    expect(starts(wire.sent())).toEqual([first + mss, first + 2 * mss])
  })

  test('an answer to the original, told by its timestamp, takes the timeout back (RFC 3522)', () => {
    const wire = inFlight(8, { timestamps: [1, 0] })
    const sentAt = wire.now - 100
    wire.connection.write(new Uint8Array(20 * mss), wire.now)
    wire.sent()
    const again = wire.advance(1000)
    expect(again.length).toBeGreaterThan(0)
    wire.receive({ ack: first + 4 * 988, timestamps: [1, sentAt] })
    // The window is what it was: all that had been in flight counts as in flight, nothing else is sent again.
    expect(starts(wire.sent()).every(seq => seq >= first + 8 * 988)).toBe(true)
  })

  test('an answer to data before the retransmission takes nothing back', () => {
    const wire = inFlight(10, { timestamps: [1, 0] })
    const sentAt = wire.now - 100
    const at = (segment: number): number => first + segment * 988
    wire.connection.write(new Uint8Array(40 * mss), wire.now)
    // The report of the loss overtakes the acknowledgement of what came before.
    wire.receive({
      ack: first,
      sack: [
        [at(6), at(10)],
        [at(0), at(5)],
      ],
      timestamps: [1, sentAt],
    })
    expect(starts(wire.sent())[0]).toBe(at(5))
    wire.now += 1
    wire.receive({ ack: at(5), sack: [[at(6), at(10)]], timestamps: [1, sentAt] })
    wire.sent()
    wire.now += 99
    wire.receive({ ack: at(10), timestamps: [1, wire.now - 100] })
    // Still 0.7 of what was in flight; undone, it would be all of it.
    expect(wire.connection.state).toBe('established')
    expect(wire.sent().reduce((sum, { length }) => sum + Number(length > 0), 0)).toBeLessThanOrEqual(9)
  })

  test('after a SYN-ACK that was lost the first timeout is 3 s (§5.7)', () => {
    const wire = new Wire({}, { mss: 1460 })
    wire.connection.confirm(wire.now)
    wire.advance(1500)
    wire.receive({})
    wire.connection.write(new Uint8Array(10), wire.now)
    const start = wire.now
    expect(wire.advance(3500).map(({ at }) => at - start)).toEqual([0, 3000])
  })

  test('unless timestamps tell how long the round trip was', () => {
    const wire = new Wire({}, { mss: 1460, timestamps: [1, 0] })
    wire.connection.confirm(wire.now)
    wire.advance(1500)
    wire.receive({ timestamps: [2, wire.now - 50] })
    wire.connection.write(new Uint8Array(10), wire.now)
    const start = wire.now
    expect(wire.advance(400).map(({ at }) => at - start)).toEqual([0, 250])
  })

  test('a segment that was sent twice measures nothing without timestamps (Karn)', () => {
    const wire = established()
    wire.connection.write(new Uint8Array(10), wire.now)
    wire.advance(5000)
    wire.receive({ ack: 11 })
    wire.connection.write(new Uint8Array(10), wire.now)
    const start = wire.now
    expect(wire.advance(400).filter(({ at }) => at > start).length).toBeGreaterThan(0)
  })
})

describe('how much at first', () => {
  test.each([
    [1460, 10],
    [536, 10],
    [88, 10],
    [2000, 7],
  ])('segments of %i bytes: %i (RFC 6928 §2)', (size, count) => {
    const wire = establishedWire({ mtu: 2040 }, { mss: size })
    wire.connection.write(new Uint8Array(60_000), wire.now)
    expect(wire.sent().length).toBe(count)
  })

  test('one after a SYN-ACK that was lost twice (RFC 5681 §3.1)', () => {
    const wire = new Wire({}, { mss: 1460 })
    wire.connection.confirm(wire.now)
    wire.advance(3500)
    wire.receive({})
    wire.connection.write(new Uint8Array(60_000), wire.now)
    expect(wire.sent().length).toBe(1)
  })

  test('after a long silence the window is no more than at first', () => {
    const wire = established()
    let seq = 1
    for (let round = 0; round < 4; round++) {
      wire.connection.write(new Uint8Array(60_000), wire.now)
      for (let sent = wire.sent(); sent.length > 0; sent = wire.sent()) {
        seq = sent.at(-1)!.seq + sent.at(-1)!.length
        wire.now += 50
        wire.receive({ ack: seq })
      }
    }
    wire.now += 60_000
    wire.connection.write(new Uint8Array(60_000), wire.now)
    expect(wire.sent().length).toBe(10)
  })
})

describe('the path gets narrower', () => {
  test('what is in flight is sent again in pieces that fit (RFC 1191, RFC 8201)', () => {
    const wire = inFlight(3)
    wire.connection.handlePathMtu(552, ((0xffff_ff00 + first) >>> 0) as number, wire.now)
    const sent = wire.sent()
    expect(sent.every(({ packetBytes }) => packetBytes <= 552)).toBe(true)
    expect(starts(sent)).toEqual([0, 1, 2].flatMap(i => [0, 512].map(at => first + i * mss + at)))
    wire.receive({ ack: first + 3 * mss })
    wire.connection.write(new Uint8Array(2000), wire.now)
    expect(wire.sent().every(({ packetBytes }) => packetBytes <= 552)).toBe(true)
  })

  test.each<[string, number, number]>([
    ['a number that is not in flight', 552, 1],
    ['an MTU that is larger', 9000, first],
  ])('an ICMP error with %s changes nothing (RFC 5927 §7)', (_, mtu, position) => {
    const wire = inFlight(3)
    wire.connection.handlePathMtu(mtu, (0xffff_ff00 + position) >>> 0, wire.now)
    expect(wire.sentText()).toEqual([])
  })

  test('an ICMP error asks for no less than 552 bytes', () => {
    const wire = inFlight(3)
    wire.connection.handlePathMtu(68, (0xffff_ff00 + first) >>> 0, wire.now)
    expect(Math.max(...wire.sent().map(({ packetBytes }) => packetBytes))).toBe(552)
  })
})

describe('an idle peer (RFC 9293 §3.8.4, RFC 5382 REQ-5)', () => {
  test('is probed after 2 h 4 min, every 75 s, nine times', () => {
    const wire = established()
    const start = wire.now
    const sent = wire.advance(20_000_000)
    expect(sent.map(({ at, flags, seq, length }) => [(at - start) / 1000, flags, seq, length])).toEqual([
      ...Array.from({ length: 9 }, (_, i) => [7440 + 75 * i, 'A', 0, 0]),
      [7440 + 75 * 9, 'RA', 1, 0],
    ])
    expect(wire.outputs()).toEqual(['timed-out', 'closed'])
  })

  test('that answers is left alone for another 2 h 4 min', () => {
    const wire = established()
    wire.advance(7_440_000)
    wire.receive({})
    const start = wire.now
    const [probe] = wire.advance(10_000_000)
    expect(probe!.at - start).toBe(7_440_000)
  })
})
