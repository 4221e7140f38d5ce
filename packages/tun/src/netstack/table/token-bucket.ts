/** `ratePerSecond` tokens a second, at most `burst` at once, full at the start. */
export class TokenBucket {
  private readonly ratePerMs: number
  private readonly burst: number
  private tokens: number
  private filledAt = Number.NEGATIVE_INFINITY

  constructor(ratePerSecond: number, burst: number = ratePerSecond) {
    this.ratePerMs = ratePerSecond / 1000
    this.burst = burst
    this.tokens = burst
  }

  /** Takes one token; false when there is none. */
  take(now: number): boolean {
    if (now > this.filledAt) {
      const elapsed = this.filledAt === Number.NEGATIVE_INFINITY ? 0 : now - this.filledAt
      this.tokens = Math.min(this.burst, this.tokens + elapsed * this.ratePerMs)
      this.filledAt = now
    }
    if (this.tokens < 1) return false
    this.tokens--
    return true
  }
}
