import type { Milliseconds } from '../machine.ts'
import type { PeerState } from '../peer-state.ts'

/** How long the number of an association that ended is kept from being given out again, while there are others. */
const QUARANTINE_MS = 60_000

/** One peer of a server: a handshake under way, or an association. */
export interface Peer {
  readonly state: PeerState
  /** Where it is. */
  endpoint: number
  host: string
  /** The number of its association; -1 while it has none. */
  association: number
  /** The session id of its hello, as bytes and as text. */
  readonly sessionId: Uint8Array
  readonly session: string
  /** The random of its hello, which tells its repeats from a new attempt. */
  readonly random: Uint8Array
}

interface Host {
  halfOpen: number
  readonly established: Set<Peer>
}

/**
 * Which peers there are. An endpoint can have two: an established association, and a handshake that may come to replace it.
 * The old one stays in use until the new one is proven, so that replayed or forged hellos disturb nothing. RFC 6347 §4.2.8.
 * Caps are the caller's; the table keeps the counts.
 */
export class PeerTable {
  private readonly halfOpenByEndpoint = new Map<number, Peer>()
  private readonly byEndpoint = new Map<number, Peer>()
  private readonly bySession = new Map<string, Peer>()
  private readonly hosts = new Map<string, Host>()
  private readonly byAssociation: (Peer | undefined)[] = []
  private freed: { readonly association: number; readonly at: Milliseconds }[] = []
  private readonly maxNumbers: number
  private readonly retain: (endpoint: number) => void
  private readonly release: (endpoint: number) => void
  establishedCount = 0

  constructor(
    maxAssociations: number,
    retainEndpoint: (endpoint: number) => void,
    releaseEndpoint: (endpoint: number) => void,
  ) {
    this.maxNumbers = 2 * maxAssociations
    this.retain = retainEndpoint
    this.release = releaseEndpoint
  }

  get halfOpenCount(): number {
    return this.halfOpenByEndpoint.size
  }

  /** The handshakes under way. */
  get halfOpen(): IterableIterator<Peer> {
    return this.halfOpenByEndpoint.values()
  }

  halfOpenAt(endpoint: number): Peer | undefined {
    return this.halfOpenByEndpoint.size === 0 ? undefined : this.halfOpenByEndpoint.get(endpoint)
  }

  establishedAt(endpoint: number): Peer | undefined {
    return this.byEndpoint.get(endpoint)
  }

  establishedFor(session: string): Peer | undefined {
    return session === '' ? undefined : this.bySession.get(session)
  }

  association(number: number): Peer | undefined {
    return this.byAssociation[number]
  }

  /** All established peers, in no order that matters. */
  get established(): readonly (Peer | undefined)[] {
    return this.byAssociation
  }

  establishedOf(host: string): Iterable<Peer> {
    return this.hosts.get(host)?.established ?? []
  }

  halfOpenOf(host: string): number {
    return this.hosts.get(host)?.halfOpen ?? 0
  }

  addHalfOpen(peer: Peer): void {
    this.halfOpenByEndpoint.set(peer.endpoint, peer)
    this.host(peer.host).halfOpen++
    this.retain(peer.endpoint)
  }

  /** Gives a handshake that completed its number, and the place of whoever held its endpoint or session before. */
  establish(peer: Peer, now: Milliseconds): void {
    this.halfOpenByEndpoint.delete(peer.endpoint)
    const host = this.host(peer.host)
    host.halfOpen--
    this.settle(peer, this.allocate(now))
  }

  /** Takes in an association that was established elsewhere, under the number it had if that is free. */
  adopt(peer: Peer, wanted: number, now: Milliseconds): void {
    this.retain(peer.endpoint)
    this.settle(peer, this.isFree(wanted) ? this.claim(wanted) : this.allocate(now))
  }

  private settle(peer: Peer, association: number): void {
    this.host(peer.host).established.add(peer)
    peer.association = association
    this.byAssociation[peer.association] = peer
    this.byEndpoint.set(peer.endpoint, peer)
    if (peer.session !== '') this.bySession.set(peer.session, peer)
    this.establishedCount++
  }

  /** Follows an established peer to another endpoint, even if that was another peer's: it is the one heard there now. */
  move(peer: Peer, endpoint: number, host: string): void {
    this.retain(endpoint)
    if (this.byEndpoint.get(peer.endpoint) === peer) this.byEndpoint.delete(peer.endpoint)
    this.leaveHost(peer)
    this.release(peer.endpoint)
    peer.endpoint = endpoint
    peer.host = host
    this.byEndpoint.set(endpoint, peer)
    this.host(host).established.add(peer)
  }

  /** Forgets a peer. */
  remove(peer: Peer, now: Milliseconds): void {
    if (peer.association === -1) {
      if (this.halfOpenByEndpoint.get(peer.endpoint) !== peer) return
      this.halfOpenByEndpoint.delete(peer.endpoint)
      this.host(peer.host).halfOpen--
    } else {
      if (this.byAssociation[peer.association] !== peer) return
      this.byAssociation[peer.association] = undefined
      this.freed.push({ association: peer.association, at: now })
      if (this.byEndpoint.get(peer.endpoint) === peer) this.byEndpoint.delete(peer.endpoint)
      if (this.bySession.get(peer.session) === peer) this.bySession.delete(peer.session)
      this.establishedCount--
    }
    this.leaveHost(peer)
    this.release(peer.endpoint)
  }

  private isFree(number: number): boolean {
    return number >= 0 && number < this.maxNumbers && this.byAssociation[number] === undefined
  }

  private claim(number: number): number {
    // Numbers that are skipped are free, and were nobody's.
    for (let skipped = this.byAssociation.length; skipped < number; skipped++) {
      this.byAssociation.push(undefined)
      this.freed.unshift({ association: skipped, at: Number.NEGATIVE_INFINITY })
    }
    this.freed = this.freed.filter(({ association }) => association !== number)
    return number
  }

  /** Numbers come back late: whoever still holds one from before must not reach another peer with it. */
  private allocate(now: Milliseconds): number {
    const oldest = this.freed[0]
    const mayGrow = this.byAssociation.length < this.maxNumbers
    if (oldest !== undefined && (!mayGrow || now - oldest.at >= QUARANTINE_MS)) {
      this.freed.shift()
      return oldest.association
    }
    return this.byAssociation.length
  }

  private host(name: string): Host {
    let host = this.hosts.get(name)
    if (host === undefined) {
      host = { halfOpen: 0, established: new Set() }
      this.hosts.set(name, host)
    }
    return host
  }

  private leaveHost(peer: Peer): void {
    const host = this.hosts.get(peer.host)
    if (host === undefined) return
    host.established.delete(peer)
    if (host.halfOpen === 0 && host.established.size === 0) this.hosts.delete(peer.host)
  }
}
