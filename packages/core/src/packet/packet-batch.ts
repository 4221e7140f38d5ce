import { checksumAdd } from './checksum.ts'
import { DROP_REASON_COUNT, type DropReason } from './drop-reason.ts'
import type { PacketMemory } from './packet-memory.ts'

/** The fate of a slot. Stages touch only slots that are still `forward`. */
export const Verdict = {
  /** Goes on to the next stage. */
  forward: 0,
  /** Dropped; its reason is counted. */
  drop: 1,
  /** Left the data path for the control plane (a handshake datagram, a control frame). */
  divert: 2,
  /** Became a piece of an earlier slot, which names it by `next`. */
  merged: 3,
} as const

export type Verdict = (typeof Verdict)[keyof typeof Verdict]

export interface PacketBatchOptions {
  /** How many slots. @defaultValue 64 */
  readonly capacity?: number
  /** The longest packet of a slot, in bytes, without headroom and tailroom. @defaultValue 2048 */
  readonly slotBytes?: number
  /** Free bytes before each packet, for headers that are prepended. @defaultValue 64 */
  readonly headroom?: number
  /** Free bytes behind each packet, for tags that are appended. @defaultValue 64 */
  readonly tailroom?: number
  /** Bytes of the slab behind the slots' own places, where slots may be pointed to by `place`. @defaultValue 0 */
  readonly sharedBytes?: number
  /** Where the slab is cut from, as long as there is room. @defaultValue memory of its own */
  readonly memory?: PacketMemory | undefined
}

/**
 * Up to `capacity` packets in one slab, described by parallel typed arrays. Stages are functions over a batch that
 * change bytes in place, move `offsets`/`lengths` to prepend or strip headers, and give verdicts.
 *
 * `owners[slot]` is a small integer that says whose packet it is; each stage documents what it expects and leaves there
 * (a socket's endpoint index, a DTLS association, a session).
 *
 * A slot may hold a **super-packet**: the headers of one TCP or UDP packet and the payload of many, which only become packets
 * of their own where they leave (segmentation offload). `segments`, `segmentBytes` and `partialChecksums` describe it; the length
 * fields of its headers cover all of it. Its payload may lie in several places: then `next` chains the slots that hold the
 * further pieces, whose verdict is `merged`. Stages that look at headers only need not care.
 *
 * Memory: capacity * (headroom + slotBytes + tailroom) + sharedBytes + 34 bytes a slot. The slab never moves: native code may
 * keep its address for as long as the batch lives. It may be a part of `bytes.buffer`.
 */
export class PacketBatch {
  readonly capacity: number
  readonly slotBytes: number
  readonly headroom: number
  readonly tailroom: number
  /** Distance between the starts of two slots. */
  readonly stride: number
  /** The slab. */
  readonly bytes: Uint8Array
  /** The same slab, for field access. */
  readonly view: DataView
  /** Where each packet begins in the slab. */
  readonly offsets: Int32Array
  readonly lengths: Int32Array
  readonly verdicts: Uint8Array
  readonly owners: Int32Array
  /** How many packets a slot stands for: 1, or those of a super-packet. */
  readonly segments: Uint16Array
  /** Payload bytes of each packet of a super-packet, the last one's may be fewer. 0 for a single packet. */
  readonly segmentBytes: Uint16Array
  /**
   * 1 where the checksum field of TCP or UDP holds only the folded sum of the pseudo header, not inverted, and whoever sends
   * the packet completes it (`NEEDS_CSUM` of virtio); 0 where the checksum is whole.
   */
  readonly partialChecksums: Uint8Array
  /** The slot that holds the next piece of this slot's payload, or -1. */
  readonly next: Int32Array
  /** Where `next` is set: how many of the bytes lie at the slot's own offset, headers included. */
  readonly ownLengths: Int32Array
  /**
   * What `locateTransport` says of a packet that `checkPackets` found good, so that later stages need not look again; 0 of
   * one that was not checked.
   */
  readonly locations: Int32Array
  /** Where the shared part of the slab begins. */
  readonly sharedOffset: number
  /** What the slab is a part of. */
  readonly memory: PacketMemory | undefined
  /** Drops since creation, indexed by `DropReason`. */
  readonly drops: Float64Array
  private readonly slabAt: number
  private readonly slabBytes: number
  /** How many slots are in use. */
  count = 0

  constructor(options: PacketBatchOptions = {}) {
    this.capacity = options.capacity ?? 64
    this.slotBytes = options.slotBytes ?? 2048
    this.headroom = options.headroom ?? 64
    this.tailroom = options.tailroom ?? 64
    this.stride = this.headroom + this.slotBytes + this.tailroom
    this.sharedOffset = this.capacity * this.stride
    const slabBytes = this.sharedOffset + (options.sharedBytes ?? 0)
    const at = options.memory?.take(slabBytes) ?? -1
    this.memory = at === -1 ? undefined : options.memory
    const buffer = this.memory?.buffer ?? new ArrayBuffer(slabBytes)
    this.slabAt = Math.max(at, 0)
    this.slabBytes = slabBytes
    this.bytes = new Uint8Array(buffer, this.slabAt, slabBytes)
    this.view = new DataView(buffer, this.slabAt, slabBytes)
    this.offsets = new Int32Array(this.capacity)
    this.lengths = new Int32Array(this.capacity)
    this.verdicts = new Uint8Array(this.capacity)
    this.owners = new Int32Array(this.capacity)
    this.segments = new Uint16Array(this.capacity)
    this.segmentBytes = new Uint16Array(this.capacity)
    this.partialChecksums = new Uint8Array(this.capacity)
    this.next = new Int32Array(this.capacity)
    this.ownLengths = new Int32Array(this.capacity)
    this.locations = new Int32Array(this.capacity)
    this.drops = new Float64Array(DROP_REASON_COUNT)
  }

