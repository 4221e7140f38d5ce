import { defaultQuickWatch, Liveness, type LivenessOptions, RoundTrip } from '@twinbore/core'
import type { Milliseconds } from '@twinbore/core/runtime'
import { machineComplianceTests } from '@twinbore/core/testing'
import { describe, expect, test } from 'vitest'

/** Runs a watch up to a time; what it put out, with when. */
function runTo(liveness: Liveness, until: Milliseconds): string[] {
  const seen: string[] = []
  while (liveness.deadline !== undefined && liveness.deadline <= until) {
    const now = liveness.deadline
    liveness.handleDeadline(now)
    for (let out = liveness.poll(); out !== undefined; out = liveness.poll()) seen.push(`${now} ${out.type}`)
  }
  return seen
}

function outputs(liveness: Liveness): string[] {
  const seen: string[] = []
  for (let out = liveness.poll(); out !== undefined; out = liveness.poll()) seen.push(out.type)
  return seen
}

const watch = (options: Partial<LivenessOptions>, roundTrip = new RoundTrip()) =>
  new Liveness({ dpdMs: 0, keepaliveMs: 0, ...options }, roundTrip, 0)

describe('dead-peer detection with an interval of 10 s', () => {
  test('probes after 10 s of silence, again each 5 s, and gives up after 20 s', () => {
    expect(runTo(watch({ dpdMs: 10_000 }), 20_000)).toEqual(['10000 probe', '15000 probe', '20000 dead'])
  })

  test('goes on looking for a channel that it gave up, with ever longer pauses up to a minute', () => {
    const probes = runTo(watch({ dpdMs: 10_000 }), 300_000).slice(3)
    expect(probes.map(line => Number.parseInt(line, 10) - 20_000)).toEqual([
      1000, 3000, 7000, 15_000, 31_000, 63_000, 123_000, 183_000, 243_000,
    ])
  })

  test('counts anything that comes in as life', () => {
    const liveness = watch({ dpdMs: 10_000 })
    expect(runTo(liveness, 14_000)).toEqual(['10000 probe'])
    liveness.noteReceived(false, 14_000)
    expect(runTo(liveness, 30_000)).toEqual(['24000 probe', '29000 probe'])
    liveness.noteReceived(true, 33_000)
    expect(runTo(liveness, 53_000)).toEqual(['43000 probe', '48000 probe', '53000 dead'])
  })

  test('says dead once, and again after another sign of life', () => {
    const liveness = watch({ dpdMs: 1000 })
    expect(runTo(liveness, 100_000).filter(line => line.endsWith('dead'))).toEqual(['2000 dead'])
    expect(liveness.dead).toBe(true)
    liveness.noteReceived(false, 100_000)
    expect(liveness.dead).toBe(false)
    expect(runTo(liveness, 200_000).filter(line => line.endsWith('dead'))).toEqual(['102000 dead'])
  })

  test('passive: only listens, and probes a dead channel once something came in', () => {
    const liveness = watch({ dpdMs: 10_000, passive: true, quick: { ...defaultQuickWatch, abandonMs: 0 } })
    expect(runTo(liveness, 300_000)).toEqual(['20000 dead'])
    liveness.noteReceived(false, 300_000)
    expect(outputs(liveness)).toEqual(['probe'])
    // What comes right behind is answered by that probe.
    liveness.noteReceived(false, 300_010)
    expect(outputs(liveness)).toEqual([])
  })

  test('is off with 0', () => {
    expect(watch({}).deadline).toBeUndefined()
  })
})

describe('keepalive each 20 s', () => {
  test('goes out only when nothing else did', () => {
    const liveness = watch({ keepaliveMs: 20_000 })
    liveness.noteDataSent(5000)
    expect(runTo(liveness, 30_000)).toEqual(['25000 keepalive'])
    liveness.noteControlSent(40_000)
    expect(runTo(liveness, 85_000)).toEqual(['60000 keepalive', '80000 keepalive'])
  })
})

