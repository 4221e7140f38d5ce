import type { RoundTrip } from './rto.ts'

/** What the timer waits for. One at a time (RFC 8985 §8): the first that can be. */
export type RetransmitTimerKind = 'off' | 'reordering' | 'probe' | 'timeout'

const never = Number.POSITIVE_INFINITY
/** How long a peer may sit on an acknowledgement of a single segment (RFC 8985 §7.2, WCDelAckT). */
const ackDelayMs = 200
const unmeasuredProbeMs = 1000
const minProbeMs = 10

/**
 * The timer of data in flight: the reordering window of RACK, the tail loss probe (RFC 8985 §7.2), or the
 * retransmission timeout (RFC 6298 §5).
 */
export class RetransmitTimer {
  kind: RetransmitTimerKind = 'off'
  at: number = never
  private readonly roundTrip: RoundTrip
  /** When the timeout began to run: the first segment in flight, or the last news of one. */
  private startedAt = -1
  /** When something was last sent or arrived: the probe counts from there. */
  private touchedAt = 0

  constructor(roundTrip: RoundTrip) {
    this.roundTrip = roundTrip
  }

  /** Something was sent; the timeout runs unless it did already. */
  noteSent(now: number): void {
    if (this.startedAt === -1) this.startedAt = now
    this.touchedAt = now
  }

  /** Something arrived, or the timer fired: the timeout begins anew. */
  restart(now: number): void {
    this.startedAt = now
    this.touchedAt = now
  }

  stop(): void {
    this.kind = 'off'
    this.at = never
    this.startedAt = -1
  }

  /**
   * Chooses what to wait for. `reorderingDue` is -1 when no segment is under suspicion; `segments` is how many are in
   * flight when a probe makes sense, else 0.
   */
  arm(reorderingDue: number, segments: number): void {
    if (reorderingDue !== -1) {
      this.kind = 'reordering'
      this.at = reorderingDue
      return
    }
    this.kind = 'timeout'
    this.at = this.startedAt + this.roundTrip.rtoMs
    if (segments === 0) return
    // Not later than the timeout, whose place it takes then.
    this.kind = 'probe'
    this.at = Math.min(this.at, this.touchedAt + this.probeMs(segments))
  }

  private probeMs(segments: number): number {
    if (!this.roundTrip.measured) return unmeasuredProbeMs
    return Math.max(minProbeMs, 2 * this.roundTrip.smoothedMs + (segments === 1 ? ackDelayMs : 0))
  }
}
