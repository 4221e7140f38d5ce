import { expect, test } from 'vitest'
import { ownThreadNumber, parseThreadStat, threadActivity } from '../../src/data-plane/io/thread-activity.ts'

const numbers = '1 2 3 0 -1 4194560 1200 0 12 0 41 9 0 0 20 0 11 0 1234 1000000 5000'

test('a line of the system tells state and time, whatever the name', () => {
  expect(parseThreadStat(`77 (node) R ${numbers}`)).toEqual({ isRunnable: true, ranMs: 500 })
  for (const name of ['a b', 'a) R 1', '(', ')) S']) {
    expect(parseThreadStat(`77 (${name}) S ${numbers}`)).toEqual({ isRunnable: false, ranMs: 500 })
  }
  expect(parseThreadStat(`77 (node) D ${numbers}`)).toEqual({ isRunnable: false, ranMs: 500 })
})

test('a thread that is dead, or a line that is none, tells nothing', () => {
  for (const line of ['', '77 (node)', '77 (node) R', `77 (node) Z ${numbers}`, `77 (node) X ${numbers}`, 'R R R']) {
    expect(parseThreadStat(line)).toBeUndefined()
  }
})

test('the calling thread runs, and its time goes on, where the system tells', () => {
  const own = ownThreadNumber()
  if (process.platform !== 'linux') {
    expect(threadActivity(own)).toBeUndefined()
    return
  }
  expect(own).toBeGreaterThan(0)
  const before = threadActivity(own)!
  expect(before.isRunnable).toBe(true)
  let after = before
  while (after.ranMs <= before.ranMs) after = threadActivity(own)!
  expect(after.isRunnable).toBe(true)
})

test('nobody knows thread 0, or one that is not there', () => {
  expect(threadActivity(0)).toBeUndefined()
  expect(threadActivity(2 ** 30)).toBeUndefined()
})
