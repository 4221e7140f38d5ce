// The parts of a connection against models that are slow and plain. FUZZ_RUNS and FUZZ_SEED as elsewhere.
import { describe, expect, test } from 'vitest'
import { CongestionWindow, initialWindow } from '../../../src/netstack/tcp/congestion.ts'
import { Delivery } from '../../../src/netstack/tcp/delivery.ts'
import { InitialSequences } from '../../../src/netstack/tcp/initial-sequence.ts'
import { MemoryBudget } from '../../../src/netstack/tcp/memory-budget.ts'
import { ReceiveBuffer } from '../../../src/netstack/tcp/receive-buffer.ts'
import { RoundTrip } from '../../../src/netstack/tcp/rto.ts'
import { Scoreboard } from '../../../src/netstack/tcp/scoreboard.ts'
import { isBefore, toPosition, toSequenceNumber } from '../../../src/netstack/tcp/sequence.ts'
import { type Seeded, seededRandomOf } from './seeded.ts'

const runs = Number(process.env.FUZZ_RUNS ?? 0)
const firstSeed = Number(process.env.FUZZ_SEED ?? 1)
const seeds = (atLeast: number) => Array.from({ length: Math.max(atLeast, runs / 100) }, (_, i) => firstSeed + i)

test('positions survive the wire, wherever the stream begins and however long it is', () => {
  const random = seededRandomOf(firstSeed)
  for (let i = 0; i < 20_000; i++) {
    const initial = random.pick([0, 1, 0xffff_ffff, 0x8000_0000, random.below(2 ** 32)])
    const near = random.below(2 ** 32) * random.pick([0, 1, 1000, 2 ** 20])
    const position = near + random.below(2 ** 31) * random.pick([-1, 1])
    expect(toPosition(toSequenceNumber(position, initial), initial, near)).toBe(position)
    if (position !== near) {
      const before = isBefore(toSequenceNumber(position, initial), toSequenceNumber(near, initial))
      expect(before).toBe(position < near)
    }
  }
})

describe('the receive buffer keeps what a set of bytes would', () => {
  test.each(seeds(20))('seed %i', seed => {
    const random = seededRandomOf(seed)
    const memory = new MemoryBudget(2 ** 24)
    const buffer = new ReceiveBuffer(memory, 20_000, 20_000)
    buffer.offerWindow(1)
    const total = 60_000
    const has = new Uint8Array(total + 2)
    let read = 1
    for (let step = 0; step < 3000 && read <= total; step++) {
      const edge = buffer.next + buffer.offeredWindow
      const start = Math.max(1, buffer.next + random.below(6000) - 2000)
      const length = Math.min(random.below(1500), total + 1 - start)
      if (length <= 0) continue
      const fin = start + length === total + 1
      const end = Math.min(start + length, edge)
      const bytes = Uint8Array.from({ length }, (_, i) => byteOf(start + i))
      if (start < edge) buffer.receive(start, bytes, 0, length, fin)
      for (let at = start; at < end; at++) has[at] = 1
      let next = Math.min(read, buffer.next)
      while (has[next]) next++
      expect(Math.min(buffer.next, total + 1)).toBe(next)
      if (random.below(3) === 0) {
        const target = new Uint8Array(random.below(5000))
        const got = buffer.read(target)
        for (let i = 0; i < got; i++) if (target[i] !== byteOf(read + i)) throw new Error(`wrong byte at ${read + i}`)
        read += got
        buffer.offerWindow(500)
      }
      checkReport(buffer, has, edge)
      expect(memory.usedBytes).toBe(buffer.heldBytes)
      expect(buffer.heldBytes).toBeLessThanOrEqual(20_000 + 2 * 8192)
    }
    buffer.clear()
    expect(memory.usedBytes).toBe(0)
  })
})

/** Every block is whole, disjoint from the others and from what is in order, unless it is the duplicate in front. */
function checkReport(buffer: ReceiveBuffer, has: Uint8Array, edge: number): void {
  const edges = new Uint32Array(8)
  const blocks = buffer.ranges.report(edges, 4, 0)
  const seen = new Set<number>()
  for (let block = 0; block < blocks; block++) {
    const [left, right] = [edges[2 * block]!, edges[2 * block + 1]!]
    expect(left).toBeLessThan(right)
    expect(right).toBeLessThanOrEqual(Math.max(edge, buffer.next) + 1)
    if (block === 0 && (right <= buffer.next || blocks > 1)) continue
    expect(left).toBeGreaterThan(buffer.next)
    expect(seen.has(left)).toBe(false)
    seen.add(left)
    for (let at = left; at < right - 1; at++) if (!has[at]) throw new Error(`${at} was never there`)
  }
}

const byteOf = (position: number): number => (position * 13 + (position >>> 9)) & 0xff

