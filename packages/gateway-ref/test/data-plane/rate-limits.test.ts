import { DropReason, PacketBatch, Verdict } from '@twinbore/core/packet'
import { udpPacket } from '@twinbore/core/testing'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { RateLimits } from '../../src/data-plane/rate-limits.ts'

const packetOf = (bytes: number) =>
  udpPacket({
    source: '10.0.0.1',
    sourcePort: 1,
    destination: '10.0.0.2',
    destinationPort: 2,
    payload: new Uint8Array(bytes - 28),
  })

/** Sends packets of a length at a time; returns how many of them passed. */
function offer(limits: RateLimits, session: number, packets: number, now: number, bytes = 1000): number {
  const batch = new PacketBatch({ capacity: packets })
  for (let n = 0; n < packets; n++) batch.push(packetOf(bytes), session)
  limits.limitReceived(batch, now)
  const passed = batch.verdicts.subarray(0, packets).filter(verdict => verdict === Verdict.forward).length
  expect(batch.drops[DropReason.rateLimited]).toBe(packets - passed)
  return passed
}

describe('a limit', () => {
  test('lets a burst of 200 ms through, then goes at the rate', () => {
    const limits = new RateLimits(2)
    limits.set(1, { upload: 8_000_000 })
    // 1000 bytes each millisecond.
    expect(offer(limits, 1, 300, 0)).toBe(200)
    expect(offer(limits, 1, 10, 0)).toBe(0)
    expect(offer(limits, 1, 10, 5)).toBe(5)
    expect(offer(limits, 1, 300, 10_000)).toBe(200)
  })

  test('is each direction and each session for itself', () => {
    const limits = new RateLimits(3)
    limits.set(1, { upload: 64_000 })
    limits.set(2, { download: 64_000 })
    offer(limits, 1, 500, 0)
    expect(offer(limits, 1, 10, 0)).toBe(0)
    expect(offer(limits, 0, 500, 0)).toBe(500)
    expect(offer(limits, 2, 500, 0)).toBe(500)
  })

  test('changes under way: a lower one leaves no more than its burst, and none is none', () => {
    const limits = new RateLimits(1)
    limits.set(0, { upload: 80_000_000 })
    expect(offer(limits, 0, 100, 0)).toBe(100)
    limits.set(0, { upload: 8_000_000 })
    expect(offer(limits, 0, 300, 0)).toBe(200)
    limits.set(0)
    expect(offer(limits, 0, 300, 0)).toBe(300)
    limits.set(0, { upload: 8_000_000 })
    expect(offer(limits, 0, 300, 0)).toBe(200)
  })

  test('counts a super-packet with the headers of all its packets, and lets one of any size through when there is room', () => {
    const limits = new RateLimits(1)
    limits.set(0, { download: 64_000 })
    const batch = new PacketBatch({ capacity: 3, slotBytes: 65_535 })
    for (let n = 0; n < 3; n++) {
      const slot = batch.push(packetOf(60_028), 0)
      batch.segments[slot] = 60
      batch.segmentBytes[slot] = 1000
    }
    limits.limitSent(batch, 0)
    // 65,536 in the bucket: 61,680 for the first, the second runs into debt.
    expect([...batch.verdicts.subarray(0, 3)]).toEqual([Verdict.forward, Verdict.forward, Verdict.drop])
    expect(batch.drops[DropReason.rateLimited]).toBe(60)
    // 57,824 of debt are paid off at 8 bytes a millisecond.
    for (const [now, verdict] of [
      [7000, Verdict.drop],
      [7300, Verdict.forward],
    ] as const) {
      batch.verdicts[0] = Verdict.forward
      limits.limitSent(batch, now)
      expect(batch.verdicts[0]).toBe(verdict)
    }
  })

  test('what passes in any time is no more than burst and rate, and no less than what was offered or the rate', () => {
    const step = fc.record({
      wait: fc.nat(400),
      packets: fc.integer({ min: 1, max: 60 }),
      bytes: fc.integer({ min: 28, max: 1400 }),
    })
    fc.assert(
      fc.property(fc.integer({ min: 64_000, max: 20_000_000 }), fc.array(step, { maxLength: 60 }), (rate, steps) => {
        const limits = new RateLimits(1)
        limits.set(0, { upload: rate })
        const burst = Math.max(65_536, rate / 40)
        let now = 0
        let passed = 0
        let wouldPass = 0
        let tokens = burst
        for (const { wait, packets, bytes } of steps) {
          now += wait
          tokens = Math.min(burst, tokens + (wait * rate) / 8000)
          passed += offer(limits, 0, packets, now, bytes) * bytes
          const fitting = Math.min(packets * bytes, Math.max(0, tokens))
          wouldPass += fitting
          tokens -= fitting
          expect(passed).toBeLessThanOrEqual(burst + (now * rate) / 8000 + 1400)
          expect(passed).toBeGreaterThanOrEqual(wouldPass - 1400)
        }
      }),
    )
  })
})
