const never = Number.POSITIVE_INFINITY

/**
 * The timer of a closed window (RFC 9293 §3.8.6.1): while there is something to send, nothing in flight, and the window
 * does not allow it, the peer is probed with growing pauses, for as long as it answers.
 */
export class PersistTimer {
  at: number = never
  /** A probe is to be sent. */
  probeOwed = false
  /** A window too small for a whole segment stayed that small, so it may be filled (RFC 9293 §3.8.6.2.1, override). */
  mayFill = false
  /** Since when it runs. */
  startedAt = 0
  private backOffs = 0

  /** Starts it, unless it runs. */
  start(rtoMs: number, now: number): void {
    if (this.at !== never) return
    this.at = now + rtoMs
    this.startedAt = now
  }

  stop(): void {
    this.at = never
    this.probeOwed = false
    this.mayFill = false
    this.backOffs = 0
  }

  fire(rtoMs: number, maxMs: number, now: number): void {
    this.probeOwed = true
    this.mayFill = true
    this.backOffs = Math.min(this.backOffs + 1, 30)
    this.at = now + Math.min(maxMs, rtoMs * 2 ** this.backOffs)
  }
}