interface ModelSegment {
  start: number
  end: number
  sentAt: number
  state: 'flying' | 'lost' | 'sacked'
}

describe('the scoreboard counts what a list of segments would', () => {
  test.each(seeds(20))('seed %i', seed => {
    const random = seededRandomOf(seed)
    const board = new Scoreboard()
    let model: ModelSegment[] = []
    let next = 1
    let now = 0
    for (let step = 0; step < 1500; step++) {
      now += random.below(3)
      const delivery = new Delivery()
      switch (random.below(8)) {
        case 0:
        case 1:
        case 2: {
          const length = 1 + random.below(1400)
          board.add(next, next + length, now)
          model.push({ start: next, end: next + length, sentAt: now, state: 'flying' })
          next += length
          break
        }
        case 3: {
          const position = pickPosition(random, model, next)
          board.acknowledge(position, delivery)
          model = model.filter(segment => segment.end > position)
          if (model[0] && model[0].start < position) model[0].start = position
          break
        }
        case 4: {
          const [left, right] = [pickPosition(random, model, next), pickPosition(random, model, next)].sort(
            (a, b) => a - b,
          )
          board.sack(left!, right!, delivery)
          for (const segment of model) if (segment.start >= left! && segment.end <= right!) segment.state = 'sacked'
          break
        }
        case 5: {
          const slot = board.oldestInFlight
          if (slot === -1) break
          const start = board.startOf(slot)
          board.markLost(slot)
          model.find(segment => segment.start === start)!.state = 'lost'
          break
        }
        case 6: {
          const slot = board.firstLost()
          const expected = model.find(({ state }) => state === 'lost')
          expect(slot === -1 ? undefined : board.startOf(slot)).toBe(expected?.start)
          if (!expected) break
          board.resend(slot, now)
          Object.assign(expected, { state: 'flying', sentAt: now })
          break
        }
        default:
          if (random.below(90) < 3) {
            board.forgetSacks()
            for (const segment of model) if (segment.state === 'sacked') segment.state = 'lost'
          } else if (random.below(90) < 4) {
            board.forgetLosses()
            for (const segment of model) if (segment.state === 'lost') segment.state = 'flying'
          } else if (random.below(90) < 5) {
            const limit = 200 + random.below(1000)
            board.resegment(limit)
            model = model.flatMap(segment => cut(segment, limit))
          }
      }
      compare(board, model)
    }
  })
})

function pickPosition(random: Seeded, model: ModelSegment[], next: number): number {
  const segment = model[random.below(Math.max(1, Math.min(model.length, 20)))]
  if (!segment) return next
  return random.pick([
    segment.start,
    segment.end,
    segment.end,
    segment.start + 1 + random.below(segment.end - segment.start),
  ])
}

function cut(segment: ModelSegment, limit: number): ModelSegment[] {
  if (segment.state === 'sacked' || segment.end - segment.start <= limit) return [segment]
  const pieces: ModelSegment[] = []
  for (let start = segment.start; start < segment.end; start += limit)
    pieces.push({ ...segment, start, end: Math.min(segment.end, start + limit), state: 'lost' })
  return pieces
}

function compare(board: Scoreboard, model: ModelSegment[]): void {
  const bytesIn = (state: string) =>
    model.reduce((sum, segment) => sum + (segment.state === state ? segment.end - segment.start : 0), 0)
  expect([board.size, board.lostBytes, board.sackedBytes]).toEqual([model.length, bytesIn('lost'), bytesIn('sacked')])
  expect(board.sackedCount).toBe(model.filter(({ state }) => state === 'sacked').length)
  expect(board.hasReneged).toBe(model[0]?.state === 'sacked')
  const flying: number[] = []
  let before = -1
  for (let slot = board.oldestInFlight; slot !== -1; slot = board.sentAfter(slot)) {
    expect(board.sentAtOf(slot)).toBeGreaterThanOrEqual(before)
    before = board.sentAtOf(slot)
    flying.push(board.startOf(slot))
  }
  expect(flying.sort((a, b) => a - b)).toEqual(
    model.filter(({ state }) => state === 'flying').map(({ start }) => start),
  )
}

