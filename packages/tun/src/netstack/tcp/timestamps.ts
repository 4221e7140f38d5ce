import { isBefore } from './sequence.ts'
import type { TcpOptionValues } from './tcp-options.ts'

/** After so long a remembered timestamp may have wrapped and says nothing (RFC 7323 §5.5). */
const staleMs = 24 * 86_400_000

/** The timestamps of both sides (RFC 7323 §3 to §5). Ours are milliseconds with an offset per connection. */
export class Timestamps {
  /** Whether both sides agreed. */
  enabled = false
  /** TS.Recent, what is echoed. */
  recent = 0
  private recentAt = 0
  private readonly offset: number

  constructor(offset: number) {
    this.offset = offset
  }

  /** What a segment sent now carries. */
  value(now: number): number {
    return (Math.floor(now) + this.offset) >>> 0
  }

  /** When the segment was sent whose timestamp is echoed: milliseconds, whole; -1 when that can't be. */
  echoedAt(options: TcpOptionValues, now: number): number {
    if (!this.enabled || !options.hasTimestamps) return -1
    const age = (this.value(now) - options.timestampEcho) | 0
    return age < 0 || age > now ? -1 : Math.floor(now) - age
  }

  accept(value: number, now: number): void {
    this.recent = value
    this.recentAt = now
  }

  /** PAWS, R1 of RFC 7323 §5.3: whether a segment is older than one that was accepted. */
  isOld(options: TcpOptionValues, now: number): boolean {
    return isBefore(options.timestampValue, this.recent) && now - this.recentAt < staleMs
  }

  /** R3 of RFC 7323 §5.3 and §4.3: remembers the timestamp of an acceptable segment. */
  update(options: TcpOptionValues, now: number): void {
    if (!isBefore(options.timestampValue, this.recent) || now - this.recentAt >= staleMs)
      this.accept(options.timestampValue, now)
  }
}
