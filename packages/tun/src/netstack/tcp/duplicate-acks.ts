import type { Scoreboard } from './scoreboard.ts'

/** RFC 5681 §3.2. */
const threshold = 3

/**
 * Loss detection for a peer without SACK (RFC 5681 §3.2, RFC 6582): three duplicate acknowledgements make the first
 * segment lost, a partial acknowledgement in recovery the next one. Each duplicate also says that a segment arrived.
 */
export class DuplicateAcks {
  count = 0
  private readonly scoreboard: Scoreboard
  /** Duplicates below it belong to a recovery that is over (RFC 6582 §3.2 step 1). */
  private recovered = 0

  constructor(scoreboard: Scoreboard) {
    this.scoreboard = scoreboard
  }

  /** Bytes are newly acknowledged. `recovering`: not all that fast recovery waits for. */
  noteProgress(segments: number, recovering: boolean): void {
    this.count = recovering ? Math.max(0, this.count - segments + 1) : 0
    if (recovering && this.scoreboard.first !== -1) this.scoreboard.markLost(this.scoreboard.first)
  }

  /** A duplicate came while `segments` are in flight. Returns whether it is the one that tells of a loss. */
  noteDuplicate(position: number, segments: number, recovering: boolean): boolean {
    if (this.count < segments) this.count++
    if (this.count !== threshold || recovering || position < this.recovered) return false
    this.scoreboard.markLost(this.scoreboard.first)
    return true
  }

  noteRecoveryEnd(position: number): void {
    this.recovered = position
  }

  forget(): void {
    this.count = 0
  }
}