  get full(): boolean {
    return this.count === this.capacity
  }

  /** Forgets all slots. */
  reset(): void {
    this.count = 0
  }

  /** Takes the next slot, empty, its packet starting behind the headroom. Returns its number, or -1 when the batch is full. */
  reserve(owner = -1): number {
    if (this.count === this.capacity) return -1
    return this.place(this.count * this.stride + this.headroom, 0, owner)
  }

  /**
   * Takes the next slot for bytes that lie anywhere in the slab, such as in its shared part. Returns its number, or -1 when the
   * batch is full.
   */
  place(offset: number, length: number, owner = -1): number {
    if (this.count === this.capacity) return -1
    const slot = this.count++
    this.offsets[slot] = offset
    this.lengths[slot] = length
    this.verdicts[slot] = Verdict.forward
    this.owners[slot] = owner
    this.segments[slot] = 1
    this.segmentBytes[slot] = 0
    this.partialChecksums[slot] = 0
    this.next[slot] = -1
    this.locations[slot] = 0
    return slot
  }

  /** Copies a packet in. Returns its slot, or -1 when the batch is full or the packet longer than `slotBytes`. */
  push(packet: Uint8Array, owner = -1): number {
    if (packet.length > this.slotBytes) return -1
    const slot = this.reserve(owner)
    if (slot === -1) return -1
    this.bytes.set(packet, this.offsets[slot]!)
    this.lengths[slot] = packet.length
    return slot
  }

  /** `checksumAdd` over bytes of the slab. @throws RangeError beyond it */
  sumAt(offset: number, length: number, sum = 0): number {
    const { memory } = this
    if (memory === undefined) return checksumAdd(this.view, offset, length, sum)
    this.check(offset, length)
    return memory.sum(this.slabAt + offset, length, sum)
  }

  /** Copies `length` bytes from `from` in another batch's slab to `to` in this one. @throws RangeError beyond a slab */
  copyFrom(source: PacketBatch, from: number, to: number, length: number): void {
    if (this.memory !== undefined && this.memory === source.memory) this.copyAndSum(source, from, to, length)
    else this.set(source, from, to, length)
  }

  /**
   * `copyFrom`, which also adds the bytes to a sum as `checksumAdd` does: in one pass when both slabs are of the same memory.
   *
   * @throws RangeError beyond a slab
   */
  copyAndSum(source: PacketBatch, from: number, to: number, length: number, sum = 0): number {
    const { memory } = this
    if (memory === undefined || memory !== source.memory) {
      this.set(source, from, to, length)
      return this.sumAt(to, length, sum)
    }
    source.check(from, length)
    this.check(to, length)
    return memory.copyAndSum(source.slabAt + from, this.slabAt + to, length, sum)
  }

  private set(source: PacketBatch, from: number, to: number, length: number): void {
    source.check(from, length)
    // One short-lived view: two thirds of the time that a loop over words takes.
    this.bytes.set(source.bytes.subarray(from, from + length), to)
  }

  private check(at: number, length: number): void {
    if (at < 0 || length < 0 || at + length > this.slabBytes) throw new RangeError('bytes beyond the slab of a batch')
  }

  /**
   * A slot's packet; for cold paths (it allocates). Valid until the batch is reset. A view of the slab, unless the
   * payload lies in several places: then a copy.
   */
  packet(slot: number): Uint8Array {
    const offset = this.offsets[slot]!
    if (this.next[slot] === -1) return this.bytes.subarray(offset, offset + this.lengths[slot]!)
    const whole = new Uint8Array(this.lengths[slot]!)
    whole.set(this.bytes.subarray(offset, offset + this.ownLengths[slot]!))
    let at = this.ownLengths[slot]!
    for (let piece = this.next[slot]!; piece !== -1; piece = this.next[piece]!) {
      whole.set(this.bytes.subarray(this.offsets[piece]!, this.offsets[piece]! + this.lengths[piece]!), at)
      at += this.lengths[piece]!
    }
    return whole
  }

  /** Gives a slot up, with all packets that it stands for, and counts why. */
  drop(slot: number, reason: DropReason): void {
    this.verdicts[slot] = Verdict.drop
    this.drops[reason] = this.drops[reason]! + this.segments[slot]!
  }

  /** Hands a slot to the control plane. */
  divert(slot: number): void {
    this.verdicts[slot] = Verdict.divert
  }
}
