import type { Milliseconds } from '../runtime/index.ts'

/** So many actions per second on average, and bursts up to a bound. */
export class TokenBucket {
  private readonly perMs: number
  private readonly burst: number
  private tokens: number
  private at: Milliseconds

  constructor(perSecond: number, burst: number, now: Milliseconds) {
    this.perMs = perSecond / 1000
    this.burst = burst
    this.tokens = burst
    this.at = now
  }

  /** Whether one more action is within the limit; takes it if so. */
  take(now: Milliseconds): boolean {
    this.tokens = Math.min(this.burst, this.tokens + (now - this.at) * this.perMs)
    this.at = now
    if (this.tokens < 1) return false
    this.tokens -= 1
    return true
  }
}
