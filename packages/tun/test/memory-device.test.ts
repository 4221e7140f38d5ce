import { DropReason, PacketBatch, Verdict } from '@twinbore/core/packet'
import { describe, expect, test } from 'vitest'
import { memoryPair } from '../src/memory-device.ts'
import type { PacketDevice } from '../src/packet-device.ts'

const batchOf = (...lengths: number[]): PacketBatch => {
  const batch = new PacketBatch({ capacity: 16 })
  lengths.forEach((length, i) => void batch.push(new Uint8Array(length).fill(i + 1)))
  return batch
}

const readAll = (device: PacketDevice, capacity = 16): Uint8Array[] => {
  const batch = new PacketBatch({ capacity })
  device.read(batch)
  return Array.from({ length: batch.count }, (_, slot) => batch.packet(slot).slice())
}

test('what is written to one end is read from the other, in order, as it was at that time', () => {
  const [left, right] = memoryPair()
  const batch = batchOf(30, 40)
  expect(left.write(batch)).toBe(2)
  batch.bytes.fill(0)
  expect(readAll(right).map(packet => [packet.length, packet[0]])).toEqual([
    [30, 1],
    [40, 2],
  ])
  expect(readAll(left)).toEqual([])
})

test('only slots with the verdict forward are written', () => {
  const [left, right] = memoryPair()
  const batch = batchOf(30, 40, 50)
  batch.drop(0, DropReason.filtered)
  batch.divert(2)
  expect(left.write(batch)).toBe(1)
  expect(readAll(right).map(packet => packet.length)).toEqual([40])
})

describe('bounds', () => {
  test('a full queue drops what is new, and counts it', () => {
    const [left, right] = memoryPair({ queue: 2 })
    const batch = batchOf(30, 40, 50)
    expect(left.write(batch)).toBe(2)
    expect([batch.verdicts[2], batch.drops[DropReason.queueFull]]).toEqual([Verdict.drop, 1])
    expect(left.stats()).toMatchObject({ packetsWritten: 2, bytesWritten: 70, writeDrops: 1 })
    expect(readAll(right)).toHaveLength(2)
    expect(left.write(batchOf(60))).toBe(1)
  })

  test('a packet longer than the MTU is too big', () => {
    const [left] = memoryPair({ mtu: 100 })
    const batch = batchOf(100, 101)
    expect(left.write(batch)).toBe(1)
    expect(batch.drops[DropReason.tooBig]).toBe(1)
  })

  test('a packet longer than a slot of the reader is counted and does not block the next', () => {
    const [left, right] = memoryPair()
    left.write(batchOf(200, 20))
    const batch = new PacketBatch({ capacity: 1, slotBytes: 100 })
    expect(right.read(batch)).toBe(1)
    expect(batch.lengths[0]).toBe(20)
    expect(right.stats()).toMatchObject({ packetsRead: 1, readDrops: 1 })
  })

  test('reading fills a batch up to its end and leaves the rest', () => {
    const [left, right] = memoryPair()
    left.write(batchOf(20, 21, 22))
    expect(readAll(right, 2)).toHaveLength(2)
    expect(readAll(right, 2)).toHaveLength(1)
  })

  test.each([{ mtu: 19 }, { mtu: 65_536 }, { queue: 0 }, { queue: 1.5 }])('refuses %j', options => {
    expect(() => memoryPair(options)).toThrow(RangeError)
  })
})

describe('onReadable', () => {
  test('is called when packets begin to wait, and again until they are read', () => {
    const [left, right] = memoryPair()
    const seen: number[] = []
    right.onReadable = () => seen.push(readAll(right, 1).length)
    left.write(batchOf(20, 21, 22))
    expect(seen).toEqual([1, 1, 1])
  })

  test('is not called again and again for a reader that does not read', () => {
    const [left, right] = memoryPair()
    let calls = 0
    right.onReadable = () => calls++
    left.write(batchOf(20))
    expect(calls).toBe(1)
    left.write(batchOf(20))
    expect(calls).toBe(2)
  })

  test('announces what waited before it was set', () => {
    const [left, right] = memoryPair()
    left.write(batchOf(20))
    let packets = 0
    right.onReadable = () => {
      packets += readAll(right).length
    }
    expect(packets).toBe(1)
  })

  test('two handlers that answer each other do not recurse', () => {
    const [left, right] = memoryPair()
    let hops = 0
    let depth = 0
    let deepest = 0
    const forward = (from: PacketDevice) => () => {
      deepest = Math.max(deepest, ++depth)
      const batch = new PacketBatch({ capacity: 4 })
      if (from.read(batch) > 0 && hops++ < 10_000) from.write(batch)
      depth--
    }
    left.onReadable = forward(left)
    right.onReadable = forward(right)
    left.write(batchOf(20))
    expect(hops).toBe(10_001)
    expect(deepest).toBeLessThanOrEqual(2)
  })
})

test('a closed end takes nothing and loses what waited', () => {
  const [left, right] = memoryPair()
  left.write(batchOf(20))
  right.close()
  right.close()
  expect(readAll(right)).toEqual([])
  const batch = batchOf(20)
  expect(left.write(batch)).toBe(0)
  expect(batch.drops[DropReason.deviceError]).toBe(1)
  left.close()
  expect(left.write(batchOf(20))).toBe(0)
})