describe('the quick watch', () => {
  test('does nothing while nothing is sent', () => {
    expect(runTo(watch({ quick: defaultQuickWatch }), 60_000)).toEqual([])
  })

  test('fires a volley when what was sent stays unanswered, and calls the channel silent within 0.4 s', () => {
    const liveness = watch({ quick: { ...defaultQuickWatch, recoveryMostMs: 800, abandonMs: 2000 } })
    liveness.noteDataSent(1000)
    liveness.noteDataSent(1010)
    expect(runTo(liveness, 5000)).toEqual([
      '1100 doubted',
      '1100 probe',
      '1120 probe',
      '1140 probe',
      '1160 probe',
      '1180 probe',
      '1200 probe',
      '1400 silent',
      '1600 probe',
      '2000 probe',
      '2800 probe',
      '3400 dead',
      '3600 probe',
      '4400 probe',
    ])
  })

  test('is at rest as soon as anything comes back', () => {
    const liveness = watch({ quick: defaultQuickWatch })
    liveness.noteDataSent(0)
    expect(runTo(liveness, 130)).toEqual(['100 doubted', '100 probe', '120 probe'])
    liveness.noteReceived(false, 130)
    expect(outputs(liveness)).toEqual(['cleared'])
    expect(runTo(liveness, 10_000)).toEqual([])
  })

  test('looks once after data stopped coming in, as the sender may not be heard any more', () => {
    const liveness = watch({ quick: defaultQuickWatch })
    liveness.noteReceived(true, 0)
    liveness.noteReceived(true, 50)
    expect(runTo(liveness, 180)).toEqual(['180 doubted', '180 probe'])
    liveness.noteReceived(false, 190)
    outputs(liveness)
    expect(runTo(liveness, 10_000)).toEqual([])
  })

  test('waits longer on a path whose round trip is long', () => {
    const roundTrip = new RoundTrip()
    roundTrip.answer(roundTrip.issue(0), 600)
    const liveness = watch({ quick: defaultQuickWatch }, roundTrip)
    liveness.noteDataSent(1000)
    const seen = runTo(liveness, 4000)
    expect(seen[0]).toBe('1600 doubted')
    // One more round trip, four times its variation, and 10 ms for the last answer.
    expect(seen.find(line => line.endsWith('silent'))).toBe(`${1700 + 600 + 600 + 10} silent`)
  })

  test('stays silent, whatever comes in, until it is trusted again', () => {
    const liveness = watch({ quick: { ...defaultQuickWatch, abandonMs: 0 } })
    liveness.noteDataSent(0)
    runTo(liveness, 1000)
    liveness.noteReceived(true, 1100)
    expect(outputs(liveness)).toEqual([])
    expect(liveness.silent).toBe(true)
    liveness.restore()
    expect(liveness.silent).toBe(false)
    expect(runTo(liveness, 10_000)).toEqual([])
  })

  test('probes at once on a hint, but not for each of many hints', () => {
    const liveness = watch({ quick: defaultQuickWatch })
    liveness.doubt(0)
    expect(outputs(liveness)).toEqual(['doubted', 'probe'])
    liveness.noteReceived(false, 10)
    liveness.doubt(20)
    expect(outputs(liveness)).toEqual(['cleared'])
    liveness.doubt(1500)
    expect(outputs(liveness)).toEqual(['doubted', 'probe'])
  })
})

describe('as a machine', () => {
  const checks = machineComplianceTests(() => {
    const liveness = new Liveness({ dpdMs: 300, keepaliveMs: 200, quick: defaultQuickWatch }, new RoundTrip(), 1000)
    return {
      machine: liveness,
      inputs: [
        now => liveness.noteDataSent(now),
        now => liveness.noteReceived(true, now),
        now => liveness.doubt(now),
        now => liveness.distrust(now),
        now => liveness.noteReceived(false, now),
      ],
    }
  })
  for (const check of checks) test(check.name, check.run)
})

describe('the round trip', () => {
  test('is smoothed (RFC 6298 §2)', () => {
    const roundTrip = new RoundTrip()
    expect(roundTrip.smoothedMs).toBeUndefined()
    roundTrip.answer(roundTrip.issue(0), 100)
    expect(roundTrip.smoothedMs).toBe(100)
    roundTrip.answer(roundTrip.issue(1000), 1200)
    expect(roundTrip.smoothedMs).toBe(112.5)
  })

  test('knows late answers, and answers to nothing', () => {
    const roundTrip = new RoundTrip()
    const [first, second] = [roundTrip.issue(0), roundTrip.issue(10)]
    expect(roundTrip.answer(second, 50)).toBe(true)
    expect(roundTrip.answer(first, 900)).toBe(true)
    expect(roundTrip.answer(first, 901)).toBe(false)
    expect(roundTrip.answer(4711, 901)).toBe(false)
    expect(roundTrip.answerWithoutId(902)).toBe(false)
  })

  test('takes an answer without echo for a sample only when it is clear whose it is (RFC 6298 §3)', () => {
    const roundTrip = new RoundTrip()
    roundTrip.issue(0)
    roundTrip.issue(500)
    expect(roundTrip.answerWithoutId(600)).toBe(true)
    expect(roundTrip.smoothedMs).toBeUndefined()
    roundTrip.issue(1000)
    expect(roundTrip.answerWithoutId(1040)).toBe(true)
    expect(roundTrip.smoothedMs).toBe(40)
  })

  test('remembers a bounded number of probes', () => {
    const roundTrip = new RoundTrip()
    const first = roundTrip.issue(0)
    for (let i = 0; i < 1000; i++) roundTrip.issue(i)
    expect(roundTrip.answer(first, 2000)).toBe(false)
  })
})
