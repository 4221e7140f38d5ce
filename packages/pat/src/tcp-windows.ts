// Which sequence numbers are plausible (after van Rooij, "Real Stateful TCP Packet Filtering"): a segment belongs to the
// connection when its data lies in the window that the other side opened, and when it acknowledges what was sent. Only
// such segments may change the state of a session, so that nobody who guesses endpoints can end it (RFC 7857 §2.2).
//
// Directions are 0 (outbound) and 1 (inbound). Of each direction a session's row keeps: `end`, behind the last byte that it
// sent; `limit`, behind the last byte that it may send (before the other side answers, behind its own SYN); `acknowledged`,
// the highest acknowledgment number that it sent; `window`, the largest that it offered, scaled; and its scale.
//
// Comparisons are modulo 2^32 (RFC 9293 §3.4).
import {
  TCP_HEADER_BYTES,
  TcpField,
  TcpFlag,
  tcpFlags,
  tcpHeaderLength,
  tcpSequenceNumber,
  tcpWindow,
} from '@twinbore/core/packet'
import { type SessionRows, SessionWord } from './table/session-rows.ts'

/** How far behind the newest data an acknowledgment may be, whatever the window: a full unscaled window and a bit. */
const leastAckWindow = 66_000
/** The other side has sent nothing yet. */
const unheard = 255
/** A SYN without the window scale option. */
const noScale = 254
const maxScale = 14
/** Where the scales of the two directions stand in a row of `SessionRows`, in bytes. */
const scaleByte = 13

/** The windows of all TCP sessions, in their rows. */
export class TcpWindows {
  private readonly rows: SessionRows

  constructor(rows: SessionRows) {
    this.rows = rows
  }

  /** Begins anew with the first SYN of a connection, whose TCP header is at `at`. */
  begin(row: number, direction: number, view: DataView, at: number, length: number): void {
    this.rows.bytes[row * 64 + scaleByte + 1 - direction] = unheard
    this.greet(row, direction, view, at, length)
  }

  /** Whether a SYN repeats the one that this direction opened with, before anybody answered. */
  repeatsOpening(row: number, direction: number, view: DataView, at: number): boolean {
    return ((tcpSequenceNumber(view, at) + 1) | 0) === this.rows.words[row * 16 + SessionWord.limit + direction]
  }

  /** Whether the sequence number of a segment lies behind everything that its direction sent. */
  isBeyond(row: number, direction: number, view: DataView, at: number): boolean {
    return ((tcpSequenceNumber(view, at) - this.rows.words[row * 16 + SessionWord.end + direction]!) | 0) > 0
  }

  /** Whether a sequence number is among the data that a direction has in flight or has lately sent (RFC 5927 §4). */
  wasSent(row: number, direction: number, sequenceNumber: number): boolean {
    const { words, bytes } = this.rows
    const other = 1 - direction
    const behind = (words[row * 16 + SessionWord.end + direction]! - sequenceNumber) | 0
    if (behind < 0) return false
    if (bytes[row * 64 + scaleByte + other] === unheard) return true
    return behind <= Math.max(words[row * 16 + SessionWord.window + other]!, leastAckWindow)
  }

