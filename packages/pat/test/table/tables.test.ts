import { seededRandom } from '@twinbore/core/runtime'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { RowNumbers } from '../../src/table/rows.ts'
import { TimerWheel } from '../../src/table/timer-wheel.ts'

test('row numbers are never handed out twice and stop at the limit', () => {
  const rows = new RowNumbers(1000)
  const taken = new Set<number>()
  for (let i = 0; i < 1000; i++) taken.add(rows.take())
  expect(taken.size).toBe(1000)
  expect(rows.take()).toBe(-1)
  for (const row of [...taken].slice(0, 300)) {
    rows.give(row)
    taken.delete(row)
  }
  for (let i = 0; i < 300; i++) taken.add(rows.take())
  expect(taken.size).toBe(1000)
  expect(Math.max(...taken)).toBe(999)
})

test('the timer wheel meets every row in time, whatever happens in between', () => {
  const action = fc.oneof(
    fc.record({ kind: fc.constant('schedule' as const), row: fc.nat(31), after: fc.nat(2_000_000) }),
    fc.record({ kind: fc.constant('cancel' as const), row: fc.nat(31), after: fc.constant(0) }),
    fc.record({ kind: fc.constant('advance' as const), row: fc.constant(0), after: fc.nat(900_000) }),
  )
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), fc.nat(5_000_000), (actions, start) => {
      const wheel = new TimerWheel(32)
      const due = new Map<number, number>()
      let now = start
      for (const { kind, row, after } of actions) {
        if (kind === 'cancel') {
          if (due.delete(row)) wheel.cancel(row)
        } else if (kind === 'schedule') {
          if (due.has(row)) continue
          due.set(row, now + after)
          wheel.schedule(row, now + after, now)
        } else {
          now += after
          for (let met = wheel.take(now); met !== -1; met = wheel.take(now)) {
            const at = due.get(met)!
            expect(at).toBeDefined()
            if (at <= now) due.delete(met)
            else wheel.schedule(met, at, now)
          }
          for (const at of due.values()) expect(at).toBeGreaterThan(now - 1000)
        }
        expect(wheel.deadline === undefined).toBe(due.size === 0)
        if (due.size > 0) {
          const earliest = Math.min(...due.values())
          expect(wheel.deadline).toBeLessThan(Math.max(earliest, now) + 2000)
        }
      }
    }),
    { numRuns: 300 },
  )
})

test('following the deadline of the wheel, nothing is late by more than a second', () => {
  const random = seededRandom(3)
  const wheel = new TimerWheel(1000)
  const due = new Float64Array(1000)
  for (let row = 0; row < 1000; row++) {
    due[row] = random.uint32() % 8_000_000
    wheel.schedule(row, due[row]!, 0)
  }
  let turns = 0
  for (let deadline = wheel.deadline; deadline !== undefined; deadline = wheel.deadline) {
    turns++
    for (let row = wheel.take(deadline); row !== -1; row = wheel.take(deadline)) {
      if (due[row]! > deadline) wheel.schedule(row, due[row]!, deadline)
      else expect(deadline - due[row]!).toBeLessThanOrEqual(1000)
    }
  }
  expect(turns).toBeLessThan(9000)
})
