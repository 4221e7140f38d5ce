import { expect, test } from 'vitest'
import { nativeCopy } from '../src/io/native-copy.ts'

const copy = nativeCopy()

test("copies between threads' memory and one's own, both ways, and nothing beside it", () => {
  const shared = new Uint8Array(new SharedArrayBuffer(64), 8, 48)
  const own = Uint8Array.from({ length: 64 }, (_, i) => i + 1)
  copy(shared, 4, own.subarray(16), 2, 20)
  expect([...shared]).toEqual([...new Uint8Array(4), ...own.subarray(18, 38), ...new Uint8Array(24)])
  const back = new Uint8Array(30)
  copy(back, 3, shared, 4, 20)
  expect([...back]).toEqual([0, 0, 0, ...own.subarray(18, 38), ...new Uint8Array(7)])
})

test.each([
  [-1, 0, 1],
  [0, -1, 1],
  [8, 0, 1],
  [0, 5, 4],
  [0, 0, -1],
])('refuses what is beyond an array: to %i from %i, %i bytes', (targetAt, sourceAt, length) => {
  const shared = new Uint8Array(new SharedArrayBuffer(8))
  expect(() => copy(shared, targetAt, new Uint8Array(8), sourceAt, length)).toThrow(RangeError)
})
