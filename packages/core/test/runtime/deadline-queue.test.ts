import { DeadlineQueue } from '@twinbore/core/runtime'
import fc from 'fast-check'
import { expect, test } from 'vitest'

test('behaves like a sorted list (model)', () => {
  const key = fc.nat({ max: 30 })
  const step = fc.oneof(
    // Few deadlines, so that many are equal.
    { weight: 4, arbitrary: fc.record({ set: key, at: fc.nat({ max: 4 }) }) },
    { weight: 1, arbitrary: fc.record({ delete: key }) },
    { weight: 2, arbitrary: fc.record({ take: fc.nat({ max: 4 }) }) },
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), steps => {
      const queue = new DeadlineQueue(2)
      let model: { key: number; at: number }[] = []
      for (const step of steps) {
        if ('set' in step) {
          queue.set(step.set, step.at)
          model = model.filter(entry => entry.key !== step.set)
          const after = model.findIndex(entry => entry.at > step.at)
          model.splice(after === -1 ? model.length : after, 0, { key: step.set, at: step.at })
        } else if ('delete' in step) {
          expect(queue.delete(step.delete)).toBe(model.some(entry => entry.key === step.delete))
          model = model.filter(entry => entry.key !== step.delete)
        } else {
          const expected = model[0] !== undefined && model[0].at <= step.take ? model.shift()!.key : -1
          expect(queue.takeExpired(step.take)).toBe(expected)
        }
        expect(queue.deadline).toBe(model[0]?.at)
        expect(queue.size).toBe(model.length)
        for (let key = 0; key <= 31; key++) expect(queue.get(key)).toBe(model.find(entry => entry.key === key)?.at)
      }
    }),
    { numRuns: 500 },
  )
})

test('empties a hundred thousand keys in order', () => {
  const queue = new DeadlineQueue()
  for (let key = 0; key < 100_000; key++) queue.set(key, (key * 7919) % 100_003)
  const taken: number[] = []
  for (let at = queue.deadline; at !== undefined; at = queue.deadline) {
    if (queue.takeExpired(at - 1) !== -1) throw new Error('taken too early')
    queue.takeExpired(at)
    taken.push(at)
  }
  expect(taken.length).toBe(100_000)
  expect(taken.every((at, i) => i === 0 || at > taken[i - 1]!)).toBe(true)
  expect(queue.takeExpired(Infinity)).toBe(-1)
})

test('refuses keys and deadlines that are none', () => {
  const queue = new DeadlineQueue()
  expect(() => queue.set(-1, 5)).toThrow(RangeError)
  expect(() => queue.set(0.5, 5)).toThrow(RangeError)
  expect(() => queue.set(1, Number.NaN)).toThrow(RangeError)
})
