/**
 * What one acknowledgement says about segments that were sent: the scoreboard notes each of them here, and loss
 * detection, round-trip measurement and congestion control read the sum. One object per connection, begun anew for each
 * acknowledgement.
 */
export class Delivery {
  /** Bytes that newly arrived, in order or not. */
  bytes = 0
  /** Bytes that are newly acknowledged in order, those reported before included. */
  acknowledgedBytes = 0
  /** Whether one of the segments acknowledged in order had been sent more than once. */
  acknowledgedRetransmission = false
  /** When the first of the segments was sent that are acknowledged in order and were sent once; -1 without. */
  firstSentAt = -1
  /** The segment sent last of those that newly arrived: the RACK segment of this acknowledgement (RFC 8985 §6.2). */
  lastSentAt = -1
  lastOrder = -1
  lastRetransmitted = false
  /** The same for segments that were sent once. */
  lastOriginalSentAt = -1
  lastOriginalOrder = -1
  /** Whether a segment that was sent once arrived after one further back in the stream: reordering. */
  reordered = false
  /** The highest position that arrived, over all acknowledgements (RACK.fack). */
  highest = 0
  /** The same before this one: its blocks come newest first, which is no reordering. */
  private highestBefore = 0

  begin(): void {
    this.highestBefore = this.highest
    this.bytes = 0
    this.acknowledgedBytes = 0
    this.acknowledgedRetransmission = false
    this.firstSentAt = -1
    this.lastSentAt = -1
    this.lastOrder = -1
    this.lastOriginalSentAt = -1
    this.lastOriginalOrder = -1
    this.reordered = false
  }

  /** A segment arrived; `order` counts transmissions. */
  note(sentAt: number, order: number, end: number, length: number, retransmitted: boolean, inOrder: boolean): void {
    this.bytes += length
    if (end > this.highest) this.highest = end
    if (end < this.highestBefore && !retransmitted) this.reordered = true
    if (!retransmitted) {
      if (inOrder && this.firstSentAt === -1) this.firstSentAt = sentAt
      if (order > this.lastOriginalOrder) {
        this.lastOriginalOrder = order
        this.lastOriginalSentAt = sentAt
      }
    } else if (inOrder) this.acknowledgedRetransmission = true
    if (order > this.lastOrder) {
      this.lastOrder = order
      this.lastSentAt = sentAt
      this.lastRetransmitted = retransmitted
    }
  }
}
