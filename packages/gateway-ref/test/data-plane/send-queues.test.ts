import { PacketBatch } from '@twinbore/core/packet'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { SendQueues } from '../../src/data-plane/send-queues.ts'

const overhead = 256

/** A record whose first four bytes number it. */
function record(number: number, bytes: number): Uint8Array {
  const record = new Uint8Array(bytes)
  new DataView(record.buffer).setUint32(0, number)
  return record
}

const numberOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset).getUint32(0)

function push(
  queues: SendQueues,
  now: number,
  ...records: readonly (readonly [owner: number, bytes: Uint8Array])[]
): void {
  const batch = new PacketBatch({ capacity: records.length })
  for (const [owner, bytes] of records) batch.push(bytes, owner)
  queues.push(batch, 0, now)
}

/** Takes so many at most, and gives the rest of a batch back. */
function take(queues: SendQueues, count: number, now: number, capacity = 16) {
  const out: { owner: number; bytes: Uint8Array }[] = []
  const batch = new PacketBatch({ capacity })
  while (out.length < count) {
    batch.reset()
    queues.pull(batch, now)
    if (batch.count === 0) break
    const taken = Math.min(batch.count, count - out.length)
    for (let slot = 0; slot < taken; slot++) out.push({ owner: batch.owners[slot]!, bytes: batch.packet(slot).slice() })
    queues.giveBack(taken)
  }
  return out
}

describe('turns', () => {
  test('are by bytes: owners of long and of short records send the same, within a quantum and two records', () => {
    const lengths = fc.array(fc.integer({ min: 60, max: 1400 }), { minLength: 2, maxLength: 8 })
    fc.assert(
      fc.property(
        lengths,
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 50 }),
        (ofOwner, capacity, portion) => {
          const queues = new SendQueues({ quantumBytes: 3000, maxBytes: 1e9, maxOwnerBytes: 1e9 })
          // All have enough for the whole time.
          for (const [owner, bytes] of ofOwner.entries()) {
            push(queues, 0, ...Array.from({ length: 60_000 / bytes }, (_, n) => [owner, record(n, bytes)] as const))
          }
          const sent = ofOwner.map(() => 0)
          const next = ofOwner.map(() => 0)
          for (let total = 0; total < 40_000 * ofOwner.length; ) {
            for (const { owner, bytes } of take(queues, portion, 0, capacity)) {
              expect(numberOf(bytes)).toBe(next[owner]!++)
              sent[owner] = sent[owner]! + bytes.length
              total += bytes.length
            }
            const busy = sent.filter((bytes, owner) => bytes + 1400 < 60_000 - ofOwner[owner]!)
            if (busy.length < sent.length) break
            expect(Math.max(...sent) - Math.min(...sent)).toBeLessThanOrEqual(3000 + 2 * 1400)
          }
        },
      ),
      { numRuns: 40 },
    )
  })

  test('whoever has just begun goes first, but not each time anew', () => {
    const queues = new SendQueues({ quantumBytes: 3000 })
    push(queues, 0, ...Array.from({ length: 100 }, (_, n) => [0, record(n, 1000)] as const))
    expect(take(queues, 10, 0, 1).map(({ owner }) => owner)).toEqual(Array(10).fill(0))
    push(queues, 0, [1, record(0, 100)])
    expect(take(queues, 2, 0, 1).map(({ owner }) => owner)).toEqual([1, 0])
    push(queues, 0, [1, record(1, 100)])
    expect(take(queues, 1, 0, 1)[0]!.owner).toBe(0)
  })
})

