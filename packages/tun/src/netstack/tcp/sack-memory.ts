import type { Delivery } from './delivery.ts'
import type { Scoreboard } from './scoreboard.ts'
import { MAX_SACK_BLOCKS } from './tcp-options.ts'

/**
 * The SACK blocks that came last. A peer repeats its blocks with every acknowledgement, and the newest of them grows by
 * a segment or two; only what is new of a block has to be looked up.
 */
export class SackMemory {
  private readonly scoreboard: Scoreboard
  private readonly lefts = new Float64Array(MAX_SACK_BLOCKS)
  private readonly rights = new Float64Array(MAX_SACK_BLOCKS)
  private oldest = 0

  constructor(scoreboard: Scoreboard) {
    this.scoreboard = scoreboard
  }

  /** Marks what the peer has, from `left` to `right`. */
  note(left: number, right: number, delivery: Delivery): void {
    for (let i = 0; i < MAX_SACK_BLOCKS; i++) {
      const knownLeft = this.lefts[i]!
      const knownRight = this.rights[i]!
      if (knownLeft === knownRight || knownLeft < left || knownRight > right) continue
      if (left < knownLeft) this.scoreboard.sack(left, knownLeft, delivery)
      if (knownRight < right) this.scoreboard.sack(knownRight, right, delivery)
      this.lefts[i] = left
      this.rights[i] = right
      return
    }
    this.scoreboard.sack(left, right, delivery)
    this.lefts[this.oldest] = left
    this.rights[this.oldest] = right
    this.oldest = (this.oldest + 1) % MAX_SACK_BLOCKS
  }

  /** What was said before no longer holds. */
  forget(): void {
    this.lefts.fill(0)
    this.rights.fill(0)
  }
}
