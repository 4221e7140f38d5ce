import type { Milliseconds } from '../machine.ts'

/** After so many time-outs flights are laid out for a path that may be narrower than assumed. RFC 6347 §4.1.1.1. */
const NARROW_AFTER = 3
/** What any path is expected to carry: 576 bytes of IPv4 packet without its headers. */
const NARROW_MTU = 548

/**
 * When a flight goes out again. RFC 6347 §4.2.4: on a timer that doubles, and in answer to a repeated flight of the peer.
 * Such answers are held to one per half of the current wait, so that two peers who never come to terms (their keys differ)
 * don't keep each other busy.
 */
export class Retransmission {
  private readonly firstMs: Milliseconds
  private readonly mostMs: Milliseconds
  private waitMs: Milliseconds
  private sentAt: Milliseconds = Number.NEGATIVE_INFINITY
  private timeouts = 0
  deadline: Milliseconds | undefined

  constructor(firstMs: Milliseconds, mostMs: Milliseconds) {
    this.firstMs = firstMs
    this.mostMs = Math.max(firstMs, mostMs)
    this.waitMs = firstMs
  }

  /** A new flight was sent that wants an answer. */
  begin(now: Milliseconds): void {
    this.waitMs = this.firstMs
    this.timeouts = 0
    this.sentAt = now
    this.deadline = now + this.waitMs
  }

  /** A new flight was sent that ends the handshake: it is repeated only when the peer asks. */
  beginFinal(now: Milliseconds): void {
    this.begin(now)
    this.deadline = undefined
  }

  /** The timer ran out and the flight is sent again. */
  handleTimeout(now: Milliseconds): void {
    this.timeouts++
    this.waitMs = Math.min(this.waitMs * 2, this.mostMs)
    this.sentAt = now
    this.deadline = now + this.waitMs
  }

  /** Whether a repeated flight of the peer is to be answered now; if so, counts it as answered. */
  answersRepeat(now: Milliseconds): boolean {
    if (now - this.sentAt < this.waitMs / 2) return false
    this.sentAt = now
    if (this.deadline !== undefined) this.deadline = now + this.waitMs
    return true
  }

  /** Nothing is to be repeated on a timer any more. */
  stop(): void {
    this.deadline = undefined
  }

  /** The size of datagrams to use when `mtu` is configured. */
  effectiveMtu(mtu: number): number {
    return this.timeouts >= NARROW_AFTER ? Math.min(mtu, NARROW_MTU) : mtu
  }
}
