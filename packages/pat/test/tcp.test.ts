import { TcpFlag } from '@twinbore/core/packet'
import { seededRandom } from '@twinbore/core/runtime'
import { packetView } from '@twinbore/core/testing'
import { describe, expect, test } from 'vitest'
import {
  client,
  destinationOf,
  destinationPortOf,
  type Fate,
  Harness,
  isWellFormed,
  outside,
  server,
  sourceOf,
  sourcePortOf,
  tcp,
  transportAt,
} from './harness.ts'

const { syn, ack, fin, rst, psh } = TcpFlag
const hour = 3_600_000
const minute = 60_000

interface Segment {
  flags: number
  seq: number
  ack?: number
  window?: number
  options?: Uint8Array
  length?: number
  port?: number
}

/** A client at 10.8.0.2:5000 and a server at port 80, both with initial sequence numbers of their choice. */
class Connection {
  readonly harness: Harness
  port = 0

  constructor(harness = new Harness()) {
    this.harness = harness
  }

  out({ flags, seq, ack: acknowledgmentNumber = 0, window = 1000, options, length = 0, port = 5000 }: Segment): Fate {
    const fate = this.harness.out(
      tcp({
        sourcePort: port,
        flags,
        sequenceNumber: seq >>> 0,
        acknowledgmentNumber: acknowledgmentNumber >>> 0,
        window,
        payload: new Uint8Array(length),
        ...(options ? { tcpOptions: options } : {}),
      }),
    )
    if (typeof fate === 'object') this.port = sourcePortOf(fate)
    return fate
  }

  in({ flags, seq, ack: acknowledgmentNumber = 0, window = 1000, options, length = 0, port = 80 }: Segment): Fate {
    return this.harness.in(
      tcp({
        source: server,
        destination: outside,
        sourcePort: port,
        destinationPort: this.port,
        flags,
        sequenceNumber: seq >>> 0,
        acknowledgmentNumber: acknowledgmentNumber >>> 0,
        window,
        payload: new Uint8Array(length),
        ...(options ? { tcpOptions: options } : {}),
      }),
    )
  }

  /** Client ISN 100, server ISN 500. */
  establish(): this {
    this.out({ flags: syn, seq: 100 })
    this.in({ flags: syn | ack, seq: 500, ack: 101 })
    this.out({ flags: ack, seq: 101, ack: 501 })
    return this
  }

  /** How long the session lives if nothing more happens. */
  lifetime(): number {
    const { translator, now } = this.harness
    for (let guard = 0; guard < 100 && translator.stats().sessions > 0; guard++) {
      this.harness.now = Math.max(this.harness.now, translator.deadline!)
      translator.handleDeadline(this.harness.now)
    }
    return Math.round((this.harness.now - now) / 1000) * 1000
  }
}

