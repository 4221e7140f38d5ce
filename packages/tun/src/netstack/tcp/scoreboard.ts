import type { Delivery } from './delivery.ts'

/** States of a segment that was sent. In flight is what has neither of the first two. */
const Flag = { sacked: 1, lost: 2, retransmitted: 4 } as const

const none = -1
const initialCapacity = 8

/**
 * The segments that were sent and are not acknowledged, in the order of the stream, and those of them that are in
 * flight also in the order of sending (RFC 8985 §5.1, §6.2). A ring of numbers: a segment is a slot.
 */
export class Scoreboard {
  /** Bytes that the peer reported out of order. */
  sackedBytes = 0
  /** Bytes that count as lost and were not sent again yet. */
  lostBytes = 0
  /** Segments that the peer reported out of order. */
  sackedCount = 0
  private starts = new Float64Array(initialCapacity)
  private ends = new Float64Array(initialCapacity)
  private sentAt = new Float64Array(initialCapacity)
  /** The number of the transmission: clocks are coarse, and many segments are sent at the same time. */
  private orders = new Float64Array(initialCapacity)
  private transmissions = 0
  private flags = new Uint8Array(initialCapacity)
  /** Neighbours in the order of sending, of what is in flight. */
  private older = new Int32Array(initialCapacity)
  private newer = new Int32Array(initialCapacity)
  private oldest = none
  private newest = none
  /** The ring: `count` slots from `head` on. */
  private head = 0
  private count = 0
  /** How many slots behind `head` the first lost one is at least. */
  private lostHint = 0

  get isEmpty(): boolean {
    return this.count === 0
  }

  get size(): number {
    return this.count
  }

  startOf(slot: number): number {
    return this.starts[slot]!
  }

  endOf(slot: number): number {
    return this.ends[slot]!
  }

  sentAtOf(slot: number): number {
    return this.sentAt[slot]!
  }

  /** Which transmission it was, by count: the later one has the higher number (RFC 8985 §6.2, RACK_sent_after). */
  orderOf(slot: number): number {
    return this.orders[slot]!
  }

  wasRetransmitted(slot: number): boolean {
    return (this.flags[slot]! & Flag.retransmitted) !== 0
  }

  /** The slot of the segment in flight that was sent first, or -1. */
  get oldestInFlight(): number {
    return this.oldest
  }

  /** The one that was sent next after a slot, or -1. */
  sentAfter(slot: number): number {
    return this.newer[slot]!
  }

  /** The first segment of the stream, -1 when there is none. */
  get first(): number {
    return this.count === 0 ? none : this.head
  }

  /** When the first segment of the stream was sent again, -1 when it was sent once or there is none. */
  get firstResentAt(): number {
    if (this.count === 0 || (this.flags[this.head]! & Flag.retransmitted) === 0) return -1
    return this.sentAt[this.head]!
  }

  /** The last segment of the stream, -1 when there is none. */
  get last(): number {
    return this.count === 0 ? none : this.slotAt(this.count - 1)
  }

  /** Notes a segment that is sent for the first time, behind all others. */
  add(start: number, end: number, now: number): void {
    if (this.count === this.starts.length) this.grow()
    const slot = this.slotAt(this.count++)
    this.starts[slot] = start
    this.ends[slot] = end
    this.flags[slot] = 0
    this.sentAt[slot] = now
    this.orders[slot] = ++this.transmissions
    this.link(slot)
  }

  /** Notes that a segment is sent again. */
  resend(slot: number, now: number): void {
    const flags = this.flags[slot]!
    if ((flags & Flag.lost) !== 0) this.lostBytes -= this.lengthOf(slot)
    else this.unlink(slot)
    this.flags[slot] = (flags & ~Flag.lost) | Flag.retransmitted
    this.sentAt[slot] = now
    this.orders[slot] = ++this.transmissions
    this.link(slot)
  }

