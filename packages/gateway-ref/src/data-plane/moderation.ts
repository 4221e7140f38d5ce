import type { Milliseconds } from '@twinbore/core/runtime'

/** How fast the measured rate follows the traffic. */
const WINDOW_MS = 1
/** Packets per millisecond below which nothing is held back. */
const LEAST_RATE = 8
/** So many packets a turn are enough: what a wakeup costs is small beside them. */
const ENOUGH_PACKETS = 48
const SHORTEST_US = 50
const LONGEST_US = 300
/** What piles up towards clients leaves at once, and more than this overflows the receive buffers of stock clients. */
const LONGEST_TO_CLIENTS_US = 100

/**
 * Interrupt moderation for a thread that is woken by descriptors. While packets come fast it sleeps for a moment instead of
 * being woken by the next one, so that more pile up and one wakeup serves them all. Traffic with pauses is never held back.
 */
export class Moderation {
  private rate = 0
  private rateToClients = 0
  private last: Milliseconds

  constructor(now: Milliseconds) {
    this.last = now
  }

  /** So many packets came in since the last call, and so many went to clients. */
  note(packets: number, toClients: number, now: Milliseconds): void {
    const elapsed = Math.max(now - this.last, 0.001)
    const share = Math.min(1, elapsed / WINDOW_MS)
    this.last = now
    this.rate += (packets / elapsed - this.rate) * share
    this.rateToClients += (toClients / elapsed - this.rateToClients) * share
  }

  /** How long to sleep before looking again, in microseconds; 0: wait to be woken. */
  get sleepMicroseconds(): number {
    if (this.rate < LEAST_RATE) return 0
    const longest = this.rateToClients * 2 > this.rate ? LONGEST_TO_CLIENTS_US : LONGEST_US
    return Math.round(Math.min(longest, Math.max(SHORTEST_US, (ENOUGH_PACKETS / this.rate) * 1000)))
  }
}
