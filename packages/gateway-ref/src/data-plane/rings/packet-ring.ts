import type { PacketBatch } from '@twinbore/core/packet'

/** Copies bytes from one array to another, neither of which is the other's memory. `nativeCopy` of `@twinbore/tun/io` fits. */
export type CopyBytes = (
  target: Uint8Array,
  targetAt: number,
  source: Uint8Array,
  sourceAt: number,
  length: number,
) => void

/**
 * Packets from one thread to another: a ring of bytes in shared memory with one writer and one reader, neither of which ever
 * waits. What finds no room is dropped and counted.
 *
 *     control words                       records, each aligned to 8 bytes
 *     written | read | dropped | waits     length, owner, bytes ...  |  length, owner, bytes ...  |  skip to the start
 *
 * `written` and `read` count bytes and wrap at 2^32; the writer owns `written` and `dropped`, the reader `read`. A record is
 * seen when `publish` has moved `written` past it, so one store, and at most one wakeup, serves a whole batch.
 *
 * Each end works on a copy of its own, which goes to shared memory, or comes from it, in pieces of many records: to copy packet by
 * packet costs several times as much there, as V8 copies shared memory by relaxed atomics. Memory: 64 KiB at each end, once used.
 */
export class PacketRing {
  readonly memory: SharedArrayBuffer
  private readonly words: Int32Array
  private readonly heads: Int32Array
  private readonly bytes: Uint8Array
  private readonly size: number
  private readonly copy: CopyBytes
  /** The writer's place, ahead of what is published. */
  private ahead: number
  /** Of the writer: the records up to `ahead` that are not in the ring yet. */
  private readonly staged = new Piece()
  /** Of the reader: a copy of a part of the ring, which begins at `fetchedAt`. */
  private readonly fetched = new Piece()
  private fetchedAt = 0

  /**
   * @param memory - of `PacketRing.allocate`; the other end has the same.
   * @param copy - how bytes get into shared memory and out of it. @defaultValue `set` of Uint8Array
   */
  constructor(memory: SharedArrayBuffer, copy: CopyBytes = copyByView) {
    this.memory = memory
    this.copy = copy
    this.size = memory.byteLength - CONTROL_BYTES
    this.words = new Int32Array(memory, 0, CONTROL_BYTES / 4)
    this.heads = new Int32Array(memory, CONTROL_BYTES)
    this.bytes = new Uint8Array(memory, CONTROL_BYTES)
    this.ahead = Atomics.load(this.words, Word.written)
  }

  /** Memory for a ring. @throws RangeError unless `bytes` is a power of two from 1 KiB to 1 GiB */
  static allocate(bytes: number): SharedArrayBuffer {
    if (!Number.isInteger(Math.log2(bytes)) || bytes < 1024 || bytes > 0x4000_0000) {
      throw new RangeError('bytes must be a power of two from 1024 to 1073741824')
    }
    return new SharedArrayBuffer(CONTROL_BYTES + bytes)
  }

  /** Packets that found no room. */
  get dropped(): number {
    return Atomics.load(this.words, Word.dropped) >>> 0
  }

  // The writer's side.

  /** Puts a packet in; it is seen after `publish`. Returns false, and counts, when there is no room. */
  push(bytes: Uint8Array, offset: number, length: number, owner: number): boolean {
    const need = HEAD_BYTES + ((length + 7) & ~7)
    const at = this.ahead & (this.size - 1)
    const skip = at + need > this.size ? this.size - at : 0
    const used = (this.ahead - Atomics.load(this.words, Word.read)) >>> 0
    if (used + skip + need > this.size) {
      Atomics.add(this.words, Word.dropped, 1)
      return false
    }
    if (skip > 0) {
      this.flush()
      this.heads[at >> 2] = SKIP
      this.ahead = (this.ahead + skip) | 0
    }
    if ((this.ahead & (this.size - 1)) === 0 || this.staged.length + need > PIECE_BYTES) this.flush()
    if (need > PIECE_BYTES) write(this.bytes, this.heads, this.ahead & (this.size - 1), bytes, offset, length, owner)
    else this.staged.add(need, bytes, offset, length, owner)
    this.ahead = (this.ahead + need) | 0
    return true
  }

  /** Lets the reader see what was pushed. Returns whether it waits and has to be woken. */
  publish(): boolean {
    if (this.ahead === Atomics.load(this.words, Word.written)) return false
    this.flush()
    Atomics.store(this.words, Word.written, this.ahead)
    return Atomics.exchange(this.words, Word.waits, 0) === 1
  }

