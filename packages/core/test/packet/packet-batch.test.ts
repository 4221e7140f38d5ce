import { DROP_REASON_COUNT, DropReason, dropReasonName, PacketBatch, Verdict } from '@twinbore/core/packet'
import fc from 'fast-check'
import { expect, test } from 'vitest'

test('a batch takes capacity packets, each with headroom and tailroom, and then says that it is full', () => {
  const batch = new PacketBatch({ capacity: 2, slotBytes: 10, headroom: 4, tailroom: 6 })
  expect(batch.push(Uint8Array.of(1, 2), 7)).toBe(0)
  expect(batch.push(new Uint8Array(10).fill(9))).toBe(1)
  expect(batch.push(Uint8Array.of(3))).toBe(-1)
  expect(batch.full).toBe(true)
  expect([batch.offsets[0], batch.offsets[1], batch.bytes.length]).toEqual([4, 24, 40])
  expect([batch.owners[0], batch.owners[1]]).toEqual([7, -1])
  expect(batch.packet(0)).toEqual(Uint8Array.of(1, 2))
})

test('a packet longer than a slot is refused', () => {
  const batch = new PacketBatch({ capacity: 1, slotBytes: 10 })
  expect(batch.push(new Uint8Array(11))).toBe(-1)
  expect(batch.count).toBe(0)
})

test('drops are counted by reason, and every reason has its own name', () => {
  const batch = new PacketBatch({ capacity: 2 })
  batch.push(Uint8Array.of(1))
  batch.drop(0, DropReason.noRoute)
  expect(batch.drops[DropReason.noRoute]).toBe(1)
  const names = Object.values(DropReason).map(dropReasonName)
  expect(new Set(names).size).toBe(DROP_REASON_COUNT - 1)
  expect(dropReasonName(DropReason.noRoute)).toBe('noRoute')
  expect(dropReasonName(999)).toBe('reason-999')
})

test('compacting and refilling again and again keeps every packet, its owner, and places apart (model)', () => {
  const step = fc.oneof(
    fc.record({ push: fc.uint8Array({ minLength: 1, maxLength: 8 }), owner: fc.nat({ max: 1000 }) }),
    fc.record({ kill: fc.nat(), divert: fc.boolean() }),
    fc.constant('compact' as const),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), steps => {
      const batch = new PacketBatch({ capacity: 6, slotBytes: 8, headroom: 2, tailroom: 2 })
      let model: { bytes: number[]; owner: number; alive: boolean }[] = []
      for (const step of steps) {
        if (step === 'compact') {
          batch.compact()
          model = model.filter(entry => entry.alive)
        } else if ('push' in step) {
          const slot = batch.push(step.push, step.owner)
          expect(slot).toBe(model.length === 6 ? -1 : model.length)
          if (slot !== -1) model.push({ bytes: [...step.push], owner: step.owner, alive: true })
        } else if (model.length > 0) {
          const slot = step.kill % model.length
          if (step.divert) batch.divert(slot)
          else batch.drop(slot, DropReason.filtered)
          model[slot]!.alive = false
        }
        expect(batch.count).toBe(model.length)
        const offsets = new Set(Array.from(batch.offsets.subarray(0, batch.count)))
        expect(offsets.size).toBe(batch.count)
        for (const [slot, entry] of model.entries()) {
          expect([...batch.packet(slot)]).toEqual(entry.bytes)
          expect(batch.owners[slot]).toBe(entry.owner)
          expect(batch.verdicts[slot] === Verdict.forward).toBe(entry.alive)
        }
      }
    }),
    { numRuns: 400 },
  )
})
