// Many senders share a queue of bounded length, in virtual time; what is handled costs time, what is dropped first costs less.
import { DropReason, PacketBatch, Verdict } from '@twinbore/core/packet'
import { seededRandom } from '@twinbore/core/runtime'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FairShares } from '../../src/data-plane/fair-shares.ts'

const queuePackets = 4000
const packetBytes = 1000
/** Packets a millisecond that a handler can take, and how many dropped ones cost as much as one. */
const capacity = 100
const dropsPerPacket = 8

interface Sender {
  /** Packets a millisecond, while a random source says so. */
  readonly rate: number
  offered: number
  handled: number
  delay: number
}

/** Runs for so many milliseconds; counts from `from` on. */
function simulate(rates: readonly number[], milliseconds: number, from: number, shares?: FairShares) {
  const random = seededRandom(5)
  const word = new Uint8Array(2)
  const chance = () => {
    random.fill(word)
    return (word[0]! * 256 + word[1]!) / 65_536
  }
  const senders: Sender[] = rates.map(rate => ({ rate, offered: 0, handled: 0, delay: 0 }))
  const queue: { owner: number; at: number }[] = []
  const batch = new PacketBatch({ capacity: 64, slotBytes: 16 })
  let budget = 0
  for (let now = 0; now < milliseconds; now++) {
    const arrivals: number[] = []
    for (const [owner, sender] of senders.entries()) {
      for (let n = Math.floor(sender.rate) + Number(chance() < sender.rate % 1); n > 0; n--) arrivals.push(owner)
    }
    // In any order, as on a wire.
    for (let n = arrivals.length - 1; n > 0; n--) {
      const other = Math.floor(chance() * (n + 1))
      ;[arrivals[n], arrivals[other]] = [arrivals[other]!, arrivals[n]!]
    }
    for (const owner of arrivals) {
      if (now >= from) senders[owner]!.offered++
      if (queue.length < queuePackets) queue.push({ owner, at: now })
    }
    budget = Math.min(budget + capacity, capacity)
    while (budget > 0 && queue.length > 0) {
      batch.reset()
      const taken = queue.splice(0, Math.min(64, Math.ceil(budget)))
      for (const { owner } of taken) batch.place(0, packetBytes, owner)
      shares?.police(batch, now)
      shares?.settle(queue.length === 0, now)
      for (const [slot, { owner, at }] of taken.entries()) {
        const passes = batch.verdicts[slot] === Verdict.forward
        budget -= passes ? 1 : 1 / dropsPerPacket
        if (!passes || now < from) continue
        senders[owner]!.handled++
        senders[owner]!.delay = Math.max(senders[owner]!.delay, now - at)
      }
    }
  }
  return { senders, dropped: batch.drops[DropReason.unfairShare]! }
}

const lossOf = ({ offered, handled }: Sender) => 1 - handled / offered
const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0)

describe('one that floods', () => {
  // 20 senders of 1 packet a millisecond, and one of 5 times what can be handled.
  const rates = [500, ...Array<number>(20).fill(1)]

  test('makes the others lose most of what they send, when nothing is done', () => {
    const { senders } = simulate(rates, 2000, 500)
    for (const sender of senders.slice(1)) expect(lossOf(sender)).toBeGreaterThan(0.7)
  })

  test('is cut down to what the others leave, and they lose next to nothing and wait no longer', () => {
    const { senders } = simulate(rates, 4000, 1000, new FairShares())
    const [flooder, ...others] = senders
    for (const sender of others) expect(lossOf(sender)).toBeLessThan(0.01)
    expect(Math.max(...others.map(({ delay }) => delay))).toBeLessThan(20)
    // 480 packets a millisecond to drop cost 60 of 100; 20 are the others'.
    expect(flooder!.handled / 3000).toBeGreaterThan(10)
    expect(sum(senders.map(({ handled }) => handled)) / 3000).toBeGreaterThan(30)
  })

  test('several of them get the same', () => {
    const { senders } = simulate([150, 90, 60, ...Array<number>(10).fill(0.5)], 4000, 1000, new FairShares())
    const flooders = senders.slice(0, 3).map(({ handled }) => handled)
    expect(Math.min(...flooders) / Math.max(...flooders)).toBeGreaterThan(0.8)
    for (const sender of senders.slice(3)) expect(lossOf(sender)).toBeLessThan(0.01)
  })
})

