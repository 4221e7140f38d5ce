import { CongestionWindow } from './congestion.ts'
import { Delivery } from './delivery.ts'
import type { MemoryBudget } from './memory-budget.ts'
import { PersistTimer } from './persist-timer.ts'
import { LossDetection } from './rack.ts'
import { Recovery } from './recovery.ts'
import { RetransmitTimer } from './retransmit-timer.ts'
import { RoundTrip } from './rto.ts'
import { Scoreboard } from './scoreboard.ts'
import { SendBuffer } from './send-buffer.ts'
import { toPosition } from './sequence.ts'
import type { TcpConfig } from './tcp-config.ts'
import type { TcpOptionValues } from './tcp-options.ts'

const duplicateThreshold = 3

/** Segments that one connection may have in flight, whatever their size. */
export const MAX_SEGMENTS = 8192

/**
 * The sending half of a connection: what was sent and is not acknowledged, what may be sent now, and what counts as
 * lost. It knows positions, not packets. The parts, each in its file: the bytes (`send-buffer`), the segments in flight
 * (`scoreboard`), which of them are lost (`rack`), the episode of loss (`recovery`), how much may be in flight
 * (`congestion`), and when to act without news (`retransmit-timer`, `persist-timer`).
 *
 * A peer without SACK is served by NewReno (RFC 5681, RFC 6582): three duplicate acknowledgements make the first segment
 * lost, a partial acknowledgement the next one.
 */
export class Sender {
  readonly buffer: SendBuffer
  readonly scoreboard: Scoreboard = new Scoreboard()
  readonly roundTrip: RoundTrip
  readonly congestion: CongestionWindow
  readonly recovery: Recovery
  readonly timer: RetransmitTimer
  readonly persist: PersistTimer = new PersistTimer()
  /** SND.UNA and SND.NXT. */
  unacknowledged = 1
  next = 1
  /** SND.WND, and the largest it ever was. */
  peerWindow = 0
  maxPeerWindow = 0
  /** The most data in one segment, options of every segment taken off. */
  segmentBytes = 536
  selective = false
  /** Whether a FIN follows the data. */
  finQueued = false
  /** Whether the handshake is over. */
  private begun = false
  /** A tail loss probe is to be sent, whatever the congestion window says. */
  probeOwed = false
  private readonly losses: LossDetection
  private readonly delivery = new Delivery()
  private readonly initial: number
  private windowSequence = 0
  private windowAcknowledgment = 0
  private duplicateAcks = 0
  /** NewReno: losses up to here belong to a recovery that is over (RFC 6582 §3.2 step 1). */
  private renoRecover = 0
  /** Position behind the segment that probed, -1 without probe (TLP.end_seq). */
  private probeEnd = -1
  private probeRetransmitted = false
  private reorderingDue = -1
  private windowLimited = false
  private lastSentAt = 0
  private progressAt = 0

  constructor(config: TcpConfig, memory: MemoryBudget, initial: number) {
    this.initial = initial
    this.buffer = new SendBuffer(memory, config.initialSendBuffer, config.maxSendBuffer)
    this.roundTrip = new RoundTrip(config.initialRtoMs, config.minRtoMs, config.maxRtoMs)
    this.congestion = new CongestionWindow(this.segmentBytes)
    this.recovery = new Recovery(this.congestion)
    this.losses = new LossDetection(this.roundTrip)
    this.timer = new RetransmitTimer(this.roundTrip)
  }

  /** The handshake is over. */
  begin(segmentBytes: number, selective: boolean, cautious: boolean): void {
    this.begun = true
    this.segmentBytes = segmentBytes
    this.selective = selective
    this.congestion.begin(segmentBytes, cautious)
  }

  get deadline(): number {
    return Math.min(this.timer.at, this.persist.at)
  }

  get outstanding(): number {
    return this.next - this.unacknowledged
  }

  /** What is in the network as far as is known (the pipe of RFC 6675 §4). */
  get inFlight(): number {
    const left = this.selective ? this.scoreboard.sackedBytes : this.duplicateAcks * this.segmentBytes
    return Math.max(0, this.outstanding - this.scoreboard.lostBytes - left)
  }

  get finSent(): boolean {
    return this.next > this.buffer.end
  }

