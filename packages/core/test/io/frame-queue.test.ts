import { describe, expect, test } from 'vitest'
import { FrameQueue } from '../../src/io/frame-queue.ts'

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
