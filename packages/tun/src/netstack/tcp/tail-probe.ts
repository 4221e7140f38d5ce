/**
 * The tail loss probe (RFC 8985 §7): when the last segments of a flight get lost, nothing that arrives tells of it, so
 * one more segment is sent after two round trips, and its answer does.
 */
export class TailProbe {
  /** A probe is to be sent, whatever the congestion window says. */
  owed = false
  /** TLP.end_seq and TLP.is_retrans. */
  private end = -1
  private retransmitted = false

  /** Whether a probe was sent whose answer is not known. */
  get pending(): boolean {
    return this.end !== -1
  }

  /** A segment was sent; all up to `sentUpTo` has been. Returns whether it is the probe. */
  noteSent(sentUpTo: number, retransmitted: boolean): boolean {
    if (!this.owed) return false
    this.owed = false
    this.end = sentUpTo
    this.retransmitted = retransmitted
    return true
  }

  /**
   * `position` is acknowledged, with `news` or as before; `reported` says that the peer got something twice. Returns
   * whether the probe was the retransmission that a loss needed (RFC 8985 §7.4.2).
   */
  handleAck(position: number, news: boolean, reported: boolean): boolean {
    if (this.end === -1 || position < this.end) return false
    const unclear = this.retransmitted && !reported && position === this.end && news
    if (unclear) return false
    const repaired = this.retransmitted && !reported && position > this.end
    this.end = -1
    return repaired
  }

  /** A timeout takes over. */
  forget(): void {
    this.owed = false
    this.end = -1
  }
}
