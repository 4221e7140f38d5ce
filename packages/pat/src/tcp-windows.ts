// Which sequence numbers are plausible (after van Rooij, "Real Stateful TCP Packet Filtering"): a segment belongs to the
// connection when its data lies in the window that the other side opened, and when it acknowledges what was sent. Only
// such segments may change the state of a session, so that nobody who guesses endpoints can end it (RFC 7857 §2.2).
//
// Directions are 0 (outbound) and 1 (inbound). Comparisons are modulo 2^32 (RFC 9293 §3.4).
import {
  TCP_HEADER_BYTES,
  TcpFlag,
  tcpAcknowledgmentNumber,
  tcpFlags,
  tcpHeaderLength,
  tcpSequenceNumber,
  tcpWindow,
} from '@twinbore/core/packet'
import { grown } from './table/rows.ts'

/** How far behind the newest data an acknowledgment may be, whatever the window: a full unscaled window and a bit. */
const leastAckWindow = 66_000
/** The other side has sent nothing yet. */
const unheard = 255
/** A SYN without the window scale option. */
const noScale = 254
const maxScale = 14

/** 34 bytes a row. */
export class TcpWindows {
  /** Behind the last byte that this direction sent. */
  private end: Int32Array
  /** Behind the last byte that it may send; before the other side answers, behind its own SYN. */
  private limit: Int32Array
  /** The highest acknowledgment number that it sent. */
  private acknowledged: Int32Array
  /** The largest window that it offered, scaled. */
  private window: Int32Array
  private scale: Uint8Array

  constructor(rows: number) {
    this.end = new Int32Array(rows * 2)
    this.limit = new Int32Array(rows * 2)
    this.acknowledged = new Int32Array(rows * 2)
    this.window = new Int32Array(rows * 2)
    this.scale = new Uint8Array(rows * 2)
  }

  get memoryBytes(): number {
    return this.end.length * 17
  }

  grow(rows: number): void {
    this.end = grown(this.end, rows * 2)
    this.limit = grown(this.limit, rows * 2)
    this.acknowledged = grown(this.acknowledged, rows * 2)
    this.window = grown(this.window, rows * 2)
    this.scale = grown(this.scale, rows * 2)
  }

  /** Begins anew with the first SYN of a connection, whose TCP header is at `at`. */
  begin(row: number, direction: number, view: DataView, at: number, length: number): void {
    this.scale[row * 2 + 1 - direction] = unheard
    this.greet(row * 2 + direction, view, at, length)
  }

  /** Whether a SYN repeats the one that this direction opened with, before anybody answered. */
  repeatsOpening(row: number, direction: number, view: DataView, at: number): boolean {
    return ((tcpSequenceNumber(view, at) + 1) | 0) === this.limit[row * 2 + direction]
  }

  /** Whether the sequence number of a segment lies behind everything that its direction sent. */
  isBeyond(row: number, direction: number, view: DataView, at: number): boolean {
    return ((tcpSequenceNumber(view, at) - this.end[row * 2 + direction]!) | 0) > 0
  }

  /** Whether a sequence number is among the data that a direction has in flight or has lately sent (RFC 5927 §4). */
  wasSent(row: number, direction: number, sequenceNumber: number): boolean {
    const sender = row * 2 + direction
    const receiver = row * 2 + 1 - direction
    const behind = (this.end[sender]! - sequenceNumber) | 0
    return (
      behind >= 0 && (this.scale[receiver] === unheard || behind <= Math.max(this.window[receiver]!, leastAckWindow))
    )
  }

