import { DropReason, PacketBatch, Verdict } from '@twinbore/core/packet'
import { describe, expect, test } from 'vitest'
import { HandoverRing } from '../../src/data-plane/rings/handover-ring.ts'

const packetOf = (number: number, length: number) => Uint8Array.from({ length }, (_, i) => (number * 7 + i) & 0xff)

function push(ring: HandoverRing, length: number): boolean {
  const batch = new PacketBatch({ capacity: 1 })
  batch.push(packetOf(1, length), 0)
  return ring.pushSlot(batch, 0, 0)
}

describe('a ring between workers', () => {
  test('takes super-packets, wherever their pieces lie, with their shape, by kind', () => {
    const ring = new HandoverRing(HandoverRing.allocate(1024))
    const batch = new PacketBatch({ capacity: 3, slotBytes: 200 })
    for (const n of [1, 2, 3]) batch.push(packetOf(n, 50), n)
    batch.segments[0] = 3
    batch.segmentBytes[0] = 60_000
    batch.partialChecksums[0] = 1
    batch.ownLengths[0] = 50
    batch.lengths[0] = 100
    batch.next[0] = 2
    batch.verdicts[2] = Verdict.merged
    expect([ring.pushSlot(batch, 0, 2), ring.pushSlot(batch, 1, 255)]).toEqual([true, true])
    ring.publish()
    const batches = new Map([2, 255].map(kind => [kind, new PacketBatch({ capacity: 4, slotBytes: 100 })]))
    ring.drainSlots(kind => batches.get(kind)!)
    const { segments, segmentBytes, partialChecksums, owners } = batches.get(2)!
    expect([segments[0], segmentBytes[0], partialChecksums[0], owners[0]]).toEqual([3, 60_000, 1, 1])
    expect(batches.get(2)!.packet(0)).toEqual(Uint8Array.of(...packetOf(1, 50), ...packetOf(3, 50)))
    expect(batches.get(255)!.packet(0)).toEqual(packetOf(2, 50))
    expect(batches.get(255)!.segments[0]).toBe(1)
    expect(ring.isEmpty).toBe(true)
  })

  test('drops what finds no room in its slot, and throws away what it is told to', () => {
    const ring = new HandoverRing(HandoverRing.allocate(1024))
    push(ring, 101)
    push(ring, 100)
    ring.publish()
    const batch = new PacketBatch({ slotBytes: 100 })
    ring.drainSlots(() => batch)
    expect([batch.drops[DropReason.tooBig], batch.count, batch.verdicts[1]]).toEqual([1, 2, Verdict.forward])
    for (let n = 0; n < 3; n++) push(ring, 10)
    ring.publish()
    expect([ring.discard(), ring.discard(), ring.isEmpty]).toEqual([3, 0, true])
  })

  test('gives everything in order, wherever it wraps, and takes no more than it has room for', () => {
    const ring = new HandoverRing(HandoverRing.allocate(1024))
    const batch = new PacketBatch({ capacity: 16 })
    const from = new PacketBatch({ capacity: 1 })
    for (let round = 0; round < 50; round++) {
      let pushed = 0
      for (let more = true; more; ) {
        from.reset()
        from.push(packetOf(pushed, 90 + ((round * 13 + pushed) % 50)), pushed)
        more = ring.pushSlot(from, 0, 7)
        if (more) pushed++
      }
      expect(pushed).toBeGreaterThan(4)
      expect(ring.isEmpty).toBe(true)
      ring.publish()
      batch.reset()
      ring.drainSlots(() => batch)
      expect(batch.count).toBe(pushed)
      for (let n = 0; n < pushed; n++) {
        expect(batch.owners[n]).toBe(n)
        expect(batch.packet(n)).toEqual(packetOf(n, 90 + ((round * 13 + n) % 50)))
      }
    }
  })
})
