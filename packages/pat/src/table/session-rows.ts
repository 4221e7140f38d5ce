import { extend, LEAST_SESSION_ROWS, SESSION_ROW_BYTES } from '../translator-memory.ts'

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
 * processor's cache each. 64 bytes a row, in memory of its own or in one that outlives it.
 */
export class SessionRows {
  capacity: number
  /** `row * 16 + SessionWord`. */
  words: Int32Array
  /** The same memory: `row * 8`. */
  times: Float64Array
  /** The same memory: `row * 64 + 12` and the two behind it. */
  bytes: Uint8Array

  private readonly memory: SharedArrayBuffer | undefined

  /** @param memory - what is in it stays */
  constructor(memory?: SharedArrayBuffer) {
    this.memory = memory
    this.capacity = memory ? Math.floor(memory.byteLength / SESSION_ROW_BYTES) : LEAST_SESSION_ROWS
    this.words = memory ? this.view(memory) : new Int32Array(this.capacity * rowWords)
    this.times = new Float64Array(this.words.buffer, 0, this.words.length / 2)
    this.bytes = new Uint8Array(this.words.buffer, 0, this.words.byteLength)
  }

  get memoryBytes(): number {
    return this.words.byteLength
  }

  grow(): void {
    const before = this.words
    const { memory } = this
    this.capacity *= 2
    if (memory) {
      extend(memory, this.capacity * SESSION_ROW_BYTES)
      this.words = this.view(memory)
    } else {
      this.words = new Int32Array(this.capacity * rowWords)
      this.words.set(before)
    }
    this.times = new Float64Array(this.words.buffer, 0, this.words.length / 2)
    this.bytes = new Uint8Array(this.words.buffer, 0, this.words.byteLength)
  }

  /** Of fixed length: one that followed the memory's growth would be slower. */
  private view(memory: SharedArrayBuffer): Int32Array {
    return new Int32Array(memory, 0, this.capacity * rowWords)
  }
}
