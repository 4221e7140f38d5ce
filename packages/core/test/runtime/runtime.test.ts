import {
  assert,
  Counters,
  earliest,
  InvariantError,
  minutes,
  OutputQueue,
  ProtocolError,
  type Random,
  randomBelow,
  seconds,
  seededRandom,
} from '@twinbore/core/runtime'
import { describe, expect, test } from 'vitest'

describe('OutputQueue', () => {
  test('is first in, first out, also while it is refilled', () => {
    const queue = new OutputQueue<number>()
    const taken: (number | undefined)[] = []
    for (let i = 0; i < 10; i++) {
      queue.push(2 * i)
      queue.push(2 * i + 1)
      taken.push(queue.take())
    }
    while (queue.length > 0) taken.push(queue.take())
    expect(taken).toEqual(Array.from({ length: 20 }, (_, i) => i))
    expect(queue.take()).toBeUndefined()
  })
})

test('earliest ignores deadlines that are not set', () => {
  expect(earliest()).toBeUndefined()
  expect(earliest(undefined, undefined)).toBeUndefined()
  expect(earliest(5, undefined, 3, 4)).toBe(3)
  expect(earliest(0, undefined)).toBe(0)
})

test('seconds and minutes are milliseconds', () => {
  expect([seconds(2.5), minutes(2)]).toEqual([2500, 120_000])
})

test('counters count, and a snapshot stays as it was', () => {
  const counters = new Counters(['sent', 'lost'])
  counters.add('sent')
  counters.add('sent', 4)
  const snapshot = counters.snapshot()
  counters.add('lost')
  expect(snapshot).toEqual({ sent: 5, lost: 0 })
  expect(counters.get('lost')).toBe(1)
})

describe('seededRandom', () => {
  const draw = (random: Random, count: number) => Array.from({ length: count }, () => random.uint32())

  test('repeats itself for a seed and differs between seeds', () => {
    expect(draw(seededRandom(1), 20)).toEqual(draw(seededRandom(1), 20))
    expect(draw(seededRandom(1), 20)).not.toEqual(draw(seededRandom(2), 20))
    expect(seededRandom(3).fill(new Uint8Array(9))).toEqual(seededRandom(3).fill(new Uint8Array(9)))
  })

  test.each([0, 1, 7, 0xffffffff])('with seed %d is uniform in every bit', seed => {
    const values = draw(seededRandom(seed), 20_000)
    for (let bit = 0; bit < 32; bit++) {
      const ones = values.filter(value => (value >>> bit) & 1).length
      // Six standard deviations around half.
      expect(Math.abs(ones - 10_000)).toBeLessThan(425)
    }
  })
})

test('randomBelow stays below its bound, reaches every value, and draws again rather than favour some', () => {
  const random = seededRandom(5)
  const counts = new Array<number>(6).fill(0)
  for (let i = 0; i < 6000; i++) counts[randomBelow(random, 6)]!++
  expect(counts.every(count => count > 800 && count < 1200)).toBe(true)
  const draws = [0xffff_ffff, 0xffff_fffe, 8]
  const scripted: Random = { uint32: () => draws.shift()!, fill: bytes => bytes }
  expect(randomBelow(scripted, 10)).toBe(8)
  expect(randomBelow(random, 1)).toBe(0)
})

test('a broken invariant is an InvariantError, a failure keeps its code and cause', () => {
  expect(() => assert(0, 'must not be zero')).toThrow(InvariantError)
  expect(() => assert(1, 'fine')).not.toThrow()
  const cause = new Error('why')
  const error = new ProtocolError('ERR_SOME', 'what', { cause })
  expect([error.code, error.message, error.cause]).toEqual(['ERR_SOME', 'what', cause])
})
