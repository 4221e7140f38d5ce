import { DROP_REASON_COUNT, type DropReason } from './drop-reason.ts'

/** The fate of a slot. Stages touch only slots that are still `forward`. */
export const Verdict = {
  /** Goes on to the next stage. */
  forward: 0,
  /** Dropped; its reason is counted. */
  drop: 1,
  /** Left the data path for the control plane (a handshake datagram, a control frame). */
  divert: 2,
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
}

/**
 * Up to `capacity` packets in one slab, described by parallel typed arrays. Stages are functions over a batch that
 * change bytes in place, move `offsets`/`lengths` to prepend or strip headers, and give verdicts.
 *
 * `owners[slot]` is a small integer that says whose packet it is; each stage documents what it expects and leaves there
 * (a socket's endpoint index, a DTLS association, a session).
 *
 * Memory: capacity * (headroom + slotBytes + tailroom) + 17 bytes a slot.
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
  /** Which place of the slab each slot has; a permutation, so that compacting never makes two slots share one. */
  private readonly places: Int32Array
  /** Drops since creation, indexed by `DropReason`. */
  readonly drops: Float64Array
  /** How many slots are in use. */
  count = 0

  constructor(options: PacketBatchOptions = {}) {
    this.capacity = options.capacity ?? 64
    this.slotBytes = options.slotBytes ?? 2048
    this.headroom = options.headroom ?? 64
    this.tailroom = options.tailroom ?? 64
    this.stride = this.headroom + this.slotBytes + this.tailroom
    const slab = new ArrayBuffer(this.capacity * this.stride)
    this.bytes = new Uint8Array(slab)
    this.view = new DataView(slab)
    this.offsets = new Int32Array(this.capacity)
    this.lengths = new Int32Array(this.capacity)
    this.verdicts = new Uint8Array(this.capacity)
    this.owners = new Int32Array(this.capacity)
    this.places = Int32Array.from({ length: this.capacity }, (_, i) => i)
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
    const slot = this.count++
    this.offsets[slot] = this.places[slot]! * this.stride + this.headroom
    this.lengths[slot] = 0
    this.verdicts[slot] = Verdict.forward
    this.owners[slot] = owner
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

  /** A view of a slot's packet; for cold paths (it allocates). Valid until the batch is reset or compacted. */
  packet(slot: number): Uint8Array {
    const offset = this.offsets[slot]!
    return this.bytes.subarray(offset, offset + this.lengths[slot]!)
  }

  /** Gives a slot up and counts why. */
  drop(slot: number, reason: DropReason): void {
    this.verdicts[slot] = Verdict.drop
    this.drops[reason] = this.drops[reason]! + 1
  }

  /** Hands a slot to the control plane. */
  divert(slot: number): void {
    this.verdicts[slot] = Verdict.divert
  }

  /** Removes the slots that are not `forward`. Slots move up, the bytes of the slab stay where they are. */
  compact(): void {
    let kept = 0
    for (let slot = 0; slot < this.count; slot++) {
      if (this.verdicts[slot] !== Verdict.forward) continue
      if (kept !== slot) {
        this.offsets[kept] = this.offsets[slot]!
        this.lengths[kept] = this.lengths[slot]!
        this.verdicts[kept] = Verdict.forward
        this.owners[kept] = this.owners[slot]!
        const place = this.places[kept]!
        this.places[kept] = this.places[slot]!
        this.places[slot] = place
      }
      kept++
    }
    this.count = kept
  }
}