  /** The first segment that is lost and not sent again, or -1. */
  firstLost(): number {
    if (this.lostBytes === 0) return none
    for (; this.lostHint < this.count; this.lostHint++) {
      const slot = this.slotAt(this.lostHint)
      if ((this.flags[slot]! & Flag.lost) !== 0) return slot
    }
    return none
  }

  /** All before `position` was acknowledged. */
  acknowledge(position: number, delivery: Delivery): void {
    while (this.count > 0) {
      const slot = this.head
      const start = this.starts[slot]!
      const end = this.ends[slot]!
      if (start >= position) return
      const flags = this.flags[slot]!
      if (end > position) {
        // A part of a segment: what is left of it keeps its fate.
        this.subtract(flags, position - start)
        this.starts[slot] = position
        return
      }
      this.subtract(flags, end - start)
      if ((flags & Flag.sacked) !== 0) this.sackedCount--
      else {
        if ((flags & Flag.lost) === 0) this.unlink(slot)
        delivery.note(
          this.sentAt[slot]!,
          this.orders[slot]!,
          end,
          end - start,
          (flags & Flag.retransmitted) !== 0,
          true,
        )
      }
      this.head = (this.head + 1) & (this.starts.length - 1)
      this.count--
      if (this.lostHint > 0) this.lostHint--
    }
  }

  /** The peer has `left` to `right`: marks the segments that lie wholly inside. */
  sack(left: number, right: number, delivery: Delivery): void {
    for (let index = this.indexStartingAt(left); index < this.count; index++) {
      const slot = this.slotAt(index)
      if (this.ends[slot]! > right) return
      const flags = this.flags[slot]!
      if ((flags & Flag.sacked) !== 0) continue
      const length = this.lengthOf(slot)
      if ((flags & Flag.lost) !== 0) this.lostBytes -= length
      else this.unlink(slot)
      this.flags[slot] = (flags & ~Flag.lost) | Flag.sacked
      this.sackedBytes += length
      this.sackedCount++
      const retransmitted = (flags & Flag.retransmitted) !== 0
      delivery.note(this.sentAt[slot]!, this.orders[slot]!, this.ends[slot]!, length, retransmitted, false)
    }
  }

  /** Marks a segment in flight as lost. */
  markLost(slot: number): void {
    if ((this.flags[slot]! & (Flag.lost | Flag.sacked)) !== 0) return
    this.unlink(slot)
    this.flags[slot]! |= Flag.lost
    this.lostBytes += this.lengthOf(slot)
    const index = (slot - this.head) & (this.starts.length - 1)
    if (index < this.lostHint) this.lostHint = index
  }

  /** Whether the first segment was reported, though it is not acknowledged: the peer took it back (RFC 2018 §8). */
  get hasReneged(): boolean {
    return this.count > 0 && (this.flags[this.head]! & Flag.sacked) !== 0
  }

  /** Forgets all reports; what was reported counts as lost. */
  forgetSacks(): void {
    for (let index = 0; index < this.count; index++) {
      const slot = this.slotAt(index)
      if ((this.flags[slot]! & Flag.sacked) === 0) continue
      this.flags[slot] = (this.flags[slot]! & ~Flag.sacked) | Flag.lost
      this.lostBytes += this.lengthOf(slot)
    }
    this.sackedBytes = 0
    this.sackedCount = 0
    this.lostHint = 0
  }

  /** Takes back that segments are lost: they are in flight since they were sent. */
  forgetLosses(): void {
    for (let index = 0; index < this.count; index++) this.flags[this.slotAt(index)]! &= ~Flag.lost
    this.lostBytes = 0
    this.relink()
  }