  get finAcknowledged(): boolean {
    return this.unacknowledged > this.buffer.end
  }

  /** SND.WND from an acceptable segment at `sequence` of the peer (RFC 9293 §3.10.7.4). */
  updateWindow(sequence: number, acknowledgment: number, window: number): void {
    const newer =
      sequence > this.windowSequence ||
      (sequence === this.windowSequence && acknowledgment >= this.windowAcknowledgment)
    if (!newer) return
    this.windowSequence = sequence
    this.windowAcknowledgment = acknowledgment
    this.peerWindow = window
    if (window > this.maxPeerWindow) this.maxPeerWindow = window
    if (window > 0) this.persist.stop()
  }

  /**
   * An acceptable acknowledgement of `position`. `duplicate` says that it is one by the definition of RFC 5681 §2;
   * `echoedAt` when the segment was sent that it echoes, -1 when that is not known.
   */
  handleAck(position: number, options: TcpOptionValues, duplicate: boolean, echoedAt: number, now: number): void {
    const news = position > this.unacknowledged
    const flight = this.outstanding
    const delivery = this.delivery
    delivery.begin()
    if (news) this.advance(position, now)
    const reported = this.selective && options.sackCount > 0 ? this.readReports(options, position) : false
    if (delivery.bytes > 0 || news) {
      this.sampleRoundTrip(news, echoedAt, flight, now)
      this.timer.restart(now)
    }
    const outcome = news ? this.recovery.noteProgress(position, echoedAt) : undefined
    if (outcome === 'spurious') {
      this.scoreboard.forgetLosses()
      this.losses.noteSpuriousRecovery()
    } else if (outcome === 'over') {
      this.losses.noteRecoveryEnd()
      this.renoRecover = position
    }
    const found = this.selective
      ? this.detectBySending(echoedAt, now)
      : this.detectByCounting(news, duplicate, position)
    this.endProbe(position, news, reported)
    if (found) this.recovery.enterFast(flight, this.next)
    this.followWindow(found, news, duplicate, now)
    this.arm()
    this.watchWindow(now)
  }

  private advance(position: number, now: number): void {
    this.delivery.acknowledgedBytes = position - this.unacknowledged
    this.scoreboard.acknowledge(position, this.delivery)
    this.unacknowledged = position
    this.buffer.release(position)
    this.progressAt = now
    this.roundTrip.resetBackOff()
  }

  /** Reads SACK blocks (RFC 2018 §3). Returns whether a D-SACK was among them (RFC 2883 §4). */
  private readReports(options: TcpOptionValues, position: number): boolean {
    const edges = options.sackEdges
    let duplicate = false
    for (let block = 0; block < options.sackCount; block++) {
      const left = toPosition(edges[2 * block]!, this.initial, this.unacknowledged)
      const right = toPosition(edges[2 * block + 1]!, this.initial, this.unacknowledged)
      if (right <= left || right > this.next) continue
      if (block === 0 && (right <= position || isWithinSecond(options))) {
        duplicate = true
        this.losses.noteDuplicateReport(position, this.next)
      } else if (right > this.unacknowledged)
        this.scoreboard.sack(Math.max(left, this.unacknowledged), right, this.delivery)
    }
    return duplicate
  }

  private sampleRoundTrip(news: boolean, echoedAt: number, flight: number, now: number): void {
    const perRoundTrip = Math.max(1, Math.ceil(flight / (2 * this.segmentBytes)))
    const { delivery } = this
    // Karn: a segment that was sent twice says nothing, unless the peer echoes which of the two arrived.
    if (news && !delivery.acknowledgedRetransmission && delivery.firstSentAt !== -1)
      this.roundTrip.sample(now - delivery.firstSentAt, perRoundTrip, now)
    else if (news && echoedAt !== -1) this.roundTrip.sample(now - echoedAt, perRoundTrip, now)
    else if (!news && delivery.lastOriginalSentAt !== -1)
      this.roundTrip.sample(now - delivery.lastOriginalSentAt, perRoundTrip, now)
  }

  private detectBySending(echoedAt: number, now: number): boolean {
    this.losses.noteDelivery(this.delivery, echoedAt, now)
    return this.detect(now)
  }

