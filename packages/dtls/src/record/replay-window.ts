const WORD_BITS = 32
const RING_WORDS = 32

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
