/** Round-trip time and the retransmission timeout that follows from it (RFC 6298, RFC 7323 appendix G). */
export class RoundTrip {
  /** Smoothed, 0 before the first sample. */
  smoothedMs = 0
  /** The least of the last minutes (RFC 8985 §6.2 step 1); Infinity before the first sample. */
  minMs: number = Number.POSITIVE_INFINITY
  private minAt = 0
  private nextMinMs: number = Number.POSITIVE_INFINITY
  private variationMs = 0
  private backOffs = 0
  private initialRtoMs: number
  private readonly minRtoMs: number
  private readonly maxRtoMs: number

  constructor(initialRtoMs: number, minRtoMs: number, maxRtoMs: number) {
    this.initialRtoMs = initialRtoMs
    this.minRtoMs = minRtoMs
    this.maxRtoMs = maxRtoMs
  }

  get measured(): boolean {
    return this.smoothedMs > 0
  }

  /** The timeout now, backed off. */
  get rtoMs(): number {
    return Math.min(this.maxRtoMs, this.baseRtoMs * 2 ** this.backOffs)
  }

  private get baseRtoMs(): number {
    if (!this.measured) return this.initialRtoMs
    return this.smoothedMs + Math.max(this.minRtoMs, 4 * this.variationMs)
  }

  /** `perRoundTrip` is how many samples one round trip gives: many of them must not hide how much it varies. */
  sample(roundTripMs: number, perRoundTrip: number, now: number): void {
    // A loopback can be faster than the clock; 0 means "not measured".
    const r = Math.max(roundTripMs, 0.001)
    if (this.measured) {
      const beta = 1 / (4 * perRoundTrip)
      const alpha = 1 / (8 * perRoundTrip)
      this.variationMs += (Math.abs(this.smoothedMs - r) - this.variationMs) * beta
      this.smoothedMs += (r - this.smoothedMs) * alpha
    } else {
      this.smoothedMs = r
      this.variationMs = r / 2
    }
    this.noteMin(r, now)
  }

  /** The handshake needed more than one try and measured nothing (RFC 6298 §5.7). */
  beCautious(): void {
    this.initialRtoMs = Math.max(this.initialRtoMs, cautiousRtoMs)
  }

  /** RFC 6298 §5.5. */
  backOff(): void {
    if (this.rtoMs < this.maxRtoMs) this.backOffs++
  }

  /** The peer answered something that was sent after the timeout was doubled, so the path works (RFC 6298 §5.7). */
  resetBackOff(): void {
    this.backOffs = 0
  }

  get isBackedOff(): boolean {
    return this.backOffs > 0
  }

  // Two windows, so that the least of the last one to two of them is known: paths change.
  private noteMin(r: number, now: number): void {
    if (now - this.minAt > minWindowMs) {
      this.minMs = this.nextMinMs
      this.nextMinMs = Number.POSITIVE_INFINITY
      this.minAt = now
    }
    if (r < this.minMs) this.minMs = r
    if (r < this.nextMinMs) this.nextMinMs = r
  }
}

const cautiousRtoMs = 3000
const minWindowMs = 150_000
