import { PacketBatch, Verdict } from '@twinbore/core/packet'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MAX_SEGMENTS, TrainRefusals, trainEnd } from '../../src/io/linux/udp-trains.ts'

interface Slot {
  readonly owner: number
  readonly length: number
  readonly verdict: Verdict
}

/** The rules one after the other, over lists. */
function trainsByRule(slots: readonly Slot[], maxBytes: number): number[][] {
  const trains: number[][] = []
  const lengthOf = (slot: number) => slots[slot]!.length
  slots.forEach(({ owner, length, verdict }, slot) => {
    if (verdict !== Verdict.forward) return
    const train = trains.at(-1)
    if (train) {
      const size = lengthOf(train[0]!)
      const bytes = train.reduce((sum, member) => sum + lengthOf(member), 0)
      const fits =
        slots[train[0]!]!.owner === owner &&
        train.every(member => lengthOf(member) === size) &&
        size > 0 &&
        length > 0 &&
        length <= size &&
        train.length < MAX_SEGMENTS &&
        bytes + length <= maxBytes
      if (fits) {
        train.push(slot)
        return
      }
    }
    trains.push([slot])
  })
  return trains
}

function trainsOf(slots: readonly Slot[], maxBytes: number): number[][] {
  const batch = new PacketBatch({ capacity: Math.max(1, slots.length), slotBytes: 1 })
  for (const { owner, length, verdict } of slots) {
    const slot = batch.place(0, length, owner)
    batch.verdicts[slot] = verdict
  }
  const trains: number[][] = []
  for (let slot = 0; slot < batch.count; ) {
    if (batch.verdicts[slot] !== Verdict.forward) {
      slot++
      continue
    }
    const end = trainEnd(batch, slot, maxBytes)
    const train: number[] = []
    for (let i = slot; i < end; i++) if (batch.verdicts[i] === Verdict.forward) train.push(i)
    trains.push(train)
    slot = end
  }
  return trains
}

const forward = (owner: number, length: number): Slot => ({ owner, length, verdict: Verdict.forward })

describe('trains', () => {
  test('end behind a shorter one, before a longer one, at another owner', () => {
    const lengths = [100, 100, 60, 60, 100, 100].map(length => forward(1, length))
    expect(trainsOf([...lengths, forward(2, 100), forward(2, 40)], 65_507)).toEqual([[0, 1, 2], [3], [4, 5], [6, 7]])
  })

  test('leave out slots that do not leave', () => {
    const slots = [forward(1, 9), { ...forward(1, 9), verdict: Verdict.drop }, forward(1, 9)]
    expect(trainsOf(slots, 65_507)).toEqual([[0, 2]])
  })

  test('have no empty datagrams', () => {
    expect(trainsOf([forward(1, 0), forward(1, 0), forward(1, 5), forward(1, 0)], 65_507)).toEqual([[0], [1], [2], [3]])
  })

  test('have at most 64 datagrams and as many bytes as a datagram can have', () => {
    expect(trainsOf(Array(130).fill(forward(1, 10)), 65_507).map(train => train.length)).toEqual([64, 64, 2])
    expect(trainsOf(Array(50).fill(forward(1, 1438)), 65_507).map(train => train.length)).toEqual([45, 5])
  })

  test('are those that the rules say', () => {
    const slot = fc.record({
      owner: fc.nat(1),
      length: fc.oneof({ weight: 5, arbitrary: fc.constantFrom(0, 3, 4) }, fc.nat(40)),
      verdict: fc.oneof(
        { weight: 6, arbitrary: fc.constant<Verdict>(Verdict.forward) },
        fc.constantFrom<Verdict>(Verdict.drop, Verdict.divert),
      ),
    })
    fc.assert(
      fc.property(fc.array(slot, { maxLength: 150, size: 'max' }), fc.integer({ min: 40, max: 200 }), (slots, max) => {
        expect(trainsOf(slots, max)).toEqual(trainsByRule(slots, max))
      }),
      { numRuns: 2000 },
    )
  })
})

describe('refused trains', () => {
  test('are expected to be refused again, if the datagrams are as long', () => {
    const refusals = new TrainRefusals()
    expect(refusals.expect(1, 1400)).toBe(false)
    refusals.add(1, 1400)
    expect(refusals.expect(1, 1400)).toBe(true)
    expect(refusals.expect(1, 1401)).toBe(true)
    expect(refusals.expect(1, 1399)).toBe(false)
    expect(refusals.expect(2, 1400)).toBe(false)
  })

  test('are tried again after a while', () => {
    const refusals = new TrainRefusals()
    refusals.add(1, 1400)
    let skipped = 0
    while (refusals.expect(1, 1400)) skipped++
    expect(skipped).toBe(256)
    expect(refusals.expect(1, 1400)).toBe(false)
  })

  test('of any number of endpoints take bounded memory', () => {
    const refusals = new TrainRefusals()
    for (let endpoint = 0; endpoint < 5000; endpoint++) refusals.add(endpoint, 1)
    let known = 0
    for (let endpoint = 0; endpoint < 5000; endpoint++) if (refusals.expect(endpoint, 1)) known++
    expect(known).toBeGreaterThan(0)
    expect(known).toBeLessThanOrEqual(1024)
  })
})
