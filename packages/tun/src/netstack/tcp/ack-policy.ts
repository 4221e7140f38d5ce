/**
 * When to acknowledge. Data in order is acknowledged at the end of a receive batch: that is the delayed ACK of RFC 9293
 * §3.8.6.3 with the batch as the delay, never longer than a turn. A second full-sized segment, a gap, the filling of one, a
 * duplicate or a FIN are acknowledged without waiting for the end. Data that is sent meanwhile carries the acknowledgement.
 *
 * One acknowledgement for a batch would do, were it not that it can get lost: when the batch was all that the peer had in
 * flight, nothing else tells the peer, which waits for a probe or a timeout. So there are two for a long batch, the first
 * without its last segment, since equal ones count as duplicates; and more than one for segments out of order.
 */
export class AckPolicy {
  /** Whether an acknowledgement goes out with the next `emit`, alone if need be. */
  due = false
  /** Further copies of it that the peer should get. */
  duplicates = 0
  /** Position that is to be acknowledged before the last one; -1 for none. */
  earlier = -1
  private pending = false
  private pendingBytes = 0

  /** Data in order, all before `position` was there. */
  noteInOrder(position: number, bytes: number, segmentBytes: number): void {
    if (this.pendingBytes >= longBatch * segmentBytes) this.earlier = position
    this.pending = true
    this.pendingBytes += bytes
    if (this.pendingBytes >= 2 * segmentBytes) this.due = true
  }

  /** Data beyond a gap. A peer without SACK counts duplicates (RFC 5681 §3.2), so it gets one for each such segment. */
  noteOutOfOrder(selective: boolean): void {
    if (this.due && this.duplicates < (selective ? maxCopies : maxDuplicates)) this.duplicates++
    this.due = true
  }

  noteBatchEnd(): void {
    if (this.pending) this.due = true
  }

  /** A segment with the acknowledgement was sent. */
  noteSent(): void {
    this.pending = false
    this.pendingBytes = 0
    this.earlier = -1
    if (this.duplicates > 0) this.duplicates--
    else this.due = false
  }
}

/** Full-sized segments before the last one that make a batch long. */
const longBatch = 3
const maxDuplicates = 64
const maxCopies = 2
