/**
 * Token buckets in typed arrays: `rate` tokens a second, at most `burst` at once, full at the start. 16 bytes each.
 */
export class TokenBuckets {
  private readonly ratePerMs: number
  private readonly burst: number
  private readonly tokens: Float64Array
  private readonly filledAt: Float64Array

  constructor(count: number, ratePerSecond: number, burst: number) {
    this.ratePerMs = ratePerSecond / 1000
    this.burst = burst
    this.tokens = new Float64Array(count).fill(burst)
    this.filledAt = new Float64Array(count)
  }

  get memoryBytes(): number {
    return this.tokens.byteLength + this.filledAt.byteLength
  }

  /** Takes one token; false when there is none. */
  take(bucket: number, now: number): boolean {
    const filled = this.tokens[bucket]! + (now - this.filledAt[bucket]!) * this.ratePerMs
    const tokens = Math.min(filled, this.burst)
    this.filledAt[bucket] = now
    if (tokens < 1) {
      this.tokens[bucket] = tokens
      return false
    }
    this.tokens[bucket] = tokens - 1
    return true
  }
}
