import type { Delivery } from './delivery.ts'
import type { RoundTrip } from './rto.ts'
import type { Scoreboard } from './scoreboard.ts'

const duplicateThreshold = 3
const persistRecoveries = 16

/**
 * RACK (RFC 8985 §6): a segment is lost when one that was sent later arrived, and a reordering window has passed since
 * it should have arrived itself. The window is 0 until reordering was seen, then a quarter of the least round trip, and
 * grows when the peer reports that segments were sent twice for nothing.
 */
export class LossDetection {
  private readonly roundTrip: RoundTrip
  /** The segment sent last of all that arrived. */
  private order = -1
  private roundTripMs = 0
  private reorderingSeen = false
  private windowMultiplier = 1
  private windowPersist = 0
  /** Until this position is acknowledged, further reports of duplicates belong to the same round. */
  private duplicateRoundEnd = -1

  constructor(roundTrip: RoundTrip) {
    this.roundTrip = roundTrip
  }

  /** Steps 2 and 3. `echoedAt` is when the segment was sent whose timestamp came back, -1 when that is not known. */
  noteDelivery(delivery: Delivery, echoedAt: number, now: number): void {
    if (delivery.reordered) this.reorderingSeen = true
    if (delivery.lastSentAt === -1) return
    if (delivery.lastRetransmitted) {
      // Which of the transmissions arrived? Not this one when the echo or the time says so (RFC 8985 §6.2 step 2).
      const rtt = now - delivery.lastSentAt
      if ((echoedAt !== -1 && echoedAt < Math.floor(delivery.lastSentAt)) || rtt < this.roundTrip.minMs) {
        this.noteLatest(delivery.lastOriginalSentAt, delivery.lastOriginalOrder, now)
        return
      }
    }
    this.noteLatest(delivery.lastSentAt, delivery.lastOrder, now)
  }

  private noteLatest(sentAt: number, order: number, now: number): void {
    if (order === -1) return
    this.roundTripMs = now - sentAt
    if (order > this.order) this.order = order
  }

  /** Undone retransmissions show reordering too. */
  noteSpuriousRecovery(): void {
    this.reorderingSeen = true
  }

  /** Step 4, the reports: a D-SACK came. */
  noteDuplicateReport(acknowledged: number, sent: number): void {
    if (this.duplicateRoundEnd > acknowledged) return
    this.duplicateRoundEnd = sent
    this.windowMultiplier++
    this.windowPersist = persistRecoveries
  }

  noteRecoveryEnd(): void {
    if (--this.windowPersist <= 0) this.windowMultiplier = 1
  }

  /** Step 4, the window. */
  private windowMs(inRecovery: boolean, sackedCount: number): number {
    if (!this.reorderingSeen && (inRecovery || sackedCount >= duplicateThreshold)) return 0
    const window = (this.windowMultiplier * this.roundTrip.minMs) / 4
    return Math.min(window, this.roundTrip.smoothedMs)
  }

  /** Step 5: marks what is lost. Returns when the next segment will be, unless it arrives; -1 when there is none. */
  detect(scoreboard: Scoreboard, inRecovery: boolean, now: number): number {
    if (this.order === -1) return -1
    const allowance = this.roundTripMs + this.windowMs(inRecovery, scoreboard.sackedCount)
    let due = -1
    for (let slot = scoreboard.oldestInFlight; slot !== -1; ) {
      const next = scoreboard.sentAfter(slot)
      const sentAt = scoreboard.sentAtOf(slot)
      if (scoreboard.orderOf(slot) >= this.order) break
      if (sentAt + allowance <= now) scoreboard.markLost(slot)
      else due = sentAt + allowance
      slot = next
    }
    return due
  }

  /** RFC 8985 §6.3: a timeout makes the first segment lost, and all that should have arrived by now. */
  markLostOnTimeout(scoreboard: Scoreboard, now: number): void {
    if (scoreboard.hasReneged) scoreboard.forgetSacks()
    const allowance = this.roundTripMs + this.windowMs(true, scoreboard.sackedCount)
    if (scoreboard.first !== -1) scoreboard.markLost(scoreboard.first)
    for (let slot = scoreboard.oldestInFlight; slot !== -1; ) {
      const next = scoreboard.sentAfter(slot)
      if (scoreboard.sentAtOf(slot) + allowance > now) break
      scoreboard.markLost(slot)
      slot = next
    }
  }
}
