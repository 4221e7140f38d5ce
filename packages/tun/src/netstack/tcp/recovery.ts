import type { CongestionWindow } from './congestion.ts'

export type RecoveryKind = 'none' | 'fast' | 'timeout'

/**
 * One episode of loss: from the first segment found lost until all that was sent by then is acknowledged. The congestion
 * window is reduced once for it, in fast recovery by proportional rate reduction (RFC 6937), and given back when the
 * first acknowledgement shows by its timestamp that nothing had been lost (RFC 3522, RFC 4015).
 */
export class Recovery {
  kind: RecoveryKind = 'none'
  private readonly congestion: CongestionWindow
  /** All before it must be acknowledged to end the episode. */
  private point = 0
  // Proportional rate reduction.
  private delivered = 0
  private sent = 0
  private inFlightAtStart = 0
  // What an undo restores.
  private priorWindow = 0
  private priorThreshold = 0
  /** When the first retransmission of the episode was sent; -1 before that, and once an undo is out of the question. */
  private retransmittedAt = -1
  private mayUndo = false

  constructor(congestion: CongestionWindow) {
    this.congestion = congestion
  }

  get active(): boolean {
    return this.kind !== 'none'
  }

  /**
   * Losses were found by arrivals. Does nothing within an episode. `outstanding` is what was not acknowledged before
   * that, `flight` what had been when the sender last had its turn: acknowledgements of one batch come without a turn in
   * between, and what they freed counts as delivered in this episode, else it would be lost to the window.
   */
  enterFast(outstanding: number, flight: number, sentUpTo: number): void {
    if (this.kind !== 'none') return
    this.begin('fast', sentUpTo)
    this.inFlightAtStart = Math.max(flight, 1)
    this.delivered = Math.max(0, flight - outstanding)
    this.sent = 0
    this.congestion.onLoss(flight)
  }

  enterTimeout(inFlight: number, sentUpTo: number): void {
    // A timeout in an episode: the window was reduced for the same loss already.
    const sameLoss = this.kind !== 'none'
    if (!sameLoss) this.begin('timeout', sentUpTo)
    this.kind = 'timeout'
    this.point = sentUpTo
    this.congestion.onTimeout(inFlight, sameLoss)
  }

  private begin(kind: RecoveryKind, sentUpTo: number): void {
    this.kind = kind
    this.point = sentUpTo
    this.priorWindow = this.congestion.window
    this.priorThreshold = this.congestion.slowStartThreshold
    this.retransmittedAt = -1
    this.mayUndo = true
  }

  noteRetransmission(bytes: number, now: number): void {
    if (this.retransmittedAt === -1) this.retransmittedAt = now
    this.sent += bytes
  }

  noteNewData(bytes: number): void {
    this.sent += bytes
  }

  /**
   * `position` is acknowledged, and that is news. `echoedAt` is when the segment that caused it was sent, -1 when that
   * is not known; `resentAt` when the first segment that it acknowledges was sent again, -1 when it was sent once.
   * Returns whether the whole episode was for nothing, in which case it is over and undone.
   */
  noteProgress(position: number, echoedAt: number, resentAt: number): 'over' | 'spurious' | undefined {
    if (this.kind === 'none') return undefined
    // RFC 3522 §3.2 supposes that the oldest segment outstanding was sent again: the echo is about no other then.
    const answersRetransmission = this.retransmittedAt !== -1 && resentAt >= this.retransmittedAt
    const echoesOriginal = echoedAt !== -1 && echoedAt < Math.floor(this.retransmittedAt)
    const spurious = this.mayUndo && answersRetransmission && echoesOriginal
    // Only the first answer tells; later ones may be caused by originals that really were sent after the loss.
    if (answersRetransmission) this.mayUndo = false
    if (spurious) {
      this.kind = 'none'
      this.congestion.undo(this.priorWindow, this.priorThreshold)
      return 'spurious'
    }
    if (position < this.point) return undefined
    if (this.kind === 'fast') this.congestion.window = this.congestion.slowStartThreshold
    this.kind = 'none'
    return 'over'
  }

  /** Sets the congestion window of fast recovery for one acknowledgement (RFC 6937 §3, slow start reduction bound). */
  reduceProportionally(deliveredBytes: number, inFlight: number, segmentBytes: number, progress: boolean): void {
    if (this.kind !== 'fast') return
    this.delivered += deliveredBytes
    const threshold = this.congestion.slowStartThreshold
    let allowed: number
    if (inFlight > threshold) {
      allowed = Math.ceil((this.delivered * threshold) / this.inFlightAtStart) - this.sent
    } else {
      const bound = Math.max(this.delivered - this.sent, deliveredBytes) + (progress ? segmentBytes : 0)
      allowed = Math.min(threshold - inFlight, bound)
    }
    // The first retransmission goes out at once.
    allowed = Math.max(allowed, this.sent === 0 ? segmentBytes : 0)
    this.congestion.window = Math.max(inFlight + allowed, segmentBytes)
  }
}