describe('in virtual time', () => {
  /** Several owners send more than the socket takes, one sends little. */
  function simulate(milliseconds: number) {
    const queues = new SendQueues()
    const waited: number[] = []
    let sparse = 0
    let bulk = 0
    let most = 0
    const since = new Map<number, number>()
    for (let now = 0; now < milliseconds; now++) {
      for (let owner = 1; owner <= 50; owner++) push(queues, now, [owner, record(0, 1400)], [owner, record(0, 1400)])
      if (now % 50 === 0) {
        push(queues, now, [0, record(now, 100)])
        since.set(now, now)
      }
      most = Math.max(most, queues.bytes)
      for (const { owner, bytes } of take(queues, 10, now)) {
        if (owner === 0) {
          sparse++
          // In the beginning all have just begun.
          if (now > 1000) waited.push(now - since.get(numberOf(bytes))!)
        } else bulk++
      }
    }
    return { sparse, bulk, waited: Math.max(...waited), most }
  }

  test('those who send little lose nothing and hardly wait; memory is bounded; the socket is always full', () => {
    const { sparse, bulk, waited, most } = simulate(5000)
    expect(sparse).toBe(100)
    // What was pulled before goes first: 16 records of 10 a millisecond.
    expect(waited).toBeLessThanOrEqual(3)
    expect(most).toBeLessThanOrEqual(16 * 1024 * 1024 + 1400 + overhead)
    expect(bulk).toBe(5000 * 10 - sparse)
  })

  test('a queue that stands is shortened until it does not, when its sender gives way', () => {
    const queues = new SendQueues()
    // As TCP does: one more in each round of 20 ms, half after a loss.
    let window = 400
    let sinceLoss = 0
    let late = 0
    let sent = 0
    for (let now = 0; now < 20_000; now++) {
      if (now % 20 === 0) {
        push(queues, now, ...Array.from({ length: window }, () => [0, record(now, 1400)] as const))
        window++
      }
      for (const { bytes } of take(queues, 10, now)) {
        sent++
        if (now > 10_000 && now - numberOf(bytes) > 100) late++
      }
      const lost = queues.takeDropped()
      if (lost > 0 && now - sinceLoss > 20) {
        sinceLoss = now
        window = Math.ceil(window / 2)
      }
    }
    expect(late / sent).toBeLessThan(0.02)
    expect(sent / (20_000 * 10)).toBeGreaterThan(0.7)
  })
})

describe('memory', () => {
  test('of one owner and of all has a limit; the longest queue loses its oldest first', () => {
    const queues = new SendQueues({ maxBytes: 100_000, maxOwnerBytes: 60_000 })
    push(queues, 0, ...Array.from({ length: 100 }, (_, n) => [0, record(n, 1000)] as const))
    expect(queues.bytes).toBeLessThanOrEqual(60_000)
    expect(queues.takeDropped()).toBe(100 - Math.floor(60_000 / 1256))
    for (let owner = 1; owner <= 40; owner++) push(queues, 0, [owner, record(0, 1000)])
    expect(queues.bytes).toBeLessThanOrEqual(100_000)
    const rest = take(queues, 1000, 0)
    expect(rest.filter(({ owner }) => owner > 0)).toHaveLength(40)
    const own = rest.filter(({ owner }) => owner === 0).map(({ bytes }) => numberOf(bytes))
    expect(own.at(-1)).toBe(99)
    expect(queues.bytes).toBe(0)
    expect(queues.isEmpty).toBe(true)
  })

  test('is bounded, order is kept and nothing gets lost uncounted, whatever happens (property)', () => {
    const step = fc.record({
      owner: fc.nat(5),
      count: fc.nat(30),
      bytes: fc.integer({ min: 4, max: 1500 }),
      wait: fc.nat(60),
      taken: fc.nat(40),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), steps => {
        const limits = { maxBytes: 60_000, maxOwnerBytes: 30_000 }
        const queues = new SendQueues(limits)
        const last = new Map<number, number>()
        let now = 0
        let number = 0
        let sent = 0
        let dropped = 0
        const check = (records: ReturnType<typeof take>) => {
          for (const { owner, bytes } of records) {
            expect(numberOf(bytes)).toBeGreaterThan(last.get(owner) ?? -1)
            last.set(owner, numberOf(bytes))
            sent++
          }
          dropped += queues.takeDropped()
        }
        for (const { owner, count, bytes, wait, taken } of steps) {
          now += wait
          if (count > 0) {
            push(queues, now, ...Array.from({ length: count }, () => [owner, record(number++, bytes)] as const))
          }
          expect(queues.bytes).toBeLessThanOrEqual(limits.maxBytes)
          check(take(queues, taken, now, 7))
        }
        check(take(queues, Number.POSITIVE_INFINITY, now))
        expect(queues.isEmpty).toBe(true)
        expect(sent + dropped).toBe(number)
      }),
    )
  })
})
