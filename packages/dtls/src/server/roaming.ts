import type { Milliseconds } from '../machine.ts'
import type { Peer, PeerTable } from './peer-table.ts'

/** How many associations one record is tried against. */
const MAX_CANDIDATES = 8
/** How far ahead of the highest number seen a record from the same host may be, and one from another host. */
const SAME_HOST_AHEAD = 2 ** 24
const OTHER_HOST_AHEAD = 2 ** 12

/** How many times as often as records are tried all associations are looked through for whom to try. */
const SEARCHES_PER_TRIAL = 2

/**
 * Whose record from an unknown endpoint could be. A peer behind an address translator gets a new port, a mobile one a new
 * address, and neither has a connection id to say so (RFC 9146 would). So a record is tried against few associations: those
 * of the same host first, then any whose next numbers it could be; only newer records than the highest seen are tried.
 * Trials per second are limited, because forged records would cause them as well, and so are searches for whom to try.
 */
export class Roaming {
  private readonly trials: Allowance
  private readonly searches: Allowance

  constructor(trialsPerSecond: number) {
    this.trials = new Allowance(trialsPerSecond)
    this.searches = new Allowance(SEARCHES_PER_TRIAL * trialsPerSecond)
  }

  /** Peers to try a record with, likeliest first; `undefined` if there were too many searches lately. */
  candidates(
    peers: PeerTable,
    endpoint: number,
    host: string,
    sequence: number,
    now: Milliseconds,
  ): Peer[] | undefined {
    if (this.trials.perSecond === 0) return []
    const found: { peer: Peer; distance: number }[] = []
    const consider = (peer: Peer, most: number, base: number): void => {
      const read = peer.state.read
      if (read === undefined || peer.endpoint === endpoint) return
      const ahead = sequence - read.window.highest
      if (ahead > 0 && ahead <= most) found.push({ peer, distance: base + ahead })
    }
    for (const peer of peers.establishedOf(host)) consider(peer, SAME_HOST_AHEAD, 0)
    if (this.searches.take(now)) {
      for (const peer of peers.established) {
        if (peer !== undefined && peer.host !== host) consider(peer, OTHER_HOST_AHEAD, SAME_HOST_AHEAD)
      }
    } else if (found.length === 0) return undefined
    found.sort((a, b) => a.distance - b.distance)
    return found.slice(0, MAX_CANDIDATES).map(candidate => candidate.peer)
  }

  /** Whether another trial may be made now; if so, it counts. */
  takeTrial(now: Milliseconds): boolean {
    return this.trials.take(now)
  }
}

/** So many times a second; what is not used in a second is lost. */
class Allowance {
  readonly perSecond: number
  private tokens: number
  private refilledAt: Milliseconds | undefined

  constructor(perSecond: number) {
    this.perSecond = perSecond
    this.tokens = perSecond
  }

  take(now: Milliseconds): boolean {
    const since = this.refilledAt === undefined ? 0 : now - this.refilledAt
    this.refilledAt = now
    this.tokens = Math.min(this.perSecond, this.tokens + (since * this.perSecond) / 1000)
    if (this.tokens < 1) return false
    this.tokens--
    return true
  }
}
