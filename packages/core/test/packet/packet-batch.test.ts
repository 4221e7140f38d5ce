import { DROP_REASON_COUNT, DropReason, dropReasonName, PacketBatch, Verdict } from '@twinbore/core/packet'
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

test('a slot can lie in the shared part of the slab, and the places of later slots stay their own', () => {
  const batch = new PacketBatch({ capacity: 3, slotBytes: 8, headroom: 2, tailroom: 2, sharedBytes: 100 })
  expect(batch.bytes.length).toBe(3 * 12 + 100)
  batch.bytes.set([7, 8, 9], batch.sharedOffset + 50)
  expect(batch.place(batch.sharedOffset + 50, 3, 5)).toBe(0)
  expect(batch.push(Uint8Array.of(1))).toBe(1)
  expect(batch.packet(0)).toEqual(Uint8Array.of(7, 8, 9))
  expect(batch.offsets[1]).toBe(12 + 2)
  batch.push(Uint8Array.of(1))
  expect(batch.place(0, 1)).toBe(-1)
})

test('a super-packet is put together from its pieces, and dropped as all of its packets', () => {
  const batch = new PacketBatch({ capacity: 3, slotBytes: 8 })
  for (const bytes of [[1, 2, 3, 4], [5, 6], [7]]) batch.push(Uint8Array.from(bytes))
  batch.next[0] = 1
  batch.next[1] = 2
  batch.ownLengths[0] = 4
  batch.lengths[0] = 7
  batch.segments[0] = 3
  batch.verdicts[1] = Verdict.merged
  batch.verdicts[2] = Verdict.merged
  expect(batch.packet(0)).toEqual(Uint8Array.of(1, 2, 3, 4, 5, 6, 7))
  batch.drop(0, DropReason.filtered)
  expect(batch.drops[DropReason.filtered]).toBe(3)
  batch.reset()
  const slot = batch.reserve()
  expect([batch.segments[slot], batch.segmentBytes[slot], batch.partialChecksums[slot], batch.next[slot]]).toEqual([
    1, 0, 0, -1,
  ])
})
