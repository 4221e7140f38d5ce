import { expect, test } from 'vitest'
import { HeartbeatWatch } from '../../src/data-plane/heartbeat-watch.ts'
import { RestartLimit } from '../../src/data-plane/restart-limit.ts'

test('a heart that stands still at so many looks in a row has stopped, one that beats in between has not', () => {
  const watch = new HeartbeatWatch(3)
  const looks = [1, 1, 1, 2, 2, 2, 3, 3, 3, 3].map(beat => watch.look(beat))
  expect(looks).toEqual([...Array<boolean>(9).fill(false), true])
})

test('a heart whose count wraps still beats', () => {
  const watch = new HeartbeatWatch(1)
  expect([2 ** 31 - 1, -(2 ** 31), -(2 ** 31) + 1].map(beat => watch.look(beat))).toEqual([false, false, false])
})

test('five restarts in half a minute are allowed, and more when they are spread', () => {
  const limit = new RestartLimit()
  expect([0, 1, 2, 3, 4, 5].map(second => limit.allows(second * 1000))).toEqual([true, true, true, true, true, false])
  const patient = new RestartLimit()
  for (let minute = 0; minute < 20; minute++) expect(patient.allows(minute * 60_000)).toBe(true)
})
