import type { Milliseconds } from '../runtime/index.ts'

/** How many probes without an answer are remembered; older ones are forgotten, their answers count as unknown. */
const MAX_OUTSTANDING = 32
/** Assumed until the first sample: long enough for a satellite hop, short enough for half a second in all. */
const INITIAL_GRACE_MS = 200
const MIN_GRACE_MS = 60
const MAX_GRACE_MS = 1500

/**
 * Round-trip time of a channel, from probes and their answers, smoothed as in RFC 6298 §2. Probes are told apart by an
 * id, so an answer that comes late still counts for the probe that caused it: a path that becomes slow is learned to be
 * slow instead of being taken for dead for ever.
 */
export class RoundTrip {
  private nextId = 1
  private readonly ids: number[] = []
  private readonly sentAt: Milliseconds[] = []
  private smoothed: Milliseconds | undefined = undefined
  private variation: Milliseconds = 0

  /** Smoothed round-trip time, undefined before the first sample. */
  get smoothedMs(): Milliseconds | undefined {
    return this.smoothed
  }

  /** How long to wait for the answer to a probe before it counts as lost. */
  get graceMs(): Milliseconds {
    if (this.smoothed === undefined) return INITIAL_GRACE_MS
    return Math.min(MAX_GRACE_MS, Math.max(MIN_GRACE_MS, this.smoothed + 4 * this.variation + 10))
  }

  /** A probe goes out; returns its id, from 1 to 2^32 - 1. */
  issue(now: Milliseconds): number {
    const id = this.nextId
    this.nextId = id === 0xffff_ffff ? 1 : id + 1
    if (this.ids.length === MAX_OUTSTANDING) this.forget(0)
    this.ids.push(id)
    this.sentAt.push(now)
    return id
  }

  /** An answer with an id came in. Returns whether it belongs to a probe that was waiting. */
  answer(id: number, now: Milliseconds): boolean {
    const index = this.ids.indexOf(id)
    if (index === -1) return false
    this.sample(now - this.sentAt[index]!)
    this.forget(index)
    return true
  }

  /**
   * An answer came in that doesn't say to what: stock clients answer without echo. It is taken as time sample only when
   * a single probe waits (Karn's rule, RFC 6298 §3). Returns whether any probe was waiting.
   */
  answerWithoutId(now: Milliseconds): boolean {
    const waiting = this.ids.length
    if (waiting === 1) this.sample(now - this.sentAt[0]!)
    this.ids.length = 0
    this.sentAt.length = 0
    return waiting > 0
  }

  private sample(value: Milliseconds): void {
    if (this.smoothed === undefined) {
      this.smoothed = value
      this.variation = value / 4
      return
    }
    this.variation = 0.75 * this.variation + 0.25 * Math.abs(this.smoothed - value)
    this.smoothed = 0.875 * this.smoothed + 0.125 * value
  }

  private forget(index: number): void {
    this.ids.splice(index, 1)
    this.sentAt.splice(index, 1)
  }
}
