import { expect, test } from 'vitest'
import { sequenceHash } from '../../src/io/sequence-hash.ts'

test('is a function of its input under a key of its own', () => {
  const [one, other] = [sequenceHash(), sequenceHash()]
  expect(one(Uint8Array.of(1))).toEqual(one(Uint8Array.of(1)))
  expect(one(Uint8Array.of(1))).not.toEqual(one(Uint8Array.of(2)))
  expect(one(Uint8Array.of(1))).not.toEqual(other(Uint8Array.of(1)))
  expect(one(Uint8Array.of(1)).length).toBeGreaterThanOrEqual(8)
})