  /**
   * Takes a segment into account. False when it doesn't belong to the connection; then nothing changes.
   *
   * @param length - the bytes of the segment from its header on
   */
  accept(row: number, direction: number, view: DataView, at: number, length: number): boolean {
    const sender = row * 2 + direction
    const receiver = row * 2 + 1 - direction
    const flags = tcpFlags(view, at)
    const sequenceNumber = tcpSequenceNumber(view, at) | 0
    const end = (sequenceNumber + segmentLength(view, at, length)) | 0
    const acknowledges = (flags & TcpFlag.ack) !== 0
    const acknowledgment = tcpAcknowledgmentNumber(view, at) | 0

    if (this.scale[receiver] === unheard) {
      // Only the side that opened has spoken: its repeated SYN, or data behind a SYN (RFC 7413).
      if (((sequenceNumber - this.end[sender]!) | 0) > 0) return false
      if (((end - this.end[sender]!) | 0) > 0) this.end[sender] = end
      return true
    }
    if (this.scale[sender] === unheard) {
      if ((flags & TcpFlag.syn) === 0) return false
      if (acknowledges) {
        const isnPlusOne = this.limit[receiver]!
        if (((acknowledgment - isnPlusOne) | 0) < 0 || ((acknowledgment - this.end[receiver]!) | 0) > 0) return false
      }
      this.greet(sender, view, at, length)
      this.acknowledge(sender, receiver, acknowledges, acknowledgment, tcpWindow(view, at), true)
      // What the first SYN offered now counts as permission.
      this.limit[sender] = (sequenceNumber + 1 + this.window[receiver]!) | 0
      return true
    }

    const oldest = this.end[sender]! - this.window[receiver]!
    if (((sequenceNumber - this.limit[sender]!) | 0) > 0 || ((end - oldest) | 0) < 0) return false
    if (acknowledges) {
      const slack = Math.max(this.window[sender]!, leastAckWindow)
      const age = (this.end[receiver]! - acknowledgment) | 0
      if (age < 0 || age > slack) return false
    }
    // A reset has to be at the very edge of what the receiver expects, or inside its window (RFC 5961 §3.2).
    if ((flags & TcpFlag.rst) !== 0) return ((sequenceNumber - this.acknowledged[receiver]!) | 0) >= 0
    if (((end - this.end[sender]!) | 0) > 0) this.end[sender] = end
    this.acknowledge(sender, receiver, acknowledges, acknowledgment, tcpWindow(view, at), (flags & TcpFlag.syn) !== 0)
    return true
  }

  private greet(sender: number, view: DataView, at: number, length: number): void {
    const sequenceNumber = tcpSequenceNumber(view, at) | 0
    this.end[sender] = (sequenceNumber + segmentLength(view, at, length)) | 0
    this.limit[sender] = (sequenceNumber + 1) | 0
    this.acknowledged[sender] = tcpAcknowledgmentNumber(view, at) | 0
    this.window[sender] = Math.max(tcpWindow(view, at), 1)
    this.scale[sender] = scaleOption(view, at)
  }

  private acknowledge(
    sender: number,
    receiver: number,
    acknowledges: boolean,
    acknowledgment: number,
    rawWindow: number,
    syn: boolean,
  ): void {
    if (!acknowledges) return
    const mine = this.scale[sender]!
    const scaled = !syn && mine <= maxScale && this.scale[receiver]! <= maxScale
    // At least one byte: a closed window is probed with one.
    const window = Math.max(scaled ? rawWindow << mine : rawWindow, 1)
    if (window > this.window[sender]!) this.window[sender] = window
    if (((acknowledgment - this.acknowledged[sender]!) | 0) > 0) this.acknowledged[sender] = acknowledgment
    const limit = (acknowledgment + window) | 0
    if (((limit - this.limit[receiver]!) | 0) > 0) this.limit[receiver] = limit
  }
}

/** How many sequence numbers a segment takes. */
function segmentLength(view: DataView, at: number, length: number): number {
  const flags = tcpFlags(view, at)
  const controls = ((flags & TcpFlag.syn) !== 0 ? 1 : 0) + ((flags & TcpFlag.fin) !== 0 ? 1 : 0)
  return length - tcpHeaderLength(view, at) + controls
}

/** The shift of a window scale option (RFC 7323 §2.2), or `noScale`. Broken options count as absent. */
function scaleOption(view: DataView, at: number): number {
  const end = at + tcpHeaderLength(view, at)
  for (let option = at + TCP_HEADER_BYTES; option < end; ) {
    const kind = view.getUint8(option)
    if (kind === 0) break
    if (kind === 1) {
      option++
      continue
    }
    if (option + 1 >= end) break
    const length = view.getUint8(option + 1)
    if (length < 2 || option + length > end) break
    if (kind === 3 && length === 3) return Math.min(view.getUint8(option + 2), maxScale)
    option += length
  }
  return noScale
}