describe('life of a session (RFC 6146 §3.5.2.2, RFC 7857)', () => {
  const cases: [string, (c: Connection) => void, number][] = [
    ['a SYN: 4 min', c => c.out({ flags: syn, seq: 100 }), 4 * minute],
    ['the whole handshake: 2 h 04 min (RFC 5382 REQ-5)', c => c.establish(), 2 * hour + 4 * minute],
    [
      'simultaneous open: 2 h 04 min (RFC 5382 REQ-2)',
      c => {
        c.out({ flags: syn, seq: 100 })
        c.in({ flags: syn, seq: 500 })
        c.out({ flags: syn | ack, seq: 100, ack: 501 })
        c.in({ flags: syn | ack, seq: 500, ack: 101 })
      },
      2 * hour + 4 * minute,
    ],
    [
      'a half-closed connection: 2 h 04 min',
      c => {
        c.establish()
        c.out({ flags: fin | ack, seq: 101, ack: 501 })
      },
      2 * hour + 4 * minute,
    ],
    [
      'both FINs: 4 min',
      c => {
        c.establish()
        c.out({ flags: fin | ack, seq: 101, ack: 501 })
        c.in({ flags: fin | ack, seq: 501, ack: 102 })
        c.out({ flags: ack, seq: 102, ack: 502 })
      },
      4 * minute,
    ],
    [
      'both FINs, the server first: 4 min',
      c => {
        c.establish()
        c.in({ flags: fin | ack, seq: 501, ack: 101 })
        c.in({ flags: fin | ack, seq: 501, ack: 101 })
        c.out({ flags: fin | ack, seq: 101, ack: 502 })
      },
      4 * minute,
    ],
    [
      "the server's RST: 4 min (RFC 7857 §2.2)",
      c => {
        c.establish()
        c.in({ flags: rst, seq: 501 })
      },
      4 * minute,
    ],
    [
      "the client's RST: 4 min",
      c => {
        c.establish()
        c.out({ flags: rst | ack, seq: 101, ack: 501 })
      },
      4 * minute,
    ],
    [
      'a RST, then data: 2 h 04 min again',
      c => {
        c.establish()
        c.in({ flags: rst, seq: 501 })
        c.in({ flags: ack | psh, seq: 501, ack: 101, length: 10 })
      },
      2 * hour + 4 * minute,
    ],
    [
      'a refused connection: 4 min',
      c => {
        c.out({ flags: syn, seq: 100 })
        c.in({ flags: rst | ack, seq: 0, ack: 101 })
      },
      4 * minute,
    ],
  ]
  test.each(cases)('after %s', (_, play, expected) => {
    const connection = new Connection()
    play(connection)
    expect(Math.abs(connection.lifetime() - expected)).toBeLessThanOrEqual(1000)
  })

  test('opening and closing times are set apart (RFC 7857 §2.1)', () => {
    const options = { tcpOpeningTtlMs: 30_000, tcpClosingTtlMs: 90_000, tcpEstablishedTtlMs: 10 * hour }
    const opening = new Connection(new Harness(options))
    opening.out({ flags: syn, seq: 100 })
    expect(opening.lifetime()).toBeLessThanOrEqual(31_000)
    const closing = new Connection(new Harness(options)).establish()
    closing.in({ flags: rst, seq: 501 })
    expect(Math.abs(closing.lifetime() - 90_000)).toBeLessThanOrEqual(1000)
  })

  test('keep-alives for a day', () => {
    const connection = new Connection().establish()
    for (let i = 0; i < 12; i++) {
      connection.harness.advance(2 * hour)
      expect(typeof connection.out({ flags: ack, seq: 100, ack: 501, length: 1 })).toBe('object')
      expect(typeof connection.in({ flags: ack, seq: 501, ack: 101 })).toBe('object')
    }
    expect(connection.harness.translator.stats()).toMatchObject({ mappingsCreated: 1, outOfWindowSegments: 0 })
  })

  test('the RST is delivered, and the second one when the first was lost', () => {
    const connection = new Connection().establish()
    expect(typeof connection.in({ flags: rst, seq: 501 })).toBe('object')
    expect(typeof connection.in({ flags: rst, seq: 501 })).toBe('object')
  })

  test('a segment without a session is dropped, whoever sends it', () => {
    const connection = new Connection()
    for (const flags of [ack, fin | ack, rst, syn | ack, 0]) {
      expect(connection.out({ flags, seq: 1 })).toBe('noMapping')
    }
    connection.out({ flags: syn, seq: 100 })
    expect(connection.in({ flags: ack, seq: 1, port: 81 })).toBe('filtered')
    expect(connection.harness.translator.stats().sessions).toBe(1)
  })

  test('1000 connections from one source port, each begun while the last one waits (item TIME-WAIT reuse)', () => {
    const connection = new Connection()
    for (let i = 0; i < 1000; i++) {
      const isn = i * 1000
      connection.out({ flags: syn, seq: isn })
      connection.in({ flags: syn | ack, seq: isn + 7, ack: isn + 1 })
      connection.out({ flags: ack | fin, seq: isn + 1, ack: isn + 8 })
      connection.in({ flags: ack | fin, seq: isn + 8, ack: isn + 2 })
      expect(typeof connection.out({ flags: ack, seq: isn + 2, ack: isn + 9 })).toBe('object')
    }
    expect(connection.harness.translator.stats()).toMatchObject({
      sessions: 1,
      mappingsCreated: 1,
      outOfWindowSegments: 0,
    })
  })

  test('a client that starts over before anybody answered is followed', () => {
    const connection = new Connection()
    connection.out({ flags: syn, seq: 100 })
    connection.out({ flags: syn, seq: 9_000_000 })
    connection.in({ flags: syn | ack, seq: 500, ack: 9_000_001 })
    expect(connection.lifetime()).toBeGreaterThan(2 * hour)
  })

  test('data in the SYN may be acknowledged though the repeated SYN had none (RFC 7413)', () => {
    const connection = new Connection()
    connection.out({ flags: syn, seq: 100, length: 50 })
    connection.harness.advance(1000)
    connection.out({ flags: syn, seq: 100 })
    connection.in({ flags: syn | ack, seq: 500, ack: 151 })
    expect(connection.lifetime()).toBeGreaterThan(2 * hour)
  })

  test('a repeated SYN keeps an opening session', () => {
    const connection = new Connection()
    for (let i = 0; i < 3; i++) {
      connection.out({ flags: syn, seq: 100 })
      connection.harness.advance(3 * minute)
    }
    expect(connection.harness.translator.stats()).toMatchObject({ sessions: 1, mappingsCreated: 1 })
  })

  test('a mapping whose connections are over is gone, its port free at once (RFC 6888 REQ-8 A)', () => {
    const harness = new Harness({ portRange: { first: 7777, last: 7777 } })
    const connection = new Connection(harness).establish()
    connection.in({ flags: rst, seq: 501 })
    harness.advance(4 * minute + 1000)
    expect(harness.translator.stats()).toMatchObject({ sessions: 0, quarantinedPorts: { tcp: 0 } })
    expect(typeof connection.out({ flags: syn, seq: 1, port: 6000 })).toBe('object')
  })
})