  /** Cuts segments longer than `maxLength`, which the path no longer carries; they count as lost. */
  resegment(maxLength: number): void {
    const before: [number, number, number, number, number][] = []
    for (let index = 0; index < this.count; index++) {
      const slot = this.slotAt(index)
      before.push([this.starts[slot]!, this.ends[slot]!, this.sentAt[slot]!, this.orders[slot]!, this.flags[slot]!])
    }
    this.clear()
    for (const [start, end, sentAt, order, flags] of before) {
      const tooLong = end - start > maxLength && (flags & Flag.sacked) === 0
      for (let at = start; at < end; ) {
        const next = tooLong ? Math.min(end, at + maxLength) : end
        this.add(at, next, sentAt)
        this.orders[this.last] = order
        this.restore(this.last, tooLong ? flags | Flag.lost | Flag.retransmitted : flags)
        at = next
      }
    }
    this.relink()
  }

  clear(): void {
    this.count = 0
    this.head = 0
    this.lostHint = 0
    this.oldest = none
    this.newest = none
    this.sackedBytes = 0
    this.sackedCount = 0
    this.lostBytes = 0
  }

  private restore(slot: number, flags: number): void {
    this.flags[slot] = flags
    if ((flags & (Flag.sacked | Flag.lost)) === 0) return
    this.unlink(slot)
    if ((flags & Flag.lost) !== 0) this.lostBytes += this.lengthOf(slot)
    else {
      this.sackedBytes += this.lengthOf(slot)
      this.sackedCount++
    }
  }

  private subtract(flags: number, length: number): void {
    if ((flags & Flag.sacked) !== 0) this.sackedBytes -= length
    else if ((flags & Flag.lost) !== 0) this.lostBytes -= length
  }

  private lengthOf(slot: number): number {
    return this.ends[slot]! - this.starts[slot]!
  }

  private slotAt(index: number): number {
    return (this.head + index) & (this.starts.length - 1)
  }

  /** The first index whose segment starts at or behind a position. */
  private indexStartingAt(position: number): number {
    let low = 0
    let high = this.count
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.starts[this.slotAt(middle)]! < position) low = middle + 1
      else high = middle
    }
    return low
  }

  private link(slot: number): void {
    this.older[slot] = this.newest
    this.newer[slot] = none
    if (this.newest === none) this.oldest = slot
    else this.newer[this.newest] = slot
    this.newest = slot
  }

  /** Puts what is in flight in the order of sending anew. */
  private relink(): void {
    const inFlight: number[] = []
    for (let index = 0; index < this.count; index++) {
      const slot = this.slotAt(index)
      if ((this.flags[slot]! & (Flag.lost | Flag.sacked)) === 0) inFlight.push(slot)
    }
    this.oldest = none
    this.newest = none
    inFlight.sort((a, b) => this.orders[a]! - this.orders[b]!)
    for (const slot of inFlight) this.link(slot)
  }

  private unlink(slot: number): void {
    const older = this.older[slot]!
    const newer = this.newer[slot]!
    if (older === none) this.oldest = newer
    else this.newer[older] = newer
    if (newer === none) this.newest = older
    else this.older[newer] = older
  }

  private grow(): void {
    const size = this.starts.length
    // Slots are renumbered from 0, so that the ring is in one piece again.
    const renumber = (slot: number): number => (slot === none ? none : (slot - this.head) & (size - 1))
    const order = Int32Array.from({ length: size }, (_, index) => (this.head + index) & (size - 1))
    const moved = <T extends Float64Array | Uint8Array | Int32Array>(from: T, to: T, links = false): T => {
      for (let index = 0; index < size; index++) {
        const value = from[order[index]!]!
        to[index] = links ? renumber(value) : value
      }
      return to
    }
    this.starts = moved(this.starts, new Float64Array(2 * size))
    this.ends = moved(this.ends, new Float64Array(2 * size))
    this.sentAt = moved(this.sentAt, new Float64Array(2 * size))
    this.orders = moved(this.orders, new Float64Array(2 * size))
    this.flags = moved(this.flags, new Uint8Array(2 * size))
    this.older = moved(this.older, new Int32Array(2 * size), true)
    this.newer = moved(this.newer, new Int32Array(2 * size), true)
    this.oldest = renumber(this.oldest)
    this.newest = renumber(this.newest)
    this.head = 0
  }
}