  private detect(now: number): boolean {
    const lost = this.scoreboard.lostBytes
    this.reorderingDue = this.losses.detect(this.scoreboard, this.recovery.active, now)
    return this.scoreboard.lostBytes > lost
  }

  /** RFC 5681 §3.2 and RFC 6582 §3.2. */
  private detectByCounting(news: boolean, duplicate: boolean, position: number): boolean {
    if (news) {
      const acknowledged = Math.ceil(this.delivery.acknowledgedBytes / this.segmentBytes)
      const partial = this.recovery.kind === 'fast'
      this.duplicateAcks = partial ? Math.max(0, this.duplicateAcks - acknowledged + 1) : 0
      if (partial && this.scoreboard.first !== -1) this.scoreboard.markLost(this.scoreboard.first)
      return false
    }
    if (!duplicate || this.scoreboard.isEmpty) return false
    if (this.duplicateAcks * this.segmentBytes < this.outstanding) this.duplicateAcks++
    const enough = this.duplicateAcks === duplicateThreshold && !this.recovery.active && position >= this.renoRecover
    if (enough) this.scoreboard.markLost(this.scoreboard.first)
    return enough
  }

  /** RFC 8985 §7.4.2: what became of the probe. */
  private endProbe(position: number, news: boolean, reported: boolean): void {
    if (this.probeEnd === -1 || position < this.probeEnd) return
    const repaired = this.probeRetransmitted && !reported && position > this.probeEnd
    const unclear = this.probeRetransmitted && !reported && position === this.probeEnd && news
    if (unclear) return
    this.probeEnd = -1
    // The probe was the retransmission that the loss needed, so the loss has its price.
    if (repaired && !this.recovery.active) this.congestion.onLoss(this.outstanding)
  }

  private followWindow(found: boolean, news: boolean, duplicate: boolean, now: number): void {
    const delivered = this.selective || news ? this.delivery.bytes : duplicate ? this.segmentBytes : 0
    if (this.recovery.kind === 'fast') {
      this.recovery.reduceProportionally(delivered, this.inFlight, this.segmentBytes, news && !found)
      return
    }
    if (this.windowLimited && delivered > 0 && (this.selective || news)) {
      this.congestion.onAcknowledged(delivered, this.roundTrip.smoothedMs, now)
      this.buffer.growFor(this.congestion.window)
    }
  }

  private arm(): void {
    if (this.outstanding === 0) {
      this.timer.stop()
      this.probeOwed = false
      return
    }
    const mayProbe =
      this.selective && !this.recovery.active && this.scoreboard.sackedBytes === 0 && this.probeEnd === -1
    this.timer.arm(this.reorderingDue, mayProbe ? this.scoreboard.size : 0)
  }

  // What may be sent now.

  /** The slot of a lost segment that may be sent again now, or -1. */
  nextRetransmission(): number {
    const slot = this.scoreboard.firstLost()
    if (slot === -1) return -1
    const { inFlight } = this
    const length = this.scoreboard.endOf(slot) - this.scoreboard.startOf(slot)
    return inFlight === 0 || inFlight + length <= this.congestion.window ? slot : -1
  }

  /**
   * How much new data the next segment carries, at most `maxBytes`; 0 is a bare FIN, -1 nothing. Nagle is off: the
   * last piece never waits. A piece that only the window makes small waits for more window (RFC 9293 §3.8.6.2.1).
   */
  nextNewLength(maxBytes: number): number {
    const available = this.buffer.end - this.next
    if (available < 0 || (available === 0 && !this.finQueued)) return -1
    if (this.scoreboard.size >= MAX_SEGMENTS) return -1
    const usable = this.unacknowledged + this.peerWindow - this.next
    const length = Math.min(available, maxBytes)
    if (usable < Math.max(1, length)) {
      const small = usable < this.maxPeerWindow / 2 && !this.persist.mayFill
      return usable <= 0 || small ? -1 : this.congestionAllows(usable) ? usable : -1
    }
    return this.congestionAllows(length) ? length : -1
  }

  private congestionAllows(length: number): boolean {
    return this.probeOwed || this.inFlight + length <= this.congestion.window || this.inFlight === 0
  }

