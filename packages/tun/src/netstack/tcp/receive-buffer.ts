import { ByteStore } from './byte-store.ts'
import type { MemoryBudget } from './memory-budget.ts'
import { ReceiveRanges } from './receive-ranges.ts'

const noFin = Number.POSITIVE_INFINITY

/**
 * What arrived and was not read yet, the window that is offered for more, and how that window grows.
 *
 * The window is `limit` less what waits to be read. Its right edge never moves back (RFC 9293 §3.8.6), and moves on only
 * in steps worth a segment (§3.8.6.2.2). `limit` doubles and more when the reader took half of it within one round trip:
 * then the window, not the reader, is what limits the sender.
 */
export class ReceiveBuffer {
  /** RCV.NXT. */
  next = 1
  readonly ranges: ReceiveRanges = new ReceiveRanges()
  /** Segments in the window that were not kept: too many gaps or no memory. */
  refused = 0
  limit: number
  private maxLimit: number
  private readonly initialLimit: number
  private readonly memory: MemoryBudget
  private readonly store: ByteStore
  private readPosition = 1
  /** The right edge that was offered. */
  private edge = 1
  private finPosition = noFin
  private tuneStart = 0
  private readSinceTune = 0

  constructor(memory: MemoryBudget, initialLimit: number, maxLimit: number) {
    this.memory = memory
    this.store = new ByteStore(memory)
    this.limit = initialLimit
    this.initialLimit = initialLimit
    this.maxLimit = maxLimit
  }

  /** The window that the handshake allows to express. */
  capWindow(maxBytes: number): void {
    this.maxLimit = Math.min(this.maxLimit, maxBytes)
    this.limit = Math.min(this.limit, maxBytes)
  }

  get readableBytes(): number {
    return Math.min(this.next, this.finPosition) - this.readPosition
  }

  /** Whether FIN and all before it arrived. */
  get ended(): boolean {
    return this.next > this.finPosition
  }

  get heldBytes(): number {
    return this.store.heldBytes
  }

  /** RCV.WND as the peer may use it. */
  get offeredWindow(): number {
    return this.edge - this.next
  }

  /**
   * Takes the data of a segment from `position` on, and its FIN. Clips it to the window. Returns whether `next` moved.
   */
  receive(position: number, bytes: Uint8Array, from: number, length: number, fin: boolean): boolean {
    if (this.ended) return false
    let end = position + length
    if (fin && this.finPosition === noFin && end >= this.next && end <= this.edge && end >= this.ranges.end)
      this.finPosition = end
    const finHere = fin && end === this.finPosition
    end = Math.min(end, this.edge, this.finPosition)
    if (position < this.next) {
      if (end > position) this.ranges.noteDuplicate(position, Math.min(end, this.next))
      if (end < this.next || (end === this.next && !finHere)) return false
      from += this.next - position
      position = this.next
    }
    const stored = this.keep(position, bytes, from, end - position)
    end = position + stored + (finHere && position + stored === this.finPosition ? 1 : 0)
    if (end === position) return false
    if (position === this.next) {
      this.next = this.ranges.count === 0 ? end : this.ranges.advance(end)
      return true
    }
    if (!this.ranges.add(position, end)) this.refused++
    return false
  }

  read(target: Uint8Array): number {
    const length = Math.min(target.length, this.readableBytes)
    if (length <= 0) return 0
    this.store.copyTo(this.readPosition, target, 0, length)
    this.readPosition += length
    this.readSinceTune += length
    this.store.releaseBefore(this.readPosition, this.readableBytes === 0 && this.ranges.count === 0)
    return length
  }

  /** Moves the right edge on as far as it should be, and returns the window to offer. `mss` is what the peer sends. */
  offerWindow(mss: number): number {
    const candidate = this.candidateEdge()
    if (candidate - this.edge >= Math.min(this.limit / 2, mss)) this.edge = candidate
    return this.edge - this.next
  }

  /** Whether a reader made so much room that the peer should hear of it at once. */
  wantsWindowUpdate(mss: number): boolean {
    if (this.ended) return false
    const opened = this.candidateEdge() - this.edge
    return opened >= Math.min(this.limit / 2, 2 * mss) && this.offeredWindow < this.limit / 2
  }

  /** Call when data arrived in order; grows `limit` when the reader keeps up with a full window per round trip. */
  tune(roundTripMs: number, now: number): void {
    if (now - this.tuneStart < roundTripMs) return
    if (this.readSinceTune >= this.limit / 2 && !this.memory.isTight)
      this.limit = Math.min(this.maxLimit, Math.max(this.limit, 4 * this.readSinceTune))
    this.tuneStart = now
    this.readSinceTune = 0
  }

  /** Gives all memory back, unread data too. */
  clear(): void {
    this.store.clear()
    this.ranges.clear()
    this.readPosition = Math.min(this.next, this.finPosition)
  }

  private candidateEdge(): number {
    const limit = this.memory.isTight ? Math.min(this.limit, this.initialLimit) : this.limit
    return this.readPosition + limit
  }

  /** Stores bytes; when memory is refused to data in order, data out of order makes room. */
  private keep(position: number, bytes: Uint8Array, from: number, length: number): number {
    if (length <= 0) return 0
    let stored = this.store.write(position, bytes, from, length)
    if (stored === length) return stored
    this.refused++
    if (position !== this.next) return 0
    this.ranges.clear()
    this.store.releaseFrom(this.next + stored)
    stored += this.store.write(position + stored, bytes, from + stored, length - stored)
    return stored
  }
}
