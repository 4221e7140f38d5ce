import { copyBytes } from '../copy-bytes.ts'
import type { FragmentHeader, HandshakeMessage } from './message-header.ts'

/** The longest message that is put together. Handshakes with pre-shared keys stay far below it. */
export const MAX_MESSAGE_BYTES = 8192
/** How many messages are looked at at once: the next one and those behind it. */
export const LOOK_AHEAD = 7
/** What all unfinished messages may hold together. Bytes count when they arrive, not when a header announces them. */
export const MAX_HELD_BYTES = 12_288
/** The most pieces that one message may be in. */
const MAX_PIECES = 128

/** What became of a fragment. */
export type FragmentFate =
  | 'stored'
  /** Part of a message that was taken before: the peer repeats a flight. */
  | 'repeated'
  /** Of another type, length or epoch than earlier fragments with its number, empty, or too far ahead. */
  | 'inconsistent'
  /** Beyond a bound. */
  | 'over-limit'

interface Piece {
  readonly start: number
  readonly bytes: Uint8Array
}

interface Partial {
  readonly type: number
  readonly length: number
  readonly epoch: number
  /** Sorted, not overlapping. */
  readonly pieces: Piece[]
  held: number
}

/**
 * Puts handshake messages together from fragments that arrive in any order, twice, or overlapping, and hands them out in
 * the order of their numbers. RFC 6347 §4.2.3. The first bytes to arrive for a place win. Everything is bounded: numbers
 * ahead, bytes, pieces.
 */
export class Reassembler {
  private readonly partials = new Map<number, Partial>()
  private held = 0
  /** The number of the message that comes next. */
  nextSeq: number

  constructor(nextSeq: number) {
    this.nextSeq = nextSeq
  }

  /** Takes a fragment; `bytes[from, from + header.fragmentLength)` is its content, of which it keeps a copy. */
  add(header: FragmentHeader, bytes: Uint8Array, from: number, epoch: number): FragmentFate {
    const { messageSeq, type, length, fragmentOffset, fragmentLength } = header
    if (messageSeq < this.nextSeq) return 'repeated'
    if (messageSeq >= this.nextSeq + LOOK_AHEAD) return 'inconsistent'
    if (fragmentLength === 0 && length > 0) return 'inconsistent'
    if (length > MAX_MESSAGE_BYTES) return 'over-limit'
    let partial = this.partials.get(messageSeq)
    if (partial === undefined) {
      partial = { type, length, epoch, pieces: [], held: 0 }
    } else if (partial.type !== type || partial.length !== length || partial.epoch !== epoch) {
      return 'inconsistent'
    }
    if (!this.store(partial, fragmentOffset, bytes.subarray(from, from + fragmentLength))) return 'over-limit'
    this.partials.set(messageSeq, partial)
    return 'stored'
  }

  /** The next message, if it is whole. It stays the next one until `advance` or `discard`. */
  peek(): HandshakeMessage | undefined {
    const partial = this.partials.get(this.nextSeq)
    if (partial === undefined || partial.held !== partial.length) return undefined
    const body = new Uint8Array(partial.length)
    for (const piece of partial.pieces) body.set(piece.bytes, piece.start)
    return { type: partial.type, messageSeq: this.nextSeq, epoch: partial.epoch, body }
  }

  /** Goes on to the message behind the next one. */
  advance(): void {
    this.discard()
    this.nextSeq++
  }

  /** Throws the next message away; its number may come again, with other content. */
  discard(): void {
    this.forget(this.nextSeq)
  }

  /** Starts anew at a number. */
  restart(nextSeq: number): void {
    this.clear()
    this.nextSeq = nextSeq
  }

  /** Throws all unfinished messages away, as when keys change: no message straddles that. */
  clear(): void {
    this.partials.clear()
    this.held = 0
  }

  private forget(messageSeq: number): void {
    const partial = this.partials.get(messageSeq)
    if (partial === undefined) return
    this.held -= partial.held
    this.partials.delete(messageSeq)
  }

  /** Copies the parts of `content` that are still missing. Returns false when a bound would be passed; then nothing is kept. */
  private store(partial: Partial, offset: number, content: Uint8Array): boolean {
    const added: Piece[] = []
    let bytes = 0
    let at = offset
    const end = offset + content.length
    const keep = (until: number): void => {
      if (until > at) {
        added.push({ start: at, bytes: copyBytes(content, at - offset, until - offset) })
        bytes += until - at
      }
    }
    for (const piece of partial.pieces) {
      if (at >= end || piece.start >= end) break
      keep(piece.start)
      at = Math.max(at, piece.start + piece.bytes.length)
    }
    keep(end)
    if (this.held + bytes > MAX_HELD_BYTES || partial.pieces.length + added.length > MAX_PIECES) return false
    if (added.length > 0) {
      partial.pieces.push(...added)
      partial.pieces.sort((a, b) => a.start - b.start)
      partial.held += bytes
      this.held += bytes
    }
    return true
  }
}
