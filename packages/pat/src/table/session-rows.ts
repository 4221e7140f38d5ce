/** 32-bit words of a row of `SessionRows`: one cache line. */
const rowWords = 16

/** Where each value of a row stands, in words; of pairs the outbound one is first. */
export const SessionWord = {
  /** Two words, a double. */
  expiresAt: 0,
  /** Counts up when the row is given back: who kept a row's number sees that it is somebody else's now. */
  serial: 2,
  /** Four bytes: state, window scales, nothing. */
  small: 3,
  end: 4,
  limit: 6,
  acknowledged: 8,
  window: 10,
  mapping: 12,
  nextOfMapping: 13,
  previousOfMapping: 14,
  remotePort: 15,
} as const

/**
 * What a packet of a known session reads and writes of it, side by side, so that many sessions cost one miss of the
 * processor's cache each. 64 bytes a row.
 */
export class SessionRows {
  capacity: number
  /** `row * 16 + SessionWord`. */
  words: Int32Array
  /** The same memory: `row * 8`. */
  times: Float64Array
  /** The same memory: `row * 64 + 12` and the two behind it. */
  bytes: Uint8Array

  constructor(capacity: number) {
    this.capacity = capacity
    this.words = new Int32Array(capacity * rowWords)
    this.times = new Float64Array(this.words.buffer)
    this.bytes = new Uint8Array(this.words.buffer)
  }

  get memoryBytes(): number {
    return this.words.byteLength
  }

  grow(): void {
    const before = this.words
    this.capacity *= 2
    this.words = new Int32Array(this.capacity * rowWords)
    this.words.set(before)
    this.times = new Float64Array(this.words.buffer)
    this.bytes = new Uint8Array(this.words.buffer)
  }
}
