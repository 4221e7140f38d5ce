import { toSequenceNumber } from './sequence.ts'

/** Gaps that one connection may have; what would make another one is dropped. */
export const MAX_RANGES = 256
const initialRanges = 4
const maxRecent = 8

/** Which positions arrived out of order, and what is to be reported about them (RFC 2018 §4, RFC 2883). */
export class ReceiveRanges {
  count = 0
  // Disjoint, not touching, in ascending order.
  private starts = new Float64Array(initialRanges)
  private ends = new Float64Array(initialRanges)
  /** Positions that arrived most recently, newest first: the order in which ranges are reported. */
  private readonly recent = new Float64Array(maxRecent)
  private recentCount = 0
  /** What arrived twice and is not yet reported. */
  private duplicateStart = 0
  private duplicateEnd = 0

  /** Adds a range. Returns false when that would be one too many. */
  add(start: number, end: number): boolean {
    const first = this.firstEndingAt(start)
    let behind = first
    while (behind < this.count && this.starts[behind]! <= end) behind++
    if (behind === first) {
      if (this.count === MAX_RANGES) return false
      if (this.count === this.starts.length) this.grow()
      this.starts.copyWithin(first + 1, first, this.count)
      this.ends.copyWithin(first + 1, first, this.count)
      this.count++
      this.starts[first] = start
      this.ends[first] = end
    } else {
      if (this.starts[first]! <= start && this.ends[first]! >= end) this.noteDuplicate(start, end)
      this.starts[first] = Math.min(start, this.starts[first]!)
      this.ends[first] = Math.max(end, this.ends[behind - 1]!)
      this.remove(first + 1, behind)
    }
    this.noteRecent(start)
    return true
  }

  /** All before `position` is in order. Returns how far what is in order reaches. */
  advance(position: number): number {
    let gone = 0
    while (gone < this.count && this.starts[gone]! <= position) {
      position = Math.max(position, this.ends[gone]!)
      gone++
    }
    this.remove(0, gone)
    if (this.count === 0) this.recentCount = 0
    return position
  }

  noteDuplicate(start: number, end: number): void {
    this.duplicateStart = start
    this.duplicateEnd = end
  }

  /** Forgets all that arrived out of order, which RFC 2018 §8 allows. */
  clear(): void {
    this.count = 0
    this.recentCount = 0
    this.duplicateEnd = this.duplicateStart
  }

  get hasReport(): boolean {
    return this.count > 0 || this.duplicateEnd > this.duplicateStart
  }

  /** Position behind the last range, 0 without ranges. */
  get end(): number {
    return this.count === 0 ? 0 : this.ends[this.count - 1]!
  }

  /**
   * Writes up to `max` blocks as sequence numbers: a duplicate first, then the range of the latest arrival, then the
   * ones before it. Returns how many. The duplicate counts as reported.
   */
  report(edges: Uint32Array, max: number, initial: number): number {
    let blocks = 0
    if (this.duplicateEnd > this.duplicateStart && max > 0) {
      edges[0] = toSequenceNumber(this.duplicateStart, initial)
      edges[1] = toSequenceNumber(this.duplicateEnd, initial)
      blocks = 1
      this.duplicateEnd = this.duplicateStart
    }
    let kept = 0
    const firstRange = blocks
    for (let i = 0; i < this.recentCount; i++) {
      const range = this.rangeOf(this.recent[i]!)
      if (range === -1) continue
      this.recent[kept++] = this.recent[i]!
      if (blocks === max) continue
      const left = toSequenceNumber(this.starts[range]!, initial)
      let known = false
      for (let block = firstRange; block < blocks; block++) known ||= edges[2 * block] === left
      if (known) {
        kept--
        continue
      }
      edges[2 * blocks] = left
      edges[2 * blocks + 1] = toSequenceNumber(this.ends[range]!, initial)
      blocks++
    }
    this.recentCount = kept
    return blocks
  }

  private noteRecent(position: number): void {
    let at = 0
    const range = this.rangeOf(position)
    // An earlier arrival in the same range says nothing that this one does not.
    while (at < this.recentCount && this.rangeOf(this.recent[at]!) !== range) at++
    if (at === this.recentCount && this.recentCount < maxRecent) this.recentCount++
    this.recent.copyWithin(1, 0, Math.min(at, maxRecent - 1))
    this.recent[0] = position
  }

  /** The range that holds a position, or -1. */
  private rangeOf(position: number): number {
    const at = this.firstEndingAt(position + 1)
    return at < this.count && this.starts[at]! <= position ? at : -1
  }

  /** The first range that ends at or behind a position. */
  private firstEndingAt(position: number): number {
    let low = 0
    let high = this.count
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.ends[middle]! < position) low = middle + 1
      else high = middle
    }
    return low
  }

  private grow(): void {
    const { starts, ends } = this
    this.starts = new Float64Array(2 * starts.length)
    this.ends = new Float64Array(2 * ends.length)
    this.starts.set(starts)
    this.ends.set(ends)
  }

  private remove(from: number, to: number): void {
    if (from === to) return
    this.starts.copyWithin(from, to, this.count)
    this.ends.copyWithin(from, to, this.count)
    this.count -= to - from
  }
}
