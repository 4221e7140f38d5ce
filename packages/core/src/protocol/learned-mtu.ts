import type { Milliseconds } from '../runtime/index.ts'

/** DPD requests shorter than this are not MTU probes. */
const SMALLEST_PROBE = 500
/** So long after the last probe the peer is taken to be done. Stock clients pause at most 300 ms between sizes. */
const QUIET_MS = 1000

/**
 * What a gateway learns from the MTU probes of its client. A gateway can't probe by itself (stock clients answer a DPD
 * request with a single byte), but it sees which of the client's probes arrive, and the largest of a series is what the
 * client finds as path MTU. Without it a gateway would go on sending packets that the path drops.
 */
export class LearnedMtu {
  private largest = 0
  private settleAt: Milliseconds | undefined = undefined

  /** When `take` has something to say. */
  get deadline(): Milliseconds | undefined {
    return this.settleAt
  }

  /** A DPD request with so many bytes of payload came in on the datagram channel. */
  noteProbe(size: number, now: Milliseconds): void {
    if (size < SMALLEST_PROBE) return
    this.largest = Math.max(this.largest, size)
    this.settleAt = now + QUIET_MS
  }

  /** The result of a series of probes once it is over, else undefined. */
  take(now: Milliseconds): number | undefined {
    if (this.settleAt === undefined || now < this.settleAt) return undefined
    const result = this.largest
    this.reset()
    return result
  }

  reset(): void {
    this.largest = 0
    this.settleAt = undefined
  }
}
