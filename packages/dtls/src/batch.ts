/**
 * A batch of datagrams in one slab, described by parallel arrays: what the data plane hands in. Stages edit bytes in place
 * and move `offsets` and `lengths`; `PacketBatch` of `@twinbore/core/packet` has this shape.
 */
export interface RecordBatch {
  /** The slab. */
  readonly bytes: Uint8Array
  /** The same slab, for field access. */
  readonly view: DataView
  /** Where each datagram begins in the slab. */
  readonly offsets: Int32Array
  readonly lengths: Int32Array
  /** One `Verdict` a slot. */
  readonly verdicts: Uint8Array
  /** Whose each slot is: an endpoint index or an association index, as the stage says. */
  readonly owners: Int32Array
  /** How many slots are in use. */
  readonly count: number
  /** Copies bytes into a new slot. Returns the slot, or -1 when the batch is full or the bytes too long. */
  push(bytes: Uint8Array, owner: number): number
}

/** The fate of a slot. Stages touch only slots that are `forward`. */
export const Verdict = {
  /** Goes on to the next stage. */
  forward: 0,
  /** Dropped, and counted. */
  drop: 1,
  /** Consumed by the control plane: a handshake datagram, an alert. */
  divert: 2,
} as const

export type Verdict = (typeof Verdict)[keyof typeof Verdict]

/** Bytes that `sealDatagrams` needs free before the plaintext: record header and explicit nonce. */
export const SEAL_HEADROOM = 21
/** Bytes that `sealDatagrams` needs free behind the plaintext: the tag. */
export const SEAL_TAILROOM = 16
