const WORD_BITS = 32
export const REPLAY_RING_WORDS = 32
const RING_WORDS = REPLAY_RING_WORDS

/** How many sequence numbers at and below the highest are told apart; older ones count as replayed. */
export const REPLAY_WINDOW_SIZE: number = (RING_WORDS - 1) * WORD_BITS

/**
 * Which sequence numbers of an epoch were seen. RFC 6347 §4.1.2.6, with the ring of RFC 6479: words of the bitmap are
 * never shifted, only cleared when the window passes over them, and one word of the ring is spare so that a window of whole
 * words always fits.
 *
 * `accepts` before authentication, `mark` after it and never otherwise.
 */
export class ReplayWindow {
  private readonly ring = new Uint32Array(RING_WORDS)
  /** The highest sequence number marked, or -1. */
  highest = -1

  /** Whether a sequence number is neither seen nor too old. */
  accepts(sequence: number): boolean {
    if (sequence > this.highest) return true
    if (this.highest - sequence >= REPLAY_WINDOW_SIZE) return false
    return (this.ring[wordOf(sequence)]! & bitOf(sequence)) === 0
  }

  /** A copy of the ring. */
  snapshot(): Uint32Array {
    return this.ring.slice()
  }

  /** Sets everything: the highest number, and the ring; without a ring every number up to the highest counts as seen. */
  restore(highest: number, ring: Uint32Array | undefined): void {
    this.highest = highest
    if (ring === undefined) this.ring.fill(0xffff_ffff)
    else this.ring.set(ring)
    // Of the word of the highest number only what is at and below it was seen.
    if (highest < 0) this.ring.fill(0)
    else if (ring === undefined) this.ring[wordOf(highest)] = 0xffff_ffff >>> (WORD_BITS - 1 - (highest % WORD_BITS))
  }

  /** Notes a sequence number that `accepts` let through. */
  mark(sequence: number): void {
    if (sequence > this.highest) {
      const from = this.highest === -1 ? -1 : Math.floor(this.highest / WORD_BITS)
      const to = Math.floor(sequence / WORD_BITS)
      const passed = Math.min(to - from, RING_WORDS)
      for (let word = to - passed + 1; word <= to; word++) this.ring[word % RING_WORDS] = 0
      this.highest = sequence
    }
    const word = wordOf(sequence)
    this.ring[word] = this.ring[word]! | bitOf(sequence)
  }
}

function wordOf(sequence: number): number {
  return Math.floor(sequence / WORD_BITS) % RING_WORDS
}

function bitOf(sequence: number): number {
  return 1 << (sequence % WORD_BITS)
}
