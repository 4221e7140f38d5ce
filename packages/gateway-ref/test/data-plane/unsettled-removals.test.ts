import { describe, expect, test } from 'vitest'
import { UnsettledRemovals } from '../../src/data-plane/unsettled-removals.ts'

const removal = (n: number) => ({ type: 'remove-inside', address: Uint8Array.of(10, 77, 0, n) }) as const

describe('what a data plane was to forget', () => {
  test('is told again to its successor unless it was carried out', () => {
    const removals = new UnsettledRemovals()
    removals.note(removal(1), 5, 4)
    removals.note(removal(2), 7, 4)
    removals.note(removal(3), 9, 5)
    expect(removals.handOn(7)).toEqual([removal(3)])
    // The successor has died as well, before it took anything.
    expect(removals.handOn(0)).toEqual([removal(3)])
    removals.note(removal(4), 6, 0)
    expect(removals.handOn(1)).toEqual([removal(4)])
    expect(removals.handOn(1)).toEqual([])
  })

  test('is not kept for longer', () => {
    const removals = new UnsettledRemovals()
    for (let message = 1; message < 1000; message++) removals.note(removal(1), message, message - 1)
    expect(removals.handOn(998)).toHaveLength(1)
  })

  test('is counted on around 2^31', () => {
    const removals = new UnsettledRemovals()
    removals.note(removal(1), -(2 ** 31), 2 ** 31 - 1)
    expect(removals.handOn(2 ** 31 - 1)).toHaveLength(1)
    removals.note(removal(2), -(2 ** 31) + 5, 2 ** 31 - 1)
    expect(removals.handOn(-(2 ** 31) + 5)).toEqual([])
  })
})
