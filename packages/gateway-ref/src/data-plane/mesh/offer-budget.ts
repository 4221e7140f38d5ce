import type { Milliseconds } from '@twinbore/core/runtime'

/** How many offers a worker gets a second from all others together. */
const OFFERS_PER_SECOND = 128
/** An endpoint is not offered again for so long: the answer may be on its way. */
const PAUSE_MS = 10
const PLACES = 1024

/**
 * How many datagrams a worker may offer to the others. Whatever arrives, no worker has more than 128 of them to try in a second;
 * what is not used in a second is lost. Memory: 8 KiB.
 */
export class OfferBudget {
  private readonly perSecond: number
  private readonly offeredAt = new Float64Array(PLACES).fill(Number.NEGATIVE_INFINITY)
  private tokens: number
  private refilledAt: Milliseconds | undefined

  constructor(workers: number) {
    this.perSecond = Math.max(1, Math.floor(OFFERS_PER_SECOND / (workers - 1)))
    this.tokens = this.perSecond
  }

  /** Whether a datagram of an endpoint may be offered now; if so, it counts. */
  take(endpoint: number, now: Milliseconds): boolean {
    // Endpoints that share a place only wait for each other.
    const place = endpoint & (PLACES - 1)
    if (now - this.offeredAt[place]! < PAUSE_MS) return false
    const since = this.refilledAt === undefined ? 0 : now - this.refilledAt
    this.refilledAt = now
    this.tokens = Math.min(this.perSecond, this.tokens + (since * this.perSecond) / 1000)
    if (this.tokens < 1) return false
    this.tokens--
    this.offeredAt[place] = now
    return true
  }
}
