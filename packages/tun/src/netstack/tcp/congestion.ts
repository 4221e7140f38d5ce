/** CUBIC's constants (RFC 9438 §4.1.2, §4.6). Windows there are in segments, times in seconds. */
const c = 0.4
const beta = 0.7
const renoAlpha = (3 * (1 - beta)) / (1 + beta)

/**
 * The congestion window: slow start from ten segments (RFC 6928), then CUBIC with its Reno-friendly region (RFC 9438).
 * It decides how much may be in flight; what is lost and what is sent is decided elsewhere.
 */
export class CongestionWindow {
  /** In bytes. */
  window: number
  slowStartThreshold: number = Number.POSITIVE_INFINITY
  private segmentBytes: number
  /** In segments: where the last reduction began, and Reno's idea of the window. */
  private maxSegments = 0
  private renoSegments = 0
  private renoPrior = 0
  /** Seconds from the start of the epoch to the plateau. */
  private plateauAfter = 0
  /** When this epoch of congestion avoidance began, -1 when the next acknowledgement begins one. */
  private epochStart = -1
  private epochSegments = 0

  constructor(segmentBytes: number) {
    this.segmentBytes = segmentBytes
    this.window = initialWindow(segmentBytes)
  }

  /** Before the first data: segments turned out to have this size. `cautious` begins with one (RFC 5681 §3.1). */
  begin(segmentBytes: number, cautious: boolean): void {
    this.segmentBytes = segmentBytes
    this.window = cautious ? segmentBytes : initialWindow(segmentBytes)
  }

  /** The path changed; the window keeps its bytes. */
  setSegmentBytes(segmentBytes: number): void {
    this.segmentBytes = segmentBytes
    this.window = Math.max(this.window, segmentBytes)
    this.epochStart = -1
  }

  get inSlowStart(): boolean {
    return this.window < this.slowStartThreshold
  }

  /** Bytes were acknowledged outside fast recovery, while the window was what limited the sender. */
  onAcknowledged(bytes: number, roundTripMs: number, now: number): void {
    if (this.inSlowStart) {
      const grown = Math.min(bytes, this.slowStartThreshold - this.window)
      this.window += grown
      bytes -= grown
      if (bytes <= 0) return
    }
    this.avoidCongestion(bytes / this.segmentBytes, roundTripMs / 1000, now / 1000)
  }

  /** RFC 9438 §4.2 to §4.5. */
  private avoidCongestion(acknowledged: number, roundTrip: number, now: number): void {
    const segments = this.window / this.segmentBytes
    if (this.epochStart === -1) this.beginEpoch(segments, now)
    const elapsed = now - this.epochStart
    const target = clamp(this.cubic(elapsed + roundTrip), segments, 1.5 * segments)
    const alpha = this.renoSegments >= this.renoPrior ? 1 : renoAlpha
    this.renoSegments += (alpha * acknowledged) / segments
    const next =
      this.cubic(elapsed) < this.renoSegments
        ? Math.max(segments, this.renoSegments)
        : segments + ((target - segments) * acknowledged) / segments
    this.window = Math.min(next * this.segmentBytes, maxWindowBytes)
  }

  private beginEpoch(segments: number, now: number): void {
    this.epochStart = now
    this.epochSegments = segments
    this.renoSegments = segments
    if (this.maxSegments < segments) this.maxSegments = segments
    this.plateauAfter = Math.cbrt((this.maxSegments - this.epochSegments) / c)
  }

  private cubic(seconds: number): number {
    return c * (seconds - this.plateauAfter) ** 3 + this.maxSegments
  }

  /** A loss was found by other segments' arrival (RFC 9438 §4.6, §4.7). The window follows in recovery. */
  onLoss(inFlight: number): void {
    this.reduce(inFlight)
    this.window = Math.max(this.slowStartThreshold, this.segmentBytes)
  }

  /** The timer found it: slow start from one segment (RFC 5681 §3.1). `again` for another timeout of the same data. */
  onTimeout(inFlight: number, again: boolean): void {
    if (!again) this.reduce(inFlight)
    this.window = this.segmentBytes
  }

  private reduce(inFlight: number): void {
    const segments = this.window / this.segmentBytes
    // Fast convergence: a flow that lost ground gives more of it up.
    this.maxSegments = segments < this.maxSegments ? (segments * (1 + beta)) / 2 : segments
    this.renoPrior = segments
    this.epochStart = -1
    // What was not used can't be what was too much, but a little more than in flight was allowed.
    const used = Math.min(this.window, Math.max(inFlight, this.window / 2))
    this.slowStartThreshold = Math.max(used * beta, 2 * this.segmentBytes)
  }

  /** Nothing was sent for `idleMs`: what the window says about the path fades, halving per timeout (RFC 5681 §4.1). */
  onIdle(idleMs: number, rtoMs: number): void {
    const floor = Math.min(this.window, initialWindow(this.segmentBytes))
    const halvings = Math.min(30, Math.floor(idleMs / rtoMs))
    if (halvings === 0) return
    this.slowStartThreshold = Math.max(this.slowStartThreshold, this.window * 0.75)
    this.window = Math.max(floor, this.window / 2 ** halvings)
    this.epochStart = -1
  }

  /** The reduction was for nothing: back to what was before. */
  undo(window: number, slowStartThreshold: number): void {
    this.window = Math.max(this.window, window)
    this.slowStartThreshold = slowStartThreshold
    this.epochStart = -1
  }
}

/** RFC 6928 §2. */
export function initialWindow(segmentBytes: number): number {
  return Math.min(10 * segmentBytes, Math.max(2 * segmentBytes, 14_600))
}

const maxWindowBytes = 2 ** 30

function clamp(value: number, low: number, high: number): number {
  return Math.max(low, Math.min(value, high))
}