  /**
   * Takes a segment into account. False when it doesn't belong to the connection; then nothing changes. A super-packet is
   * one long segment.
   *
   * @param flags - the segment's
   * @param length - its bytes from the TCP header on
   */
  accept(row: number, direction: number, view: DataView, at: number, length: number, flags: number): boolean {
    const { words, bytes } = this.rows
    const other = 1 - direction
    const sender = row * 16 + direction
    const receiver = row * 16 + other
    const sequenceNumber = view.getInt32(at + TcpField.sequenceNumber)
    const end = (sequenceNumber + segmentLength(view, at, length, flags)) | 0
    const acknowledges = (flags & TcpFlag.ack) !== 0
    const acknowledgment = view.getInt32(at + TcpField.acknowledgmentNumber)
    const latest = words[sender + SessionWord.end]!
    const receiverScale = bytes[row * 64 + scaleByte + other]!
    const senderScale = bytes[row * 64 + scaleByte + direction]!

    if (receiverScale === unheard) {
      // Only the side that opened has spoken: its repeated SYN, or data behind a SYN (RFC 7413).
      if (((sequenceNumber - latest) | 0) > 0) return false
      if (((end - latest) | 0) > 0) words[sender + SessionWord.end] = end
      return true
    }
    const receiverEnd = words[receiver + SessionWord.end]!
    if (senderScale === unheard) {
      if ((flags & TcpFlag.syn) === 0) return false
      if (acknowledges) {
        const isnPlusOne = words[receiver + SessionWord.limit]!
        if (((acknowledgment - isnPlusOne) | 0) < 0 || ((acknowledgment - receiverEnd) | 0) > 0) return false
      }
      this.greet(row, direction, view, at, length)
      if (acknowledges) this.acknowledge(row, direction, acknowledgment, tcpWindow(view, at))
      // What the first SYN offered now counts as permission.
      words[sender + SessionWord.limit] = (sequenceNumber + 1 + words[receiver + SessionWord.window]!) | 0
      return true
    }

    const oldest = latest - words[receiver + SessionWord.window]!
    if (((sequenceNumber - words[sender + SessionWord.limit]!) | 0) > 0 || ((end - oldest) | 0) < 0) return false
    if (acknowledges) {
      const age = (receiverEnd - acknowledgment) | 0
      if (age < 0 || (age > leastAckWindow && age > words[sender + SessionWord.window]!)) return false
    }
    // A reset has to be at the very edge of what the receiver expects, or inside its window (RFC 5961 §3.2).
    if ((flags & TcpFlag.rst) !== 0) return ((sequenceNumber - words[receiver + SessionWord.acknowledged]!) | 0) >= 0
    if (((end - latest) | 0) > 0) words[sender + SessionWord.end] = end
    if (acknowledges) {
      const scaled = (flags & TcpFlag.syn) === 0 && senderScale <= maxScale && receiverScale <= maxScale
      this.acknowledge(row, direction, acknowledgment, tcpWindow(view, at) << (scaled ? senderScale : 0))
    }
    return true
  }

  private greet(row: number, direction: number, view: DataView, at: number, length: number): void {
    const { words, bytes } = this.rows
    const sender = row * 16 + direction
    const sequenceNumber = view.getInt32(at + TcpField.sequenceNumber)
    words[sender + SessionWord.end] = sequenceNumber + segmentLength(view, at, length, tcpFlags(view, at))
    words[sender + SessionWord.limit] = sequenceNumber + 1
    words[sender + SessionWord.acknowledged] = view.getInt32(at + TcpField.acknowledgmentNumber)
    words[sender + SessionWord.window] = Math.max(tcpWindow(view, at), 1)
    bytes[row * 64 + scaleByte + direction] = scaleOption(view, at)
  }

  /** Takes an acknowledgment and the scaled window beside it into account. */
  private acknowledge(row: number, direction: number, acknowledgment: number, offered: number): void {
    const { words } = this.rows
    const sender = row * 16 + direction
    const receiver = row * 16 + 1 - direction
    // At least one byte: a closed window is probed with one.
    const window = offered || 1
    if (window > words[sender + SessionWord.window]!) words[sender + SessionWord.window] = window
    if (((acknowledgment - words[sender + SessionWord.acknowledged]!) | 0) > 0)
      words[sender + SessionWord.acknowledged] = acknowledgment
    const limit = (acknowledgment + window) | 0
    if (((limit - words[receiver + SessionWord.limit]!) | 0) > 0) words[receiver + SessionWord.limit] = limit
  }
}

/** How many sequence numbers a segment takes. */
function segmentLength(view: DataView, at: number, length: number, flags: number): number {
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
