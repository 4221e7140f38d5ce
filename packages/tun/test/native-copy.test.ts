import { PacketBatch, PacketMemory } from '@twinbore/core/packet'
import { expect, test } from 'vitest'
import { nativeCopy } from '../src/io/native-copy.ts'
import { nativeLibrary } from '../src/io/native-library.ts'

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

test("finds the slabs of batches, those in a memory of WebAssembly's too, where they stay", () => {
  const memory = PacketMemory.create(65_536)
  expect(memory).toBeDefined()
  const batches = [0, 1, 2].map(() => new PacketBatch({ capacity: 2, slotBytes: 1000, memory }))
  const addresses = () => batches.map(({ bytes }) => nativeLibrary().addressOf(bytes))
  const before = addresses()
  // The FFI tells the same of the memory as a whole, which is what some callers ask for.
  const base = nativeLibrary().addressOf(memory!.buffer)
  expect(before).toEqual(batches.map(({ bytes }) => base + bytes.byteOffset))
  for (const [i, { bytes }] of batches.entries()) copy(bytes, 7, Uint8Array.of(i + 1, i + 2), 0, 2)
  for (const [i, { bytes }] of batches.entries()) expect([...bytes.subarray(6, 10)]).toEqual([0, i + 1, i + 2, 0])
  expect(addresses()).toEqual(before)
})
