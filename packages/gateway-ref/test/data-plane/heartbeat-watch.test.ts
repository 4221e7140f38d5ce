import { describe, expect, test } from 'vitest'
import { HeartbeatWatch, isFault, type ThreadActivity, type ThreadState } from '../../src/data-plane/heartbeat-watch.ts'
import { RestartLimit } from '../../src/data-plane/restart-limit.ts'

const asleep = (ranMs: number): ThreadActivity => ({ isRunnable: false, ranMs })
const runnable = (ranMs: number): ThreadActivity => ({ isRunnable: true, ranMs })

/** Looks at a heart that has beaten for the last time, until it is found at fault. */
function lookOn(activityAt: (look: number) => ThreadActivity | undefined, most = 1000) {
  const watch = new HeartbeatWatch()
  const states: ThreadState[] = []
  for (let look = 0; look < most; look++) {
    const state = watch.look(1, activityAt(look))
    states.push(state)
    if (isFault(state)) break
  }
  return { looks: states.length - 1, last: states.at(-1), states: new Set(states) }
}

describe('a thread without a beat', () => {
  test('that has had the processor all the time is in an endless loop, after 250 ms of it', () => {
    expect(lookOn(look => runnable(500 + look * 100))).toMatchObject({ looks: 3, last: 'endless-loop' })
  })

  test('that loops where it gets a tenth of a processor is found as well, later', () => {
    expect(lookOn(look => runnable(look * 10))).toMatchObject({ looks: 25, last: 'endless-loop' })
    // Found asleep at every other look: still it ran.
    expect(lookOn(look => (look % 2 ? asleep(look * 30) : runnable(look * 30)))).toMatchObject({ last: 'endless-loop' })
  })

  test('that gets no processor is starved, and left alone for half a minute', () => {
    const { looks, last, states } = lookOn(() => runnable(500))
    expect([looks, last]).toEqual([300, 'starved-too-long'])
    expect(states).toEqual(new Set(['alive', 'quiet', 'starved', 'starved-too-long']))
  })

  test('that only wants a processor now and then is starved too', () => {
    const { last } = lookOn(look => (look % 10 === 0 ? runnable(0) : asleep(0)))
    expect(last).toBe('starved-too-long')
  })

  test('that sleeps and does nothing else is stuck, after 20 looks', () => {
    const { looks, last, states } = lookOn(() => asleep(500))
    expect([looks, last]).toEqual([20, 'stuck'])
    expect(states.has('starved')).toBe(false)
  })

  test('of which nothing is known is at fault after 30 looks', () => {
    expect(lookOn(() => undefined)).toMatchObject({ looks: 30, last: 'silent' })
    // It is not known at first, and then that it loops.
    expect(lookOn(look => (look < 10 ? undefined : runnable(look * 100)))).toMatchObject({ last: 'endless-loop' })
  })
})

test('a thread whose heart beats may do what it likes', () => {
  const watch = new HeartbeatWatch()
  const states = Array.from({ length: 2000 }, (_, look) => {
    const ranMs = look * 100
    return watch.look(1 + Math.floor(look / 3), look % 2 ? runnable(ranMs) : asleep(ranMs))
  })
  expect(states.filter(isFault)).toEqual([])
})

test('what it was suspected of is forgotten with the next beat', () => {
  const watch = new HeartbeatWatch()
  for (let beat = 1; beat < 50; beat++) {
    for (let look = 0; look < 20; look++) expect(isFault(watch.look(beat, asleep(0)))).toBe(false)
  }
})

test('a thread that has not begun has 200 looks to', () => {
  const states = Array.from(
    { length: 200 },
    (
      (watch = new HeartbeatWatch()) =>
      () =>
        watch.look(0, undefined)
    )(),
  )
  expect(states.indexOf('not-begun')).toBe(199)
})

test('a heart whose count wraps still beats', () => {
  const watch = new HeartbeatWatch()
  const beats = [2 ** 31 - 1, -(2 ** 31), -(2 ** 31) + 1]
  expect(beats.map(beat => watch.look(beat, undefined))).toEqual(['alive', 'alive', 'alive'])
})

test('five restarts in half a minute are allowed, and more when they are spread', () => {
  const limit = new RestartLimit()
  expect([0, 1, 2, 3, 4, 5].map(second => limit.allows(second * 1000))).toEqual([true, true, true, true, true, false])
  expect(limit.recent).toBe(6)
  const patient = new RestartLimit()
  for (let minute = 0; minute < 20; minute++) {
    expect(patient.allows(minute * 60_000)).toBe(true)
    expect(patient.recent).toBe(1)
  }
})
