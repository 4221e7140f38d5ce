import { expect, test } from 'vitest'
import { Permits } from '../../src/data-plane/permits.ts'

const bytes = (n: number) => new Uint8Array(32).fill(n)

test('a session is found by its newest App-ID only', () => {
  const permits = new Permits()
  permits.set(1, bytes(1), bytes(101))
  permits.set(2, bytes(2), bytes(102))
  expect(permits.find(bytes(1))).toEqual({ session: 1, key: bytes(101) })
  permits.set(1, bytes(3), bytes(103))
  expect(permits.find(bytes(1))).toBeUndefined()
  expect(permits.find(bytes(3))).toEqual({ session: 1, key: bytes(103) })
  expect(permits.find(bytes(2))?.session).toBe(2)
  permits.delete(1)
  permits.delete(1)
  expect(permits.find(bytes(3))).toBeUndefined()
  permits.clear()
  expect(permits.size).toBe(0)
})

test('no part and no prefix of an App-ID finds anybody', () => {
  const permits = new Permits()
  permits.set(1, bytes(1), bytes(101))
  for (const part of [bytes(1).subarray(0, 31), new Uint8Array(0), new Uint8Array(33).fill(1)]) {
    expect(permits.find(part)).toBeUndefined()
  }
})
