import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { hostPortRange, largestFreeRange, withReserved } from '../../src/egress/port-range.ts'

describe('largestFreeRange', () => {
  test.each([
    ['nothing used', [], { first: 10, last: 20 }],
    ['one in the middle', [14], { first: 15, last: 20 }],
    ['the ends', [10, 20], { first: 11, last: 19 }],
    ['used ports outside', [9, 21, 443], { first: 10, last: 20 }],
    ['of equal runs the first', [15], { first: 10, last: 14 }],
    ['everything used', [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20], undefined],
  ])('%s', (_, used, expected) => {
    expect(largestFreeRange({ first: 10, last: 20 }, used)).toEqual(expected)
  })

  test('has no used port, and no run is longer', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 60 })), used => {
        const found = largestFreeRange({ first: 10, last: 50 }, used)
        const free = Array.from({ length: 41 }, (_, i) => !used.includes(10 + i))
        const runs = free.map((_, i) => (free.indexOf(false, i) === -1 ? free.length : free.indexOf(false, i)) - i)
        expect(found ? found.last - found.first + 1 : 0).toBe(Math.max(0, ...runs))
        for (const port of used) expect(found && port >= found.first && port <= found.last).toBeFalsy()
      }),
    )
  })
})

test.each([
  [
    'the defaults of Linux under the default range',
    { first: 32_768, last: 60_999 },
    { first: 20_000, last: 60_999 },
    { first: 61_000, last: 65_535 },
  ],
  [
    'a small range leaves enough',
    { first: 32_768, last: 60_999 },
    { first: 50_000, last: 52_000 },
    { first: 32_768, last: 60_999 },
  ],
  [
    'a range up to the end',
    { first: 32_768, last: 60_999 },
    { first: 20_000, last: 65_535 },
    { first: 10_240, last: 19_999 },
  ],
  ['no overlap', { first: 1024, last: 19_999 }, { first: 20_000, last: 60_999 }, { first: 1024, last: 19_999 }],
])('the host keeps ports for itself: %s', (_, current, taken, expected) => {
  expect(hostPortRange(current, taken)).toEqual(expected)
})

test('reserved ports of others are kept', () => {
  expect(withReserved('', { first: 2, last: 3 })).toBe('2-3')
  expect(withReserved('8080,9000-9010\n', { first: 2, last: 3 })).toBe('8080,9000-9010,2-3')
})
