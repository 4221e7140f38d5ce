import { Worker } from 'node:worker_threads'
import { PacketBatch } from '@twinbore/core/packet'
import { randomBelow, seededRandom } from '@twinbore/core/runtime'
import { nativeCopy } from '@twinbore/tun/io'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { PacketRing } from '../../src/data-plane/rings/packet-ring.ts'

type Step =
  | { readonly type: 'push'; readonly length: number; readonly owner: number }
  | { readonly type: 'publish' }
  | { readonly type: 'drain'; readonly most: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ type: fc.constant('push' as const), length: fc.nat(300), owner: fc.nat(9) }) },
  { weight: 2, arbitrary: fc.constant({ type: 'publish' as const }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('drain' as const), most: fc.integer({ min: 1, max: 8 }) }) },
)

const packetOf = (number: number, length: number) => Uint8Array.from({ length }, (_, i) => (number * 7 + i) & 0xff)

describe('a ring', () => {
  test('gives what was published, once, in order and whole, and nothing else, wherever it wraps', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), fc.integer({ min: -3000, max: 0 }), (steps, start) => {
        const memory = PacketRing.allocate(1024)
        // Both counts begin shortly before they wrap.
        new Int32Array(memory).fill(start & ~7, 0, 2)
        const writer = new PacketRing(memory)
        const reader = new PacketRing(memory)
        const pushed: { bytes: Uint8Array; owner: number }[] = []
        const published: typeof pushed = []
        let dropped = 0
        for (const [number, next] of steps.entries()) {
          if (next.type === 'push') {
            const bytes = packetOf(number, next.length)
            if (writer.push(bytes, 0, bytes.length, next.owner)) pushed.push({ bytes, owner: next.owner })
            else dropped++
          } else if (next.type === 'publish') {
            writer.publish()
            published.push(...pushed.splice(0))
          } else {
            const got: typeof pushed = []
            reader.drain((bytes, offset, length, owner) => {
              got.push({ bytes: bytes.slice(offset, offset + length), owner })
              return got.length < next.most
            })
            expect(got).toEqual(published.splice(0, next.most))
          }
        }
        expect(reader.isEmpty).toBe(published.length === 0)
        expect(writer.dropped).toBe(dropped)
      }),
      { numRuns: 300 },
    )
  })

  test('takes as much as it has room for, drops the rest, and has all its room again when it is drained', () => {
    const ring = new PacketRing(PacketRing.allocate(1024))
    for (let round = 0; round < 3; round++) {
      for (let n = 0; n < 8; n++) expect(ring.push(packetOf(n, 120), 0, 120, n)).toBe(true)
      expect(ring.push(packetOf(9, 1), 0, 1, 9)).toBe(false)
      expect(ring.dropped).toBe(round + 1)
      ring.publish()
      const batch = new PacketBatch({ capacity: 16 })
      expect(ring.drainTo(batch)).toBe(8)
      expect(batch.packet(7)).toEqual(packetOf(7, 120))
      expect(batch.owners[7]).toBe(7)
    }
  })

  test.each([
    ['views', undefined],
    ['memcpy', nativeCopy()],
  ])('carries packets of any length, up to more than one end copies at once, by %s', (_, copy) => {
    const memory = PacketRing.allocate(1 << 18)
    const [writer, reader] = [new PacketRing(memory, copy), new PacketRing(memory, copy)]
    const random = seededRandom(7)
    const sums: number[] = []
    for (let round = 0; round < 200; round++) {
      const pushed: Uint8Array[] = []
      for (let n = round % 5; n >= 0; n--) {
        const length = n === 0 ? randomBelow(random, 70_000) : randomBelow(random, 3000)
        const bytes = packetOf(round + n, length)
        if (writer.push(bytes, 0, length, round)) pushed.push(bytes)
      }
      writer.publish()
      reader.drain((bytes, offset, length, owner) => {
        const same = Buffer.compare(bytes.subarray(offset, offset + length), pushed.shift()!) === 0
        if (!same || owner !== round) throw new Error(`round ${round}: another packet`)
        sums.push(length)
        return true
      })
      expect(pushed).toEqual([])
      expect(reader.isEmpty).toBe(true)
    }
    expect(writer.dropped).toBe(0)
    expect(Math.max(...sums)).toBeGreaterThan(65_536)
  })

  test('takes a part of a slab', () => {
    const ring = new PacketRing(PacketRing.allocate(1024))
    ring.push(Uint8Array.of(1, 2, 3, 4), 1, 2, 5)
    ring.publish()
    const batch = new PacketBatch({ capacity: 1 })
    ring.drainTo(batch)
    expect(batch.packet(0)).toEqual(Uint8Array.of(2, 3))
  })

  test('wakes a reader that waits, once, and one that comes too late does not wait', () => {
    const ring = new PacketRing(PacketRing.allocate(1024))
    ring.push(packetOf(1, 10), 0, 10, 0)
    expect(ring.publish()).toBe(false)
    expect(ring.willWait()).toBe(false)
    ring.drain(() => true)
    expect(ring.willWait()).toBe(true)
    expect(ring.publish()).toBe(false)
    ring.push(packetOf(1, 10), 0, 10, 0)
    expect(ring.publish()).toBe(true)
    ring.push(packetOf(1, 10), 0, 10, 0)
    expect(ring.publish()).toBe(false)
  })

  test.each([0, 1000, 512, 2 ** 31])('of %i bytes is refused', bytes => {
    expect(() => PacketRing.allocate(bytes)).toThrow(RangeError)
  })

  test('loses and mixes up nothing between two threads', async () => {
    const memory = PacketRing.allocate(4096)
    const count = 20_000
    // The writer knows the layout only: a few lines of another hand.
    const writer = new Worker(
      `const { workerData: { memory, count } } = require('node:worker_threads')
       const words = new Int32Array(memory), bytes = new Uint8Array(memory, 64), size = bytes.length
       let at = 0
       for (let n = 0; n < count; n++) {
         const length = n % 97 + 4, need = 8 + ((length + 7) & ~7)
         let start = at % size
         const skip = start + need > size ? size - start : 0
         while (at + skip + need - Atomics.load(words, 1) > size);
         if (skip) { words[16 + (start >> 2)] = -1; at += skip; start = 0 }
         words[16 + (start >> 2)] = length
         words[17 + (start >> 2)] = n
         bytes.fill(n & 0xff, start + 8, start + 8 + length)
         at += need
         Atomics.store(words, 0, at)
       }`,
      { eval: true, workerData: { memory, count } },
    )
    const ring = new PacketRing(memory)
    let next = 0
    const ended = new Promise(resolve => writer.once('exit', resolve))
    while (next < count) {
      ring.drain((bytes, offset, length, owner) => {
        if (owner !== next || length !== (next % 97) + 4) throw new Error(`packet ${next} is ${owner}`)
        if (bytes[offset] !== (next & 0xff) || bytes[offset + length - 1] !== (next & 0xff)) throw new Error('torn')
        next++
        return true
      })
      await new Promise(setImmediate)
    }
    await ended
    expect(ring.isEmpty).toBe(true)
  })
})
