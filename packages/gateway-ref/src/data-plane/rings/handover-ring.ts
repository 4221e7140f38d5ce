import { DropReason, type PacketBatch } from '@twinbore/core/packet'

/**
 * Packets and super-packets from one worker to another, in shared memory, like `PacketRing` but with their shapes: one writer and
 * one reader, neither of which ever waits.
 *
 *     control words      records, each aligned to 8 bytes
 *     written | read     length, owner, shape, kind, bytes ...  |  length, ...  |  skip to the start
 *
 * `shape` holds `segments` and, above them, `segmentBytes`. `kind` is a number of the writer's for the reader, above the bit that
 * says that the checksum is partial.
 */
export class HandoverRing {
  readonly memory: SharedArrayBuffer
  private readonly words: Int32Array
  private readonly heads: Int32Array
  private readonly bytes: Uint8Array
  private readonly size: number
  /** The writer's place, ahead of what is published. */
  private ahead: number

  /** @param memory - of `HandoverRing.allocate`; the other end has the same. */
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

  // The writer's side.

  /**
   * Puts the packet or super-packet of a slot in, wherever its pieces lie; it is seen after `publish`. Returns false when there is
   * no room. `kind` is 0 to 255. `head` goes before its bytes.
   */
  pushSlot(batch: PacketBatch, slot: number, kind: number, head: Uint8Array = NO_HEAD): boolean {
    const shape = batch.segments[slot]! | (batch.segmentBytes[slot]! << 16)
    const flags = batch.partialChecksums[slot]! | (kind << 1)
    let to = this.claim(head.length + batch.lengths[slot]!, batch.owners[slot]!, shape, flags)
    if (to === -1) return false
    if (head.length > 0) this.bytes.set(head, to)
    to += head.length
    const { bytes, offsets, lengths, next } = batch
    let length = next[slot] === -1 ? lengths[slot]! : batch.ownLengths[slot]!
    for (let piece = slot; piece !== -1; piece = next[piece]!) {
      if (piece !== slot) length = lengths[piece]!
      this.bytes.set(bytes.subarray(offsets[piece]!, offsets[piece]! + length), to)
      to += length
    }
    return true
  }

  /** Room for a record, with its head written. Returns where its bytes go, or -1. */
  private claim(length: number, owner: number, shape: number, flags: number): number {
    const need = HEAD_BYTES + ((length + 7) & ~7)
    const at = this.ahead & (this.size - 1)
    const skip = at + need > this.size ? this.size - at : 0
    const used = (this.ahead - Atomics.load(this.words, Word.read)) >>> 0
    if (used + skip + need > this.size) return -1
    if (skip > 0) {
      this.heads[at >> 2] = SKIP
      this.ahead = (this.ahead + skip) | 0
    }
    const start = skip > 0 ? 0 : at
    const head = start >> 2
    this.heads[head] = length
    this.heads[head + 1] = owner
    this.heads[head + 2] = shape
    this.heads[head + 3] = flags
    this.ahead = (this.ahead + need) | 0
    return start + HEAD_BYTES
  }

  /** Lets the reader see what was pushed. */
  publish(): void {
    Atomics.store(this.words, Word.written, this.ahead)
  }

  // The reader's side.

  get isEmpty(): boolean {
    return Atomics.load(this.words, Word.read) === Atomics.load(this.words, Word.written)
  }

  /**
   * Moves packets and super-packets to the batches that `batchOf` names by their kinds, until the ring is empty or one of the
   * batches is full, none of which may be at first. What is longer than a slot is dropped there. Returns whether all have room.
   */
  drainSlots(batchOf: (kind: number) => PacketBatch): boolean {
    let hasRoom = true
    this.drain((bytes, offset, length, owner, head) => {
      const flags = this.heads[head + 3]!
      const batch = batchOf(flags >> 1)
      const slot = batch.reserve(owner)
      const shape = this.heads[head + 2]!
      batch.segments[slot] = shape & 0xffff
      batch.segmentBytes[slot] = shape >>> 16
      batch.partialChecksums[slot] = flags & 1
      if (length > batch.slotBytes) batch.drop(slot, DropReason.tooBig)
      else {
        batch.bytes.set(bytes.subarray(offset, offset + length), batch.offsets[slot]!)
        batch.lengths[slot] = length
      }
      hasRoom = !batch.full
      return hasRoom
    })
    return hasRoom
  }

  /** Throws away what is in the ring. Returns how many packets that were. */
  discard(): number {
    let discarded = 0
    this.drain((_bytes, _offset, _length, _owner, head) => {
      discarded += this.heads[head + 2]! & 0xffff
      return true
    })
    return discarded
  }

  /**
   * Hands each packet to `take` until the ring is empty or `take` wants no more. The bytes are the ring's and must be copied.
   * `head` is the word where the record's head begins.
   */
  private drain(
    take: (bytes: Uint8Array, offset: number, length: number, owner: number, head: number) => boolean,
  ): void {
    const written = Atomics.load(this.words, Word.written)
    let at = Atomics.load(this.words, Word.read)
    for (let more = true; more && at !== written; ) {
      const start = at & (this.size - 1)
      const head = start >> 2
      const length = this.heads[head]!
      if (length === SKIP) {
        at = (at + this.size - start) | 0
        continue
      }
      more = take(this.bytes, start + HEAD_BYTES, length, this.heads[head + 1]!, head)
      at = (at + HEAD_BYTES + ((length + 7) & ~7)) | 0
    }
    Atomics.store(this.words, Word.read, at)
  }
}

const Word = { written: 0, read: 1 } as const
const CONTROL_BYTES = 64
const HEAD_BYTES = 16
const SKIP = -1
const NO_HEAD = new Uint8Array(0)
