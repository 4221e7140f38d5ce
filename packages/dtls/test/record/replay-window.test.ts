import fc from 'fast-check'
import { expect, test } from 'vitest'
import { MAX_SEQUENCE } from '../../src/record/record-header.ts'
import { REPLAY_WINDOW_SIZE, ReplayWindow } from '../../src/record/replay-window.ts'

test('is at least 256 wide', () => {
  expect(REPLAY_WINDOW_SIZE).toBeGreaterThanOrEqual(256)
})

test('behaves like a set with a lower edge (model)', () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: -1200, max: 1200 }) },
    { weight: 1, arbitrary: fc.constantFrom(31, 32, 33, 991, 992, 993, 1023, 1024, 1025, 5000, 2 ** 32, 2 ** 33 + 7) },
  )
  fc.assert(
    fc.property(
      fc.constantFrom(0, 1, 2 ** 31, 2 ** 32 - 3, 2 ** 47),
      fc.array(step, { maxLength: 200 }),
      (first, steps) => {
        const window = new ReplayWindow()
        const seen = new Set<number>()
        let highest = -1
        let at = first
        for (const by of steps) {
          const sequence = Math.min(Math.max(0, at + by), MAX_SEQUENCE)
          const expected = !seen.has(sequence) && (highest === -1 || sequence > highest - REPLAY_WINDOW_SIZE)
          expect(window.accepts(sequence)).toBe(expected)
          if (!expected) continue
          window.mark(sequence)
          seen.add(sequence)
          highest = Math.max(highest, sequence)
          at = highest
          expect(window.highest).toBe(highest)
        }
      },
    ),
    { numRuns: 400 },
  )
})

test('asking does not change it', () => {
  const window = new ReplayWindow()
  expect(window.accepts(5)).toBe(true)
  expect(window.accepts(5)).toBe(true)
  window.mark(5)
  expect(window.accepts(5)).toBe(false)
  expect(window.accepts(4)).toBe(true)
})
