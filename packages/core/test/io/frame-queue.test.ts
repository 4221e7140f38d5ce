import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FrameQueue, QueueBudget } from '../../src/io/frame-queue.ts'

const frame = (mark: number, length = 10) => new Uint8Array(length).fill(mark)
const limits = { maxBytes: 30, maxFrames: 5, maxControlFrames: 2 }

function drain(queue: FrameQueue): number[] {
  const marks: number[] = []
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) marks.push(next[0]!)
  return marks
}

describe('frames that wait', () => {
  test('leave in order, control frames first', () => {
    const queue = new FrameQueue(limits)
    queue.pushData(frame(1))
    queue.pushData(frame(2))
    queue.pushControl(frame(9))
    expect([queue.frames, queue.bytes]).toEqual([3, 20])
    expect(drain(queue)).toEqual([9, 1, 2])
    expect([queue.frames, queue.bytes, queue.empty]).toEqual([0, 0, true])
  })

  test('beyond the bytes the oldest data is dropped and counted', () => {
    const queue = new FrameQueue(limits)
    for (let i = 1; i <= 5; i++) queue.pushData(frame(i))
    expect(queue.dropped).toBe(2)
    queue.pushData(frame(6, 25))
    expect(queue.dropped).toBe(5)
    expect(drain(queue)).toEqual([6])
  })

  test('beyond the frames too', () => {
    const queue = new FrameQueue(limits)
    for (let i = 1; i <= 8; i++) queue.pushData(frame(i, 1))
    expect(queue.dropped).toBe(3)
    expect(drain(queue)).toEqual([4, 5, 6, 7, 8])
  })

  test('control frames are refused rather than dropped', () => {
    const queue = new FrameQueue(limits)
    expect([queue.pushControl(frame(1)), queue.pushControl(frame(2)), queue.pushControl(frame(3))]).toEqual([
      true,
      true,
      false,
    ])
    expect(drain(queue)).toEqual([1, 2])
  })

  test('memory does not grow with what passed', () => {
    const queue = new FrameQueue({ maxBytes: 1e6, maxFrames: 100, maxControlFrames: 2 })
    queue.pushData(frame(0))
    for (let i = 1; i < 20_000; i++) {
      queue.pushData(frame(i & 0xff))
      expect(queue.shift()?.[0]).toBe((i - 1) & 0xff)
    }
    expect(queue.frames).toBe(1)
    // @ts-expect-error it is private, and what this test is about
    expect(queue.data.length).toBeLessThan(3000)
  })
})

describe('a budget of many queues', () => {
  const each = { maxBytes: 100_000, maxFrames: 1000, maxControlFrames: 2 }

  test('a few have their own limits, a thousand slow ones share, and one more finds room', () => {
    const budget = new QueueBudget(8_000_000)
    const few = Array.from({ length: 4 }, () => new FrameQueue(each, budget))
    for (let round = 0; round < 100; round++) for (const queue of few) queue.pushData(frame(1, 1400))
    for (const queue of few) expect(queue.bytes).toBeGreaterThan(95_000)
    const many = Array.from({ length: 1000 }, () => new FrameQueue(each, budget))
    for (let round = 0; round < 100; round++) for (const queue of many) queue.pushData(frame(1, 1400))
    expect(budget.used).toBeLessThanOrEqual(8_000_000)
    // Those that were full before give way as soon as they get something new.
    for (let round = 0; round < 2; round++) for (const queue of [...few, ...many]) queue.pushData(frame(1, 1400))
    expect(Math.max(...few.map(({ bytes }) => bytes))).toBeLessThan(20_000)
    const late = new FrameQueue(each, budget)
    late.pushData(frame(7, 1400))
    expect(drain(late)).toEqual([7])
    for (const queue of [...few, ...many]) queue.clear()
    expect(budget.used).toBe(0)
  })

  test('is never exceeded, and given back by whatever way frames leave (property)', () => {
    const step = fc.record({
      queue: fc.nat(4),
      act: fc.constantFrom('push', 'push', 'push', 'shift', 'clear'),
      length: fc.integer({ min: 1, max: 3000 }),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), steps => {
        const budget = new QueueBudget(20_000)
        const queues = Array.from({ length: 5 }, () => new FrameQueue({ ...each, maxBytes: 9000 }, budget))
        for (const { queue: n, act, length } of steps) {
          const queue = queues[n]!
          if (act === 'push') queue.pushData(frame(1, length))
          else if (act === 'shift') queue.shift()
          else queue.clear()
          expect(budget.used).toBe(queues.reduce((sum, { bytes }) => sum + bytes, 0))
          expect(budget.used).toBeLessThanOrEqual(20_000)
        }
      }),
    )
  })
})
