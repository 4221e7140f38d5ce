/**
 * When to acknowledge. Data in order is acknowledged at the end of a receive batch, by one segment for all of it: that
 * is the delayed ACK of RFC 9293 §3.8.6.3 with the batch as the delay, never longer than a turn. A second full-sized
 * segment, a gap, the filling of one, a duplicate or a FIN are acknowledged without waiting for the end. Data that is
 * sent meanwhile carries the acknowledgement.
 *
 * A peer without SACK counts duplicate acknowledgements (RFC 5681 §3.2), so it gets one for each segment out of order.
 */
export class AckPolicy {
  /** Whether an acknowledgement goes out with the next `emit`, alone if need be. */
  due = false
  /** Further copies of it that the peer should count. */
  duplicates = 0
  private pending = false
  private pendingBytes = 0

  /** Data in order. */
  noteInOrder(bytes: number, segmentBytes: number): void {
    this.pending = true
    this.pendingBytes += bytes
    if (this.pendingBytes >= 2 * segmentBytes) this.due = true
  }

  noteOutOfOrder(countsDuplicates: boolean): void {
    if (this.due && countsDuplicates && this.duplicates < maxDuplicates) this.duplicates++
    this.due = true
  }

  noteBatchEnd(): void {
    if (this.pending) this.due = true
  }

  /** A segment with the acknowledgement was sent. */
  noteSent(): void {
    this.pending = false
    this.pendingBytes = 0
    if (this.duplicates > 0) this.duplicates--
    else this.due = false
  }
}

const maxDuplicates = 64
