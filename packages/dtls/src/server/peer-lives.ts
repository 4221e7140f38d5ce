import type { AssociationSnapshot } from '../association-snapshot.ts'
import { Counter, type Counters } from '../counters.ts'
import type { AssociationOutput, ServerOutput } from '../events.ts'
import type { Milliseconds, OutputQueue } from '../machine.ts'
import type { ServerConfig } from '../options.ts'
import { peerOfSnapshot, sessionName } from './make-peer.ts'
import type { Peer, PeerTable } from './peer-table.ts'

/** What becomes of the peers of a server: a handshake that completes or runs out of time, who replaces whom, who ends. */
export class PeerLives {
  private readonly config: ServerConfig
  private readonly counters: Counters
  private readonly peers: PeerTable
  private readonly outputs: OutputQueue<ServerOutput>
  private nextDeadline: Milliseconds | undefined
  private isDeadlineStale = false

  constructor(config: ServerConfig, counters: Counters, peers: PeerTable, outputs: OutputQueue<ServerOutput>) {
    this.config = config
    this.counters = counters
    this.peers = peers
    this.outputs = outputs
  }

  /** When the next handshake under way has something to do. */
  get deadline(): Milliseconds | undefined {
    if (this.isDeadlineStale) {
      this.isDeadlineStale = false
      this.nextDeadline = undefined
      for (const { state } of this.peers.halfOpen) {
        const { deadline } = state
        if (deadline !== undefined) this.nextDeadline = Math.min(deadline, this.nextDeadline ?? deadline)
      }
    }
    return this.nextDeadline
  }

  handleDeadline(now: Milliseconds): void {
    if (this.deadline === undefined || now < this.deadline) return
    for (const peer of [...this.peers.halfOpen]) {
      peer.state.handleDeadline(now)
      this.settle(peer, now)
    }
    this.isDeadlineStale = true
  }

  /** Passes on what a peer has to say, and does what follows from it. */
  settle(peer: Peer, now: Milliseconds): void {
    if (peer.association === -1) this.isDeadlineStale = true
    const { outputs } = peer.state
    while (outputs.length > 0) this.passOn(peer, outputs.take()!, now)
  }

  private passOn(peer: Peer, output: AssociationOutput, now: Milliseconds): void {
    const { association, endpoint } = peer
    switch (output.type) {
      case 'transmit':
        this.outputs.push({ type: 'transmit', endpoint, bytes: output.bytes })
        return
      case 'established':
        this.establish(peer, { ...output, association: -1, endpoint }, now)
        return
      case 'key-limit-near':
        this.outputs.push({ type: 'key-limit-near', association })
        return
      case 'closed':
        this.peers.remove(peer, now)
        if (association !== -1) this.outputs.push({ ...output, association })
        else if (output.error !== undefined) {
          const sessionId = peer.sessionId
          this.outputs.push({ type: 'handshake-failed', endpoint, sessionId, error: output.error })
        }
        return
    }
  }

  /** Takes in an association of elsewhere. Returns its number; -1, counted, when there are too many. */
  install(snapshot: AssociationSnapshot, endpoint: number, now: Milliseconds): number {
    const { config, peers } = this
    const session = sessionName(snapshot.negotiated.sessionId)
    const replaced = new Set([peers.establishedAt(endpoint), peers.establishedFor(session)])
    replaced.delete(undefined)
    if (replaced.size === 0 && peers.establishedCount + peers.halfOpenCount >= config.maxAssociations) {
      this.counters.add(Counter['association-limit'])
      return -1
    }
    const peer = peerOfSnapshot(config, this.counters, snapshot, endpoint)
    peers.adopt(peer, snapshot.association, now)
    this.noteSequences(peer)
    this.endReplaced(replaced, now)
    return peer.association
  }

  /**
   * Puts a completed handshake in the place of the associations that it replaces. They end after it is announced, so that
   * whoever listens goes from one to the other without a gap.
   */
  private establish(peer: Peer, output: ServerOutput & { readonly type: 'established' }, now: Milliseconds): void {
    const replaced = new Set([this.peers.establishedAt(peer.endpoint), this.peers.establishedFor(peer.session)])
    this.peers.establish(peer, now)
    this.noteSequences(peer)
    this.outputs.push({ ...output, association: peer.association })
    this.endReplaced(replaced, now)
  }

  private noteSequences(peer: Peer): void {
    const { sequences } = this.config
    if (sequences !== undefined) peer.state.noteSequences(sequences, 2 * peer.association)
  }

  private endReplaced(replaced: ReadonlySet<Peer | undefined>, now: Milliseconds): void {
    for (const old of replaced) {
      if (old === undefined) continue
      old.state.close('replaced')
      this.settle(old, now)
    }
  }
}
