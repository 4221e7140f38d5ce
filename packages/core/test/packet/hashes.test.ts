import { HashIndex, KeyedHash } from '@twinbore/core/packet'
import { seededRandom } from '@twinbore/core/runtime'
import fc from 'fast-check'
import { expect, test } from 'vitest'

test('a hash index behaves like a map of sets, also when everything collides', () => {
  const step = fc.record({ add: fc.boolean(), hash: fc.integer({ min: 0, max: 20 }), row: fc.nat(60) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), steps => {
      const index = new HashIndex(4)
      const model = new Map<number, number>()
      for (const { add, hash, row } of steps) {
        const known = model.get(row)
        if (add && known === undefined) {
          index.insert(hash, row)
          model.set(row, hash)
        } else if (!add && known !== undefined) {
          index.remove(known, row)
          model.delete(row)
        }
      }
      expect(index.count).toBe(model.size)
      for (let hash = 0; hash <= 20; hash++) {
        const found: number[] = []
        for (let at = index.find(hash); at !== -1; at = index.findNext(at, hash)) found.push(index.rowAt(at))
        const expected = [...model].filter(([, value]) => value === hash).map(([row]) => row)
        expect(found.sort()).toEqual(expected.sort())
      }
    }),
    { numRuns: 200 },
  )
})

test('keyed hashes differ between instances and spread neighbours', () => {
  const a = new KeyedHash(seededRandom(1))
  const b = new KeyedHash(seededRandom(2))
  expect(a.words2(1, 2)).not.toBe(b.words2(1, 2))
  const buckets = new Int32Array(1024)
  for (let host = 0; host < 64; host++) {
    for (let port = 0; port < 1024; port++) {
      const bucket = a.words4(0, 0, 0xffff, (0x0a080000 + host) ^ (port << 8)) & 1023
      buckets[bucket] = buckets[bucket]! + 1
    }
  }
  // 64 a bucket are expected, a Poisson tail beyond 130 would be a miracle.
  expect(Math.max(...buckets)).toBeLessThan(130)
})

test('a keyed hash of an array is that of its words', () => {
  const hash = new KeyedHash(seededRandom(3))
  const words = Int32Array.of(9, -1, 2, 3, -4, 5, 6, 9)
  expect(hash.words(words, 1, 2)).toBe(hash.words2(-1, 2))
  expect(hash.words(words, 1, 4)).toBe(hash.words4(-1, 2, 3, -4))
  expect(hash.words(words, 1, 6)).toBe(hash.words6(-1, 2, 3, -4, 5, 6))
})