describe('round trips (RFC 6298 §2)', () => {
  test('1 s at first, then what was measured and four times how much it varies', () => {
    const roundTrip = new RoundTrip(1000, 1, 60_000)
    expect(roundTrip.rtoMs).toBe(1000)
    roundTrip.sample(100, 1, 0)
    expect([roundTrip.smoothedMs, roundTrip.rtoMs]).toEqual([100, 300])
    roundTrip.sample(200, 1, 0)
    // RTTVAR = 3/4 * 50 + 1/4 * 100, SRTT = 7/8 * 100 + 1/8 * 200
    expect([roundTrip.smoothedMs, roundTrip.rtoMs]).toEqual([112.5, 112.5 + 4 * 62.5])
  })

  test('doubles, at most to the maximum, and goes back', () => {
    const roundTrip = new RoundTrip(1000, 300, 60_000)
    roundTrip.sample(10, 1, 0)
    const seen = Array.from({ length: 10 }, () => {
      roundTrip.backOff()
      return roundTrip.rtoMs
    })
    expect(seen).toEqual([620, 1240, 2480, 4960, 9920, 19_840, 39_680, 60_000, 60_000, 60_000])
    roundTrip.resetBackOff()
    expect(roundTrip.rtoMs).toBe(310)
  })

  test('the least one is forgotten after some minutes', () => {
    const roundTrip = new RoundTrip(1000, 300, 60_000)
    roundTrip.sample(10, 1, 0)
    for (let now = 0; now < 600_000; now += 1000) roundTrip.sample(80, 1, now)
    expect(roundTrip.minMs).toBe(80)
  })
})

describe('the congestion window (RFC 9438)', () => {
  const mss = 1000
  /** One round trip's worth of acknowledgements. */
  const round = (window: CongestionWindow, rtt: number, now: number) => {
    const bytes = window.window
    for (let done = 0; done < bytes; done += 2 * mss) window.onAcknowledged(2 * mss, rtt, now)
  }

  test('doubles in slow start', () => {
    const window = new CongestionWindow(mss)
    expect(window.window).toBe(initialWindow(mss))
    round(window, 100, 0)
    expect(window.window).toBe(20 * mss)
  })

  test('a loss leaves 0.7 of it, a timeout one segment', () => {
    const window = new CongestionWindow(mss)
    window.onLoss(10 * mss)
    expect([window.window, window.slowStartThreshold]).toEqual([7000, 7000])
    window.onTimeout(7 * mss, false)
    expect(window.window).toBe(mss)
    expect(window.slowStartThreshold).toBeCloseTo(4900)
  })

  test('on a long path it comes back to where it was after K seconds, and beyond slowly, then fast (§4.2)', () => {
    const window = new CongestionWindow(mss)
    const rtt = 100
    while (window.window < 1_000_000) round(window, rtt, 0)
    const before = window.window / mss
    window.onLoss(window.window)
    const plateau = Math.cbrt((before * 0.3) / 0.4) * 1000
    const at = (ms: number) => {
      const samples: number[] = []
      for (let now = 0; now <= ms; now += rtt) {
        round(window, rtt, now)
        samples.push(window.window / mss)
      }
      return samples
    }
    const samples = at(2 * plateau)
    const middle = samples[Math.round(plateau / rtt)]!
    expect(middle / before).toBeGreaterThan(0.97)
    expect(middle / before).toBeLessThan(1.05)
    expect(samples.at(-1)! / before).toBeGreaterThan(1.2)
  })

  test('on a short path it is no slower than Reno (§4.3)', () => {
    const window = new CongestionWindow(mss)
    window.onLoss(20 * mss)
    const start = window.window / mss
    for (let i = 0; i < 40; i++) round(window, 5, 5 * i)
    expect(window.window / mss - start).toBeGreaterThan(40 * 0.5)
  })

  test('a flow that lost ground gives up more of it (§4.7)', () => {
    const [fresh, losing] = [new CongestionWindow(mss), new CongestionWindow(mss)]
    losing.undo(40 * mss, Number.POSITIVE_INFINITY)
    losing.onLoss(40 * mss)
    for (const window of [fresh, losing]) {
      window.window = 20 * mss
      window.onLoss(20 * mss)
      for (let now = 0; now <= 2500; now += 500) round(window, 500, now)
    }
    expect(losing.window).toBeLessThan(fresh.window)
  })
})

test('initial sequence numbers: 4 µs a step, and another place for every pair of ends (RFC 6528)', () => {
  const hash = (bytes: Uint8Array) => {
    const random = seededRandomOf(bytes.reduce((sum, byte) => Math.imul(sum, 31) + byte, 7))
    return random.fill(new Uint8Array(8))
  }
  const source = new InitialSequences(hash)
  const end = (last: number, port: number) => ({ address: Uint8Array.of(10, 0, 0, last), port })
  const first = source.sequenceNumber(end(1, 1), end(2, 2), 1000)
  expect((source.sequenceNumber(end(1, 1), end(2, 2), 1001) - first) >>> 0).toBe(250)
  const others = [source.sequenceNumber(end(1, 2), end(2, 2), 1000), source.sequenceNumber(end(2, 2), end(1, 1), 1000)]
  expect(new Set([first, ...others]).size).toBe(3)
  expect(source.timestampOffset(end(1, 1), end(2, 2))).toBe(source.timestampOffset(end(1, 1), end(2, 2)))
})