  noteSent(length: number, fin: boolean, now: number): void {
    if (this.outstanding === 0) this.progressAt = now
    const end = this.next + length + (fin ? 1 : 0)
    this.scoreboard.add(this.next, end, now)
    this.next = end
    this.lastSentAt = now
    this.recovery.noteNewData(length)
    this.noteProbe(false, now)
    this.timer.noteSent(now)
    this.persist.stop()
  }

  noteResent(slot: number, now: number): void {
    this.recovery.noteRetransmission(this.scoreboard.endOf(slot) - this.scoreboard.startOf(slot), now)
    this.scoreboard.resend(slot, now)
    this.lastSentAt = now
    this.noteProbe(true, now)
    this.timer.noteSent(now)
  }

  private noteProbe(retransmitted: boolean, now: number): void {
    if (!this.probeOwed) return
    this.probeOwed = false
    this.probeEnd = this.next
    this.probeRetransmitted = retransmitted
    this.timer.restart(now)
  }

  /** Before new data is sent: a long silence made the congestion window say less. */
  noteResumption(now: number): void {
    if (this.outstanding === 0 && this.lastSentAt > 0)
      this.congestion.onIdle(now - this.lastSentAt, this.roundTrip.rtoMs)
  }

  /** All that may be sent now was; sets the timers. */
  settle(now: number): void {
    const waiting = this.next < this.buffer.end || (this.finQueued && !this.finSent)
    const { window } = this.congestion
    const filled = waiting && this.inFlight + this.segmentBytes > window
    this.windowLimited = filled || (this.congestion.inSlowStart && 2 * this.outstanding > window)
    this.arm()
    this.watchWindow(now)
  }

  /** Starts to probe when only the peer's window keeps data from being sent, and nothing in flight will open it. */
  watchWindow(now: number): void {
    const waiting = this.next < this.buffer.end || (this.finQueued && !this.finSent)
    if (this.begun && waiting && this.outstanding === 0 && this.nextNewLength(this.segmentBytes) === -1)
      this.persist.start(this.roundTrip.rtoMs, now)
  }

  // Time and changes of the path.

  /** Handles what is due. Returns true when the peer did not answer for `giveUpMs`. */
  handleDeadline(now: number, heardAt: number, config: TcpConfig): boolean {
    if (now >= this.persist.at) {
      this.persist.fire(this.roundTrip.rtoMs, config.maxRtoMs, now)
      if (now - Math.max(heardAt, this.persist.startedAt) >= config.giveUpMs) return true
    }
    if (now < this.timer.at) return false
    if (this.timer.kind === 'reordering') {
      if (this.detect(now)) this.recovery.enterFast(this.outstanding, this.next)
    } else if (this.timer.kind === 'probe') {
      this.probeOwed = true
      this.timer.restart(now)
      this.timer.arm(-1, 0)
      return false
    } else {
      // A peer that answers with a closed window is there.
      const since = this.peerWindow === 0 ? Math.max(this.progressAt, heardAt) : this.progressAt
      if (now - since >= config.giveUpMs) return true
      this.handleTimeout(now)
    }
    this.arm()
    return false
  }

  private handleTimeout(now: number): void {
    this.recovery.enterTimeout(this.outstanding, this.next)
    this.losses.markLostOnTimeout(this.scoreboard, now)
    this.duplicateAcks = 0
    this.probeEnd = -1
    this.probeOwed = false
    this.reorderingDue = -1
    this.roundTrip.backOff()
    this.timer.restart(now)
  }

  /** Segments carry less or more from now on; those in flight that are too long are sent again in pieces. */
  setSegmentBytes(segmentBytes: number): void {
    if (segmentBytes === this.segmentBytes) return
    const smaller = segmentBytes < this.segmentBytes
    this.segmentBytes = segmentBytes
    this.congestion.setSegmentBytes(segmentBytes)
    if (smaller) this.scoreboard.resegment(segmentBytes)
  }

  clear(): void {
    this.buffer.clear()
    this.scoreboard.clear()
    this.timer.stop()
    this.persist.stop()
  }
}

/** RFC 2883 §4.2: a duplicate of data that itself is out of order. */
function isWithinSecond(options: TcpOptionValues): boolean {
  const edges = options.sackEdges
  if (options.sackCount < 2) return false
  return ((edges[0]! - edges[2]!) | 0) >= 0 && ((edges[3]! - edges[1]!) | 0) >= 0
}
