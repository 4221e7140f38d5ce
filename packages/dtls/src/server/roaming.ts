import type { Milliseconds } from '../machine.ts'
import type { Peer, PeerTable } from './peer-table.ts'

/** How many associations one record is tried against. */
const MAX_CANDIDATES = 8
/** How far ahead of the highest number seen a record from the same host may be, and one from another host. */
const SAME_HOST_AHEAD = 2 ** 24
const OTHER_HOST_AHEAD = 2 ** 12

/**
 * Whose record from an unknown endpoint could be. A peer behind an address translator gets a new port, a mobile one a new
 * address, and neither has a connection id to say so (RFC 9146 would). So a record is tried against few associations: those
 * of the same host first, then any whose next numbers it could be; only newer records than the highest seen are tried.
 * Trials per second are limited, because forged records would cause them as well.
 */
export class Roaming {
  private readonly perSecond: number
  private tokens: number
  private refilledAt: Milliseconds | undefined

  constructor(trialsPerSecond: number) {
    this.perSecond = trialsPerSecond
    this.tokens = trialsPerSecond
  }

  /** Peers to try a record with, likeliest first. */
  candidates(peers: PeerTable, endpoint: number, host: string, sequence: number): Peer[] {
    if (this.perSecond === 0) return []
    const found: { peer: Peer; distance: number }[] = []
    const consider = (peer: Peer, most: number, base: number): void => {
      const read = peer.state.read
      if (read === undefined || peer.endpoint === endpoint) return
      const ahead = sequence - read.window.highest
      if (ahead > 0 && ahead <= most) found.push({ peer, distance: base + ahead })
    }
    for (const peer of peers.establishedOf(host)) consider(peer, SAME_HOST_AHEAD, 0)
    for (const peer of peers.established) {
      if (peer !== undefined && peer.host !== host) consider(peer, OTHER_HOST_AHEAD, SAME_HOST_AHEAD)
    }
    found.sort((a, b) => a.distance - b.distance)
    return found.slice(0, MAX_CANDIDATES).map(candidate => candidate.peer)
  }

  /** Whether another trial may be made now; if so, it counts. */
  takeTrial(now: Milliseconds): boolean {
    const since = this.refilledAt === undefined ? 0 : now - this.refilledAt
    this.refilledAt = now
    this.tokens = Math.min(this.perSecond, this.tokens + (since * this.perSecond) / 1000)
    if (this.tokens < 1) return false
    this.tokens--
    return true
  }
}