describe('window tracking', () => {
  const established = 2 * hour + 4 * minute

  test('a blind RST changes nothing, for any sequence number but those in the window (RFC 7857 §2.2)', () => {
    const connection = new Connection().establish()
    // The client expects 501 and offers 1000 bytes.
    for (const seq of [0, 499, 500, 1502, 70_000, 0x8000_0000, 0xffff_ffff]) {
      expect(typeof connection.in({ flags: rst, seq })).toBe('object')
    }
    expect(connection.harness.translator.stats().outOfWindowSegments).toBe(7)
    expect(connection.lifetime()).toBeGreaterThan(established - 2000)
  })

  test.each([501, 1000, 1501])('a RST at %i belongs', seq => {
    const connection = new Connection().establish()
    connection.in({ flags: rst, seq })
    expect(connection.lifetime()).toBeLessThan(5 * minute)
  })

  test('forged FINs do not close, forged data does not keep alive', () => {
    const connection = new Connection().establish()
    connection.out({ flags: fin | ack, seq: 101, ack: 501 })
    connection.in({ flags: fin | ack, seq: 900_000, ack: 102 })
    connection.in({ flags: fin | ack, seq: 501, ack: 900_000 })
    connection.harness.advance(hour)
    connection.in({ flags: ack, seq: 900_000, ack: 102, length: 5 })
    expect(Math.abs(connection.lifetime() - (established - hour))).toBeLessThanOrEqual(1000)
  })

  test('a SYN-ACK for another SYN does not establish', () => {
    const connection = new Connection()
    connection.out({ flags: syn, seq: 100 })
    connection.in({ flags: syn | ack, seq: 500, ack: 100 })
    connection.in({ flags: syn | ack, seq: 500, ack: 102 })
    expect(connection.lifetime()).toBeLessThan(5 * minute)
  })

  test('strangers are dropped where that is wished', () => {
    const connection = new Connection(new Harness({ dropOutOfWindow: true })).establish()
    expect(connection.in({ flags: rst, seq: 5000 })).toBe('filtered')
    expect(typeof connection.in({ flags: rst, seq: 501 })).toBe('object')
  })

  test('windows are scaled when both sides offer it, and only then (RFC 7323 §2.2)', () => {
    const scale7 = Uint8Array.of(1, 3, 3, 7)
    for (const [serverScales, belongs] of [
      [true, true],
      [false, false],
    ] as const) {
      const connection = new Connection()
      connection.out({ flags: syn, seq: 100, options: scale7 })
      connection.in({ flags: syn | ack, seq: 500, ack: 101, ...(serverScales ? { options: scale7 } : {}) })
      // 1000 << 7 = 128 000 bytes allowed from 501 on.
      connection.out({ flags: ack, seq: 101, ack: 501 })
      connection.in({ flags: ack, seq: 501 + 100_000, ack: 101, length: 1000 })
      expect(connection.harness.translator.stats().outOfWindowSegments).toBe(belongs ? 0 : 1)
    }
  })

  test('the window of a SYN-ACK is never scaled (RFC 7323 §2.2)', () => {
    const scale7 = Uint8Array.of(1, 3, 3, 7)
    const connection = new Connection()
    connection.out({ flags: syn, seq: 100, options: scale7 })
    connection.in({ flags: syn | ack, seq: 500, ack: 101, options: scale7 })
    connection.out({ flags: ack, seq: 101 + 1001, ack: 501, length: 10 })
    expect(connection.harness.translator.stats().outOfWindowSegments).toBe(1)
  })

  test('an acknowledgment far behind what was sent does not belong', () => {
    const connection = new Connection().establish()
    for (let sent = 0; sent < 200_000; sent += 1000) {
      connection.out({ flags: ack, seq: 101 + sent, ack: 501, length: 1000 })
      connection.in({ flags: ack, seq: 501, ack: 101 + sent + 1000 })
    }
    expect(connection.harness.translator.stats().outOfWindowSegments).toBe(0)
    connection.in({ flags: ack, seq: 501, ack: 101 + 200_000 - 66_001 })
    expect(connection.harness.translator.stats().outOfWindowSegments).toBe(1)
    connection.in({ flags: ack, seq: 501, ack: 101 + 200_000 - 66_000 })
    expect(connection.harness.translator.stats().outOfWindowSegments).toBe(1)
  })

  test('packets do not prolong the last four minutes', () => {
    const connection = new Connection().establish()
    connection.out({ flags: fin | ack, seq: 101, ack: 501 })
    connection.in({ flags: fin | ack, seq: 501, ack: 102 })
    for (let i = 0; i < 3; i++) {
      connection.harness.advance(minute)
      expect(typeof connection.out({ flags: ack, seq: 102, ack: 502 })).toBe('object')
    }
    expect(connection.lifetime()).toBeLessThanOrEqual(minute + 1000)
  })

  test('broken options count as absent', () => {
    for (const options of [[3, 0], [3, 40], [3], [2, 1], [254, 255]]) {
      const connection = new Connection()
      connection.out({ flags: syn, seq: 100, options: Uint8Array.from(options) })
      connection.in({ flags: syn | ack, seq: 500, ack: 101 })
      connection.out({ flags: ack, seq: 101, ack: 501 })
      expect(connection.lifetime()).toBeGreaterThan(hour)
    }
  })

  test.each([1, 2, 3, 4, 5])(
    'an honest transfer across the sequence wrap, with loss and reordering: no false alarm (seed %i)',
    seed => {
      const harness = new Harness()
      const connection = new Connection(harness)
      const random = seededRandom(seed)
      const chance = (n: number) => random.uint32() % n
      const start = 0xffff_ff00
      connection.out({ flags: syn, seq: start - 1 })
      connection.in({ flags: syn | ack, seq: 999, ack: start, window: 8000 })
      connection.out({ flags: ack, seq: start, ack: 1000, window: 8000 })
      // The client sends 100-byte segments within the window of 8000; the server acknowledges in order.
      let acknowledged = 0
      let told = 0
      let sent = 0
      const flight: number[] = []
      const arrived = new Set<number>()
      for (let step = 0; step < 3000; step++) {
        if (sent - told < 7900 && chance(3) > 0) {
          flight.push(sent)
          sent += 100
        } else if (flight.length > 0) {
          const at = chance(flight.length)
          const [offset] = flight.splice(at, 1)
          connection.out({ flags: ack, seq: start + offset!, ack: 1000, window: 8000, length: 100 })
          if (chance(10) === 0) flight.push(offset!)
          else arrived.add(offset!)
          while (arrived.has(acknowledged)) acknowledged += 100
          // Some acknowledgments are lost before the translator, and the client doesn't learn of them either.
          if (chance(4) === 0) continue
          told = acknowledged
          connection.in({ flags: ack, seq: 1000, ack: start + acknowledged, window: 8000 })
        }
      }
      expect(acknowledged).toBeGreaterThan(10_000)
      expect(harness.translator.stats().outOfWindowSegments).toBe(0)
    },
  )

  test('a closed window is probed with one byte', () => {
    const connection = new Connection().establish()
    connection.in({ flags: ack, seq: 501, ack: 101, length: 1000 })
    connection.out({ flags: ack, seq: 101, ack: 1501, window: 0 })
    connection.in({ flags: ack, seq: 1501, ack: 101, length: 1 })
    expect(connection.harness.translator.stats().outOfWindowSegments).toBe(0)
  })
})

