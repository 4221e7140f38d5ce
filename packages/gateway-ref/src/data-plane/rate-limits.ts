import { DropReason, type PacketBatch, Verdict, wholePacketBytes } from '@twinbore/core/packet'
import type { Milliseconds } from '@twinbore/core/runtime'

/** The most that a session may send and get, in bits of IP packets per second; `undefined` is no limit. */
export interface SessionRate {
  readonly upload?: number | undefined
  readonly download?: number | undefined
}

/**
 * So much of its rate may a session send or get at once after a pause. TCP on a path of up to 100 ms fills a limit with it,
 * and nobody else feels it.
 */
const BURST_MS = 200
/** The least burst, so that slow limits let a super-packet through: 64 KB. */
const LEAST_BURST_BYTES = 65_536

/** A token bucket for each session, in typed arrays. */
class Buckets {
  /** 0 is no limit. */
  private readonly bytesPerMs: Float64Array
  private readonly tokens: Float64Array
  private readonly filledAt: Float64Array
  private limited = 0

  constructor(capacity: number) {
    this.bytesPerMs = new Float64Array(capacity)
    this.tokens = new Float64Array(capacity)
    this.filledAt = new Float64Array(capacity)
  }

  set(session: number, bitsPerSecond: number | undefined): void {
    const before = this.bytesPerMs[session]!
    const rate = (bitsPerSecond ?? 0) / 8000
    if (rate === before) return
    this.limited += Number(rate > 0) - Number(before > 0)
    this.bytesPerMs[session] = rate
    // A new limit begins with a full bucket, a changed one goes on with what is there.
    this.tokens[session] = before === 0 ? burstOf(rate) : Math.min(this.tokens[session]!, burstOf(rate))
    if (before === 0) this.filledAt[session] = Number.NEGATIVE_INFINITY
  }

  get any(): boolean {
    return this.limited > 0
  }

  has(session: number): boolean {
    return this.bytesPerMs[session]! > 0
  }

  /** Drops what is beyond the limits. Owners are sessions. */
  limit(batch: PacketBatch, now: Milliseconds): void {
    if (this.limited === 0) return
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] !== Verdict.forward) continue
      const session = batch.owners[slot]!
      const rate = this.bytesPerMs[session]!
      if (rate === 0) continue
      const waited = now - this.filledAt[session]!
      let tokens = this.tokens[session]!
      if (waited > 0) {
        this.filledAt[session] = now
        tokens = Math.min(burstOf(rate), tokens + waited * rate)
      }
      // A packet may run into debt: so a bucket of any size lets packets of any size through, at the rate.
      if (tokens <= 0) batch.drop(slot, DropReason.rateLimited)
      else tokens -= batch.segments[slot] === 1 ? batch.lengths[slot]! : wholePacketBytes(batch, slot)
      this.tokens[session] = tokens
    }
  }
}

function burstOf(bytesPerMs: number): number {
  return Math.max(LEAST_BURST_BYTES, bytesPerMs * BURST_MS)
}

/**
 * Polices what sessions send and get, each direction by itself: packets beyond the limit are dropped and counted as
 * `rateLimited`. Without a limit anywhere a batch costs nothing.
 *
 * Memory: 48 bytes a session.
 */
export class RateLimits {
  private readonly capacity: number
  private readonly upload: Buckets
  private readonly download: Buckets

  constructor(capacity: number) {
    this.capacity = capacity
    this.upload = new Buckets(capacity)
    this.download = new Buckets(capacity)
  }

  /** From now on; without `rate` the session has no limits. */
  set(session: number, rate: SessionRate = {}): void {
    if (session < 0 || session >= this.capacity) return
    this.upload.set(session, rate.upload)
    this.download.set(session, rate.download)
  }

  /** Stage: for packets that came from their sessions, before they are put together. */
  limitReceived(batch: PacketBatch, now: Milliseconds): void {
    this.upload.limit(batch, now)
  }

  /** Whether any session has a limit for what it gets. */
  get limitsAnySent(): boolean {
    return this.download.any
  }

  /** Whether this one has. */
  limitsSent(session: number): boolean {
    return this.download.has(session)
  }

  /**
   * Stage: for packets on their way to their sessions. A super-packet counts as the packets that it is, and passes or not as
   * a whole: TCP fares better with packets that are cut already.
   */
  limitSent(batch: PacketBatch, now: Milliseconds): void {
    this.download.limit(batch, now)
  }
}
