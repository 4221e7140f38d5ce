import type { Milliseconds } from '@twinbore/core/runtime'

/** RFC 8289 §4.2, §4.3: how long packets may wait, and for how long they may wait longer. */
const TARGET_MS = 5
const INTERVAL_MS = 100
/** A queue of no more than one packet is no queue. */
const LEAST_BYTES = 1500

/** Says which packets of one queue to drop so that it does not stand: CoDel (RFC 8289 §5). Asked for each packet that is taken. */
export class Codel {
  private aboveUntil: Milliseconds | undefined
  private dropping = false
  private dropNextAt: Milliseconds = 0
  private count = 0
  private lastCount = 0

  /**
   * Whether the packet at the head is to be dropped, and the next one asked about.
   *
   * @param waited - since the packet came
   * @param bytes - that wait in the queue, with this packet
   */
  drops(waited: Milliseconds, bytes: number, now: Milliseconds): boolean {
    const may = this.mayDrop(waited, bytes, now)
    if (this.dropping) {
      if (!may) {
        this.dropping = false
        return false
      }
      if (now < this.dropNextAt) return false
      this.count++
      this.dropNextAt = nextDrop(this.dropNextAt, this.count)
      return true
    }
    if (!may) return false
    this.dropping = true
    // Shortly after the last time, the rate that was right then is a good beginning.
    const delta = this.count - this.lastCount
    this.count = delta > 1 && now - this.dropNextAt < 16 * INTERVAL_MS ? delta : 1
    this.lastCount = this.count
    this.dropNextAt = nextDrop(now, this.count)
    return true
  }

  private mayDrop(waited: Milliseconds, bytes: number, now: Milliseconds): boolean {
    if (waited < TARGET_MS || bytes <= LEAST_BYTES) {
      this.aboveUntil = undefined
      return false
    }
    this.aboveUntil ??= now + INTERVAL_MS
    return now >= this.aboveUntil
  }
}

function nextDrop(at: Milliseconds, count: number): Milliseconds {
  return at + INTERVAL_MS / Math.sqrt(count)
}