test('a connection from outside, where the filter allows it, is tracked alike (RFC 6146 §3.5.2.2 V4 INIT)', () => {
  const harness = new Harness({ filteringBehavior: 'endpoint-independent' })
  const connection = new Connection(harness)
  connection.out({ flags: syn, seq: 1, port: 5000 })
  const from = { source: '198.51.100.200', sourcePort: 4000, destination: outside, destinationPort: connection.port }
  const to = { source: client, destination: '198.51.100.200', sourcePort: 5000, destinationPort: 4000 }
  expect(typeof harness.in(tcp({ ...from, flags: syn, sequenceNumber: 10 }))).toBe('object')
  expect(typeof harness.out(tcp({ ...to, flags: syn | ack, sequenceNumber: 20, acknowledgmentNumber: 11 }))).toBe(
    'object',
  )
  harness.in(tcp({ ...from, flags: ack, sequenceNumber: 11, acknowledgmentNumber: 21 }))
  harness.advance(2 * hour)
  expect(typeof harness.in(tcp({ ...from, flags: ack, sequenceNumber: 11, acknowledgmentNumber: 21 }))).toBe('object')
  expect(harness.translator.stats()).toMatchObject({ sessions: 1, outOfWindowSegments: 0 })
})

describe('resetUnknownTcp', () => {
  const segments: [
    string,
    Partial<Segment> & { flags: number },
    { flags: number; seq: number; ack: number } | undefined,
  ][] = [
    ['an ACK', { flags: ack, seq: 1000, ack: 77, length: 10 }, { flags: rst, seq: 77, ack: 0 }],
    ['a FIN without ACK', { flags: fin, seq: 1000, length: 10 }, { flags: rst | ack, seq: 0, ack: 1011 }],
    ['a RST', { flags: rst, seq: 1000 }, undefined],
  ]
  for (const [from, to] of [
    [client, server],
    ['fd00:8::2', '2001:db8:ff::10'],
  ] as const) {
    test.each(segments)(
      `%s from ${from} is answered as by a host without the connection (RFC 9293 §3.5.2)`,
      (_, segment, answer) => {
        const harness = new Harness({ resetUnknownTcp: true })
        const packet = tcp({
          source: from,
          destination: to,
          flags: segment.flags,
          sequenceNumber: segment.seq ?? 0,
          acknowledgmentNumber: segment.ack ?? 0,
          payload: new Uint8Array(segment.length ?? 0),
        })
        expect(harness.out(packet)).toBe('noMapping')
        const [reset] = harness.packets('inbound')
        if (!answer) {
          expect(reset).toBeUndefined()
          return
        }
        expect(isWellFormed(reset!)).toBe(true)
        expect([sourceOf(reset!), sourcePortOf(reset!), destinationOf(reset!), destinationPortOf(reset!)]).toEqual([
          to,
          80,
          from,
          5000,
        ])
        const view = packetView(reset!)
        const at = transportAt(reset!)
        expect({ flags: view.getUint8(at + 13), seq: view.getUint32(at + 4), ack: view.getUint32(at + 8) }).toEqual(
          answer,
        )
      },
    )
  }

  test('is off by default, and limited', () => {
    const silent = new Harness()
    silent.out(tcp({ flags: ack }))
    expect(silent.outputs).toEqual([])
    const harness = new Harness({ resetUnknownTcp: true })
    for (let i = 0; i < 100; i++) harness.out(tcp({ flags: ack }))
    expect(harness.packets('inbound').length).toBe(10)
  })
})
