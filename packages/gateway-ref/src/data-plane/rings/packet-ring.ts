import type { PacketBatch } from '@twinbore/core/packet'

/**
 * Packets from one thread to another: a ring of bytes in shared memory with one writer and one reader, neither of which ever
 * waits. What finds no room is dropped and counted.
 *
 *     control words                       records, each aligned to 8 bytes
 *     written | read | dropped | waits     length, owner, bytes ...  |  length, owner, bytes ...  |  skip to the start
 *
 * `written` and `read` count bytes and wrap at 2^32; the writer owns `written` and `dropped`, the reader `read`. A record is
 * seen when `publish` has moved `written` past it, so one store, and at most one wakeup, serves a whole batch.
 */
export class PacketRing {
  readonly memory: SharedArrayBuffer
  private readonly words: Int32Array
  private readonly heads: Int32Array
  private readonly bytes: Uint8Array
  private readonly size: number
  /** The writer's place, ahead of what is published. */
  private ahead: number

  /** @param memory - of `PacketRing.allocate`; the other end has the same. */
  constructor(memory: SharedArrayBuffer) {
    this.memory = memory
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
      this.heads[at >> 2] = SKIP
      this.ahead = (this.ahead + skip) | 0
    }
    const start = skip > 0 ? 0 : at
    this.heads[start >> 2] = length
    this.heads[(start >> 2) + 1] = owner
    const to = start + HEAD_BYTES
    this.bytes.set(offset === 0 && length === bytes.length ? bytes : bytes.subarray(offset, offset + length), to)
    this.ahead = (this.ahead + need) | 0
    return true
  }

  /** Lets the reader see what was pushed. Returns whether it waits and has to be woken. */
  publish(): boolean {
    if (this.ahead === Atomics.load(this.words, Word.written)) return false
    Atomics.store(this.words, Word.written, this.ahead)
    return Atomics.exchange(this.words, Word.waits, 0) === 1
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

  /** Hands each packet to `take` until the ring is empty or `take` wants no more. The bytes are the ring's and must be copied. */
  drain(take: (bytes: Uint8Array, offset: number, length: number, owner: number) => boolean): void {
    const written = Atomics.load(this.words, Word.written)
    let at = Atomics.load(this.words, Word.read)
    for (let more = true; more && at !== written; ) {
      const start = at & (this.size - 1)
      const length = this.heads[start >> 2]!
      if (length === SKIP) {
        at = (at + this.size - start) | 0
        continue
      }
      more = take(this.bytes, start + HEAD_BYTES, length, this.heads[(start >> 2) + 1]!)
      at = (at + HEAD_BYTES + ((length + 7) & ~7)) | 0
    }
    Atomics.store(this.words, Word.read, at)
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