  /** Puts what is staged into the ring, in which it never wraps. */
  private flush(): void {
    const { staged } = this
    if (staged.length === 0) return
    this.copy(this.bytes, (this.ahead - staged.length) & (this.size - 1), staged.bytes, 0, staged.length)
    staged.length = 0
  }

  // The reader's side.

  get isEmpty(): boolean {
    return Atomics.load(this.words, Word.read) === Atomics.load(this.words, Word.written)
  }

  /** Moves packets to a batch, their owners with them, until the ring is empty or the batch full. Returns how many. */
  drainTo(batch: PacketBatch): number {
    let moved = 0
    this.drain((bytes, offset, length, owner) => {
      const slot = batch.push(bytes.subarray(offset, offset + length), owner)
      if (slot !== -1) moved++
      return !batch.full
    })
    return moved
  }

  /** Hands each packet to `take` until the ring is empty or `take` wants no more. The bytes must be used before it returns. */
  drain(take: (bytes: Uint8Array, offset: number, length: number, owner: number) => boolean): void {
    const written = Atomics.load(this.words, Word.written)
    let at = Atomics.load(this.words, Word.read)
    for (let more = true; more && at !== written; ) {
      const start = at & (this.size - 1)
      if (this.heads[start >> 2] === SKIP) {
        at = (at + this.size - start) | 0
        continue
      }
      const from = this.fetch(at, written)
      const isLong = from === -1
      const heads = isLong ? this.heads : this.fetched.heads
      const place = isLong ? start : from
      const length = heads[place >> 2]!
      more = take(isLong ? this.bytes : this.fetched.bytes, place + HEAD_BYTES, length, heads[(place >> 2) + 1]!)
      at = (at + HEAD_BYTES + ((length + 7) & ~7)) | 0
    }
    Atomics.store(this.words, Word.read, at)
  }

  /** Where the record at `at` is in `fetched`, which is filled as needed; -1 when it is longer than that. */
  private fetch(at: number, written: number): number {
    const { fetched } = this
    const from = (at - this.fetchedAt) | 0
    if (fetched.holds(from)) return from
    const start = at & (this.size - 1)
    this.fetchedAt = at
    fetched.fill(this.copy, this.bytes, start, Math.min((written - at) >>> 0, this.size - start, PIECE_BYTES))
    return fetched.holds(0) ? 0 : -1
  }

  /** Says that the reader is about to wait. False when something came meanwhile: then it must not. */
  willWait(): boolean {
    Atomics.store(this.words, Word.waits, 1)
    if (this.isEmpty) return true
    Atomics.store(this.words, Word.waits, 0)
    return false
  }
}

const Word = { written: 0, read: 1, dropped: 2, waits: 3 } as const
const CONTROL_BYTES = 64
const HEAD_BYTES = 8
const SKIP = -1
/** What one end copies at once: less than a second-level cache. */
const PIECE_BYTES = 65_536

const nothing = new Uint8Array(0)
const noHeads = new Int32Array(0)

/** Records of one end, outside of shared memory. */
class Piece {
  bytes: Uint8Array = nothing
  heads: Int32Array = noHeads
  length = 0

  add(need: number, bytes: Uint8Array, offset: number, length: number, owner: number): void {
    this.allocate()
    write(this.bytes, this.heads, this.length, bytes, offset, length, owner)
    this.length += need
  }

  fill(copy: CopyBytes, source: Uint8Array, at: number, length: number): void {
    this.allocate()
    copy(this.bytes, 0, source, at, length)
    this.length = length
  }

  /** Whether there is a whole record at `at`. */
  holds(at: number): boolean {
    return at >= 0 && at + HEAD_BYTES <= this.length && at + HEAD_BYTES + this.heads[at >> 2]! <= this.length
  }

  private allocate(): void {
    if (this.bytes !== nothing) return
    const memory = new ArrayBuffer(PIECE_BYTES)
    this.bytes = new Uint8Array(memory)
    this.heads = new Int32Array(memory)
  }
}

function write(
  target: Uint8Array,
  heads: Int32Array,
  at: number,
  bytes: Uint8Array,
  offset: number,
  length: number,
  owner: number,
): void {
  heads[at >> 2] = length
  heads[(at >> 2) + 1] = owner
  target.set(offset === 0 && length === bytes.length ? bytes : bytes.subarray(offset, offset + length), at + HEAD_BYTES)
}

const copyByView: CopyBytes = (target, targetAt, source, sourceAt, length) => {
  target.set(source.subarray(sourceAt, sourceAt + length), targetAt)
}