describe('nobody is cut down', () => {
  test.each([
    ['as long as everything can be handled', [60, 10, 10]],
    ['when one is alone, however much it sends', [200]],
  ])('%s', (_, rates) => {
    expect(simulate(rates, 1000, 0, new FairShares()).dropped).toBe(0)
  })

  test('in bursts that are gone within 100 ms', () => {
    const shares = new FairShares()
    const batch = new PacketBatch({ capacity: 64, slotBytes: 16 })
    for (let now = 0; now < 10_000; now++) {
      batch.reset()
      for (let n = 0; n < 64; n++) batch.place(0, packetBytes, Number(n === 0))
      shares.police(batch, now)
      shares.settle(now % 99 === 0, now)
    }
    expect(batch.drops[DropReason.unfairShare]).toBe(0)
  })
})

test('the work ends with the overload', () => {
  const shares = new FairShares()
  const batch = new PacketBatch({ capacity: 64, slotBytes: 16 })
  const turn = (now: number, packets: number, drained: boolean) => {
    batch.reset()
    for (let n = 0; n < packets; n++) batch.place(0, packetBytes, Number(n === 0))
    shares.police(batch, now)
    shares.settle(drained, now)
  }
  for (let now = 0; now < 300; now++) turn(now, 64, false)
  expect(shares.active).toBe(true)
  expect(batch.drops[DropReason.unfairShare]).toBeGreaterThan(0)
  for (let now = 300; now < 1300; now++) turn(now, 2, true)
  expect(shares.active).toBe(false)
})

test('time counts, not batches: who sends a window of packets now and then is cut down once at most', () => {
  const shares = new FairShares()
  const batch = new PacketBatch({ capacity: 1024, slotBytes: 16 })
  const turn = (now: number, owners: number, packets: number, drained: boolean) => {
    batch.reset()
    for (let owner = 0; owner < owners; owner++) {
      for (let n = 0; n < packets; n++) batch.place(0, packetBytes, owner)
    }
    shares.police(batch, now)
    shares.settle(drained, now)
    return batch.drops[DropReason.unfairShare]!
  }
  for (let now = 0; now < 300; now++) turn(now, 500, 1 + (now % 2), false)
  expect(shares.active).toBe(true)
  turn(310, 1, 64, true)
  const dropped = turn(610, 1, 64, true)
  for (let now = 910; now < 4000; now += 300) expect(turn(now, 1, 64, true)).toBe(dropped)
  expect(shares.active).toBe(false)
})

test('whoever takes no more than an equal share of what passes loses nothing (property)', () => {
  const senders = fc.array(fc.integer({ min: 1, max: 64 }), { minLength: 1, maxLength: 12 })
  fc.assert(
    fc.property(senders, fc.integer({ min: 1, max: 7 }), (rates, pause) => {
      const shares = new FairShares()
      const batch = new PacketBatch({ capacity: 1024, slotBytes: 16 })
      const least = Math.min(...rates)
      for (let now = 0; now < 600; now += pause) {
        batch.reset()
        for (const [owner, rate] of rates.entries()) {
          for (let n = 0; n < rate; n++) batch.place(0, packetBytes, owner)
        }
        shares.police(batch, now)
        shares.settle(false, now)
        for (let slot = 0; slot < batch.count; slot++) {
          if (rates[batch.owners[slot]!] === least) expect(batch.verdicts[slot]).toBe(Verdict.forward)
        }
      }
    }),
    { numRuns: 30 },
  )
})
