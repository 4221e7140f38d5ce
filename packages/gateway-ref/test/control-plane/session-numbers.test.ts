import { expect, test } from 'vitest'
import { SessionNumbers } from '../../src/control-plane/session-numbers.ts'

test('a number is given to one owner at a time, and again only after it has rested', () => {
  const numbers = new SessionNumbers<string>(2)
  expect(numbers.take('anna')).toBe(0)
  expect(numbers.take('otto')).toBe(1)
  expect(numbers.take('dora')).toBeUndefined()
  expect([...numbers.taken()]).toEqual(['anna', 'otto'])
  numbers.rest(0)
  expect(numbers.find(0)).toBeUndefined()
  expect(numbers.take('dora')).toBeUndefined()
  numbers.release(0)
  numbers.release(0)
  expect(numbers.take('dora')).toBe(0)
  expect(numbers.find(0)).toBe('dora')
  expect(numbers.take('emil')).toBeUndefined()
})

test('a number that is in use is not released by a late word about its owner before', () => {
  const numbers = new SessionNumbers<string>(2)
  numbers.take('anna')
  numbers.release(0)
  expect(numbers.take('otto')).toBe(1)
})
