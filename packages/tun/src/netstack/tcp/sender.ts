import { CongestionWindow } from './congestion.ts'
import { Delivery } from './delivery.ts'
import { DuplicateAcks } from './duplicate-acks.ts'
import type { MemoryBudget } from './memory-budget.ts'
import { PersistTimer } from './persist-timer.ts'
import { LossDetection } from './rack.ts'
import { Recovery } from './recovery.ts'
import { RetransmitTimer } from './retransmit-timer.ts'
import { RoundTrip } from './rto.ts'
import { SackMemory } from './sack-memory.ts'
import { Scoreboard } from './scoreboard.ts'
import { SendBuffer } from './send-buffer.ts'
import { toPosition } from './sequence.ts'
import { TailProbe } from './tail-probe.ts'
import type { TcpConfig } from './tcp-config.ts'
import type { TcpOptionValues } from './tcp-options.ts'

/** Segments that one connection may have in flight, whatever their size. */
export const MAX_SEGMENTS = 8192

/**
 * The sending half of a connection: what was sent and is not acknowledged, what may be sent now, and what counts as
 * lost. It knows positions, not packets. The parts, each in its file: the bytes (`send-buffer`), the segments in flight
 * (`scoreboard`), which of them are lost (`rack`), the episode of loss (`recovery`), how much may be in flight
 * (`congestion`), and when to act without news (`retransmit-timer`, `persist-timer`).
 *
 * A peer without SACK is served by NewReno, with `duplicate-acks` in place of `rack`.
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
  readonly probe: TailProbe = new TailProbe()
  private readonly losses: LossDetection
  private readonly reports = new SackMemory(this.scoreboard)
  private readonly delivery = new Delivery()
  private readonly initial: number
  private windowSequence = 0
  private windowAcknowledgment = 0
  private readonly duplicates = new DuplicateAcks(this.scoreboard)
  private reorderingDue = -1
  private windowLimited = false
  /** What was not acknowledged after the sender's last turn. */
  private flightAtTurn = 0
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

  /** FlightSize (RFC 5681 §2) as the window allowed it; acknowledgements of one batch shrink `outstanding` between turns. */
  private get flight(): number {
    return Math.max(this.outstanding, this.flightAtTurn)
  }

  /** What is in the network as far as is known (the pipe of RFC 6675 §4). */
  get inFlight(): number {
    const left = this.selective ? this.scoreboard.sackedBytes : this.duplicates.count * this.segmentBytes
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
    const { outstanding, flight } = this
    const resentAt = this.scoreboard.firstResentAt
    const delivery = this.delivery
    delivery.begin()
    if (news) this.advance(position, now)
    const reported = this.selective && options.sackCount > 0 ? this.readReports(options, position) : false
    if (delivery.bytes > 0 || news) {
      this.sampleRoundTrip(news, echoedAt, outstanding, now)
      this.timer.restart(now)
    }
    const outcome = news ? this.recovery.noteProgress(position, echoedAt, resentAt) : undefined
    if (outcome === 'spurious') {
      this.scoreboard.forgetLosses()
      this.losses.noteSpuriousRecovery()
    } else if (outcome === 'over') {
      this.losses.noteRecoveryEnd()
      this.duplicates.noteRecoveryEnd(position)
    }
    const found = this.selective
      ? this.detectBySending(echoedAt, now)
      : this.detectByCounting(news, duplicate, position)
    // The probe was the retransmission that the loss needed, so the loss has its price.
    const repaired = this.probe.handleAck(position, news, reported)
    if (repaired && !this.recovery.active) this.congestion.onLoss(flight)
    if (found) this.recovery.enterFast(outstanding, flight, this.next)
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
        this.reports.note(Math.max(left, this.unacknowledged), right, this.delivery)
    }
    return duplicate
  }

  private sampleRoundTrip(news: boolean, echoedAt: number, flight: number, now: number): void {
    const perRoundTrip = Math.max(1, Math.ceil(flight / (2 * this.segmentBytes)))
    const { delivery } = this
    // Karn: a segment that was sent twice says nothing, unless the peer echoes which of the two arrived. An echo of the
    // first may be repeated for the second, when the first answer got lost; then it is too old to measure anything.
    const repeated = echoedAt < Math.floor(delivery.lastSentAt) && now - delivery.lastSentAt >= this.roundTrip.minMs
    if (news && !delivery.acknowledgedRetransmission && delivery.firstSentAt !== -1)
      this.roundTrip.sample(now - delivery.firstSentAt, perRoundTrip, now)
    else if (news && echoedAt !== -1 && !repeated) this.roundTrip.sample(now - echoedAt, perRoundTrip, now)
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

  private detectByCounting(news: boolean, duplicate: boolean, position: number): boolean {
    if (news) {
      const segments = Math.ceil(this.delivery.acknowledgedBytes / this.segmentBytes)
      this.duplicates.noteProgress(segments, this.recovery.kind === 'fast')
      return false
    }
    if (!duplicate || this.scoreboard.isEmpty) return false
    const inFlight = Math.ceil(this.outstanding / this.segmentBytes)
    return this.duplicates.noteDuplicate(position, inFlight, this.recovery.active)
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
      this.probe.owed = false
      return
    }
    const mayProbe = this.selective && !this.recovery.active && this.scoreboard.sackedBytes === 0 && !this.probe.pending
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
    return this.probe.owed || this.inFlight + length <= this.congestion.window || this.inFlight === 0
  }

  noteSent(length: number, fin: boolean, now: number): void {
    if (this.outstanding === 0) this.progressAt = now
    const end = this.next + length + (fin ? 1 : 0)
    this.scoreboard.add(this.next, end, now)
    this.next = end
    this.recovery.noteNewData(length)
    this.noteTransmission(false, now)
    this.persist.stop()
  }

  noteResent(slot: number, now: number): void {
    this.recovery.noteRetransmission(this.scoreboard.endOf(slot) - this.scoreboard.startOf(slot), now)
    this.scoreboard.resend(slot, now)
    this.noteTransmission(true, now)
  }

  private noteTransmission(again: boolean, now: number): void {
    this.lastSentAt = now
    this.timer.noteSent(now)
    if (this.probe.noteSent(this.next, again)) this.timer.restart(now)
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
    this.flightAtTurn = this.outstanding
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
    // The end of a reordering window can uncover a timeout that is due as well.
    if (now >= this.timer.at && this.timer.kind === 'reordering') {
      if (this.detect(now)) {
        this.recovery.enterFast(this.outstanding, this.flight, this.next)
        // The first retransmission goes out now: no further acknowledgement may come.
        this.followWindow(true, false, false, now)
      }
      this.arm()
    }
    if (now < this.timer.at || this.timer.kind === 'reordering') return false
    if (this.timer.kind === 'probe') {
      this.probe.owed = true
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
    this.recovery.enterTimeout(this.flight, this.next)
    this.losses.markLostOnTimeout(this.scoreboard, now)
    this.reports.forget()
    this.duplicates.forget()
    this.probe.forget()
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
