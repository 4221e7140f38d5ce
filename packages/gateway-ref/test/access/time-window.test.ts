import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { TimeWindow } from '../../src/access/access-policy.ts'
import { isTimeZone, isWithin, nextChange } from '../../src/access/time-window.ts'

const at = (text: string) => Date.parse(text)
const office: TimeWindow = { days: [1, 2, 3, 4, 5], from: 8 * 60, to: 18 * 60, zone: 'Europe/Berlin' }
const night: TimeWindow = { days: [5], from: 22 * 60, to: 6 * 60, zone: 'UTC' }

test('hours are those of the zone, the first minute included and the last not', () => {
  expect(isWithin(office, at('2026-11-25T06:59:59Z'))).toBe(false)
  expect(isWithin(office, at('2026-11-25T07:00:00Z'))).toBe(true)
  expect(isWithin(office, at('2026-11-25T16:59:59Z'))).toBe(true)
  expect(isWithin(office, at('2026-11-25T17:00:00Z'))).toBe(false)
  expect(isWithin(office, at('2026-11-28T10:00:00Z'))).toBe(false)
  // In summer the clocks of Berlin are two hours ahead.
  expect(isWithin(office, at('2026-07-01T06:00:00Z'))).toBe(true)
})

test('hours past midnight belong to the day on which they began', () => {
  expect(isWithin(night, at('2026-11-27T21:59:00Z'))).toBe(false)
  expect(isWithin(night, at('2026-11-27T22:00:00Z'))).toBe(true)
  expect(isWithin(night, at('2026-11-28T05:59:00Z'))).toBe(true)
  expect(isWithin(night, at('2026-11-28T06:00:00Z'))).toBe(false)
  expect(isWithin(night, at('2026-11-27T05:00:00Z'))).toBe(false)
  expect(isWithin(night, at('2026-11-28T22:00:00Z'))).toBe(false)
})

test('equal ends are the whole day', () => {
  const all: TimeWindow = { days: [3], from: 0, to: 0, zone: 'UTC' }
  expect(isWithin(all, at('2026-11-25T00:00:00Z'))).toBe(true)
  expect(isWithin(all, at('2026-11-25T23:59:59Z'))).toBe(true)
  expect(isWithin(all, at('2026-11-26T00:00:00Z'))).toBe(false)
})

test('knows which zones there are', () => {
  expect(isTimeZone('Asia/Kathmandu')).toBe(true)
  expect(isTimeZone('Mars/Olympus')).toBe(false)
})

test('nothing changes before nextChange says so', () => {
  const zones = ['UTC', 'Europe/Berlin', 'Asia/Kathmandu', 'America/St_Johns', 'Australia/Lord_Howe']
  fc.assert(
    fc.property(
      fc.record({
        days: fc.subarray([0, 1, 2, 3, 4, 5, 6]),
        from: fc.nat(1439),
        to: fc.nat(1439),
        zone: fc.constantFrom(...zones),
      }),
      // Around the two changes of the clocks of 2026, and anywhere.
      fc.oneof(
        fc.integer({ min: at('2026-03-28T12:00:00Z'), max: at('2026-03-29T12:00:00Z') }),
        fc.integer({ min: at('2026-10-24T12:00:00Z'), max: at('2026-10-25T12:00:00Z') }),
        fc.integer({ min: at('2026-01-01T00:00:00Z'), max: at('2026-12-31T00:00:00Z') }),
      ),
      (window, now) => {
        const next = nextChange(window, now)
        expect(next).toBeGreaterThan(now)
        expect(next).toBeLessThanOrEqual(now + 24 * 60 * 60_000)
        const before = isWithin(window, now)
        for (let moment = now; moment < next; moment += 30_000) expect(isWithin(window, moment)).toBe(before)
      },
    ),
    { numRuns: 300 },
  )
})
