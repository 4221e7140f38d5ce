import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Moderation } from '../../src/data-plane/moderation.ts'

/** Notes `packets` every `every` milliseconds until `until`, and `toClients` of them to clients. */
function run(
  moderation: Moderation,
  packets: number,
  every: number,
  until: number,
  { from = 0, toClients = 0 } = {},
): number {
  let now = from
  while (now < until) {
    now += every
    moderation.note(packets, toClients, now)
  }
  return now
}

test('traffic with pauses is never held back', () => {
  const moderation = new Moderation(0)
  run(moderation, 1, 50, 1000)
  expect(moderation.sleepMicroseconds).toBe(0)
  run(moderation, 6, 1, 1100, { from: 1000 })
  expect(moderation.sleepMicroseconds).toBe(0)
})

test('dense traffic sleeps about as long as a good batch takes to pile up, within bounds', () => {
  const moderation = new Moderation(0)
  const now = run(moderation, 40, 0.1, 10)
  // 400 packets a millisecond: 48 of them are there after 120 us.
  expect(moderation.sleepMicroseconds).toBeGreaterThan(115)
  expect(moderation.sleepMicroseconds).toBeLessThan(125)
  run(moderation, 1000, 0.1, now + 10, { from: now })
  expect(moderation.sleepMicroseconds).toBe(50)
})

test('the first packet after a pause ends it', () => {
  const moderation = new Moderation(0)
  const now = run(moderation, 5, 0.1, 10)
  expect(moderation.sleepMicroseconds).toBe(300)
  moderation.note(1, 0, now + 3)
  expect(moderation.sleepMicroseconds).toBe(0)
})

test('what goes to clients waits for a shorter time', () => {
  const moderation = new Moderation(0)
  run(moderation, 5, 0.1, 10, { toClients: 10 })
  expect(moderation.sleepMicroseconds).toBe(100)
})

test('sleeps are 0 or within bounds, whatever comes', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(2000), fc.nat(2000), fc.double({ min: 0, max: 20, noNaN: true }))), steps => {
      const moderation = new Moderation(0)
      let now = 0
      for (const [packets, toClients, elapsed] of steps) {
        now += elapsed
        moderation.note(packets, toClients, now)
        const time = moderation.sleepMicroseconds
        if (time !== 0) expect(time >= 50 && time <= 300).toBe(true)
      }
    }),
  )
})
