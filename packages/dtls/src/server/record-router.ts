import { Counter, type Counters } from '../counters.ts'
import { equalBytes } from '../crypto/constant-time.ts'
import type { DataSink } from '../data-sink.ts'
import type { ServerOutput } from '../events.ts'
import type { Milliseconds, OutputQueue } from '../machine.ts'
import type { ServerConfig } from '../options.ts'
import { ACCEPTED } from '../peer-handshake.ts'
import { recordEnd, recordEpoch, recordSequence } from '../record/record-header.ts'
import { HelloGate, isClientHello } from './hello-gate.ts'
import { peerOfHello, sessionName } from './make-peer.ts'
import type { PeerLives } from './peer-lives.ts'
import type { Peer, PeerTable } from './peer-table.ts'
import { Roaming } from './roaming.ts'

/** Where application data goes, which is told whose it is. */
export interface OwnedSink extends DataSink {
  owner: number
  /** Whether somebody else takes the record `[at, end)`, which is none of ours. */
  giveAway(bytes: Uint8Array, at: number, end: number): boolean
}

/**
 * Finds the peer that each record is of, and brings it there.
 *
 *   record of a datagram
 *     ClientHello  -> gate (no state) -> caps -> handshake under way, beside an association that may live at that endpoint
 *     epoch 0      -> the handshake under way at that endpoint
 *     epoch 1      -> the association at that endpoint -> the handshake under way there -> associations that may have moved
 *                  -> `takeUnknown`
 */
export class RecordRouter {
  private readonly config: ServerConfig
  private readonly counters: Counters
  private readonly peers: PeerTable
  private readonly lives: PeerLives
  private readonly outputs: OutputQueue<ServerOutput>
  private readonly gate: HelloGate
  private readonly roaming: Roaming

  constructor(
    config: ServerConfig,
    counters: Counters,
    peers: PeerTable,
    lives: PeerLives,
    outputs: OutputQueue<ServerOutput>,
  ) {
    this.config = config
    this.counters = counters
    this.peers = peers
    this.lives = lives
    this.outputs = outputs
    this.gate = new HelloGate(config, counters)
    this.roaming = new Roaming(config.maxRoamingTrials)
  }

  /** Takes the records of a datagram one by one. Returns whether any was of use. */
  handle(bytes: Uint8Array, start: number, end: number, endpoint: number, sink: OwnedSink, now: Milliseconds): boolean {
    let wasOfUse = false
    for (let at = start; at < end; ) {
      const stop = recordEnd(bytes, at, end)
      if (stop === -1) {
        this.counters.add(Counter['malformed-record'])
        break
      }
      const result = this.handleRecord(bytes, at, stop, endpoint, sink, now)
      if (result === ACCEPTED) wasOfUse = true
      else this.counters.add(result)
      at = stop
    }
    return wasOfUse
  }

  private handleRecord(
    bytes: Uint8Array,
    at: number,
    end: number,
    endpoint: number,
    sink: OwnedSink,
    now: Milliseconds,
  ): number {
    const established = this.peers.establishedAt(endpoint)
    if (recordEpoch(bytes, at) === 0) {
      if (isClientHello(bytes, at, end)) return this.handleHello(bytes, at, end, endpoint, sink, now)
      const peer = this.peers.halfOpenAt(endpoint)
      if (peer !== undefined) return this.feed(peer, bytes, at, end, sink, now)
      return established === undefined ? Counter['unknown-endpoint'] : Counter['unknown-epoch']
    }
    if (established === undefined) {
      return this.elsewhere(Counter['unknown-endpoint'], bytes, at, end, endpoint, sink, now)
    }
    const result = this.feed(established, bytes, at, end, sink, now)
    return this.elsewhere(result, bytes, at, end, endpoint, sink, now)
  }

  /** Who else a record may be of that the association at its endpoint, if any, gave `result` for. */
  elsewhere(
    result: number,
    bytes: Uint8Array,
    at: number,
    end: number,
    endpoint: number,
    sink: OwnedSink,
    now: Milliseconds,
  ): number {
    if (!isForeign(result)) return result
    const halfOpen = this.peers.halfOpenAt(endpoint)
    if (halfOpen !== undefined) {
      const other = this.feed(halfOpen, bytes, at, end, sink, now)
      if (!isForeign(other)) return other
    }
    if (result === Counter.replayed) return result
    const isPlaced = this.follow(bytes, at, end, endpoint, sink, now) || sink.giveAway(bytes, at, end)
    return isPlaced ? ACCEPTED : result
  }

  private handleHello(
    bytes: Uint8Array,
    at: number,
    end: number,
    endpoint: number,
    sink: OwnedSink,
    now: Milliseconds,
  ): number {
    const { maxHalfOpen, maxHalfOpenPerHost, maxAssociations, hostOf } = this.config
    const halfOpen = this.peers.halfOpenAt(endpoint)
    const isBusy = halfOpen !== undefined || this.peers.halfOpenCount >= maxHalfOpen / 4
    const judged = this.gate.judge(bytes, at, end, endpoint, isBusy, now)
    if (typeof judged === 'number') return judged
    if (judged instanceof Uint8Array) {
      this.outputs.push({ type: 'transmit', endpoint, bytes: judged })
      return ACCEPTED
    }
    const established = this.peers.establishedAt(endpoint)
    // The hello that the association at hand came from, late or replayed.
    if (established !== undefined && equalBytes(established.random, judged.hello.random)) {
      return Counter['unexpected-message']
    }
    if (halfOpen !== undefined) {
      if (equalBytes(halfOpen.random, judged.hello.random)) return this.feed(halfOpen, bytes, at, end, sink, now)
      if (!judged.isProven) return Counter['handshake-busy']
      halfOpen.state.close('replaced')
      this.lives.settle(halfOpen, now)
    }
    const host = hostOf(endpoint)
    const session = sessionName(judged.hello.sessionId)
    const replaces = established !== undefined || this.peers.establishedFor(session) !== undefined
    if (this.peers.halfOpenCount >= maxHalfOpen) return Counter['half-open-limit']
    if (this.peers.halfOpenOf(host) >= maxHalfOpenPerHost) return Counter['half-open-host-limit']
    if (!replaces && this.peers.establishedCount + this.peers.halfOpenCount >= maxAssociations) {
      return Counter['association-limit']
    }
    const peer = peerOfHello(this.config, this.counters, judged, endpoint)
    this.peers.addHalfOpen(peer)
    peer.state.start(now)
    return this.feed(peer, bytes, at, end, sink, now)
  }

  private feed(peer: Peer, bytes: Uint8Array, at: number, end: number, sink: OwnedSink, now: Milliseconds): number {
    sink.owner = peer.association
    const result = peer.state.handleRecord(bytes, at, end, sink, now, true)
    this.lives.settle(peer, now)
    return result
  }

  /** Tries a record from an unknown place against associations that may have moved, and follows the one that knows it. */
  private follow(
    bytes: Uint8Array,
    at: number,
    end: number,
    endpoint: number,
    sink: OwnedSink,
    now: Milliseconds,
  ): boolean {
    const host = this.config.hostOf(endpoint)
    const sequence = recordSequence(bytes, at)
    const candidates = this.roaming.candidates(this.peers, endpoint, host, sequence, now)
    if (candidates === undefined) {
      this.counters.add(Counter['roaming-limit'])
      return false
    }
    for (const peer of candidates) {
      if (!this.roaming.takeTrial(now)) {
        this.counters.add(Counter['roaming-limit'])
        return false
      }
      const { read } = peer.state
      const from = peer.endpoint
      const result = this.feed(peer, bytes, at, end, sink, now)
      if (read!.window.highest !== sequence) continue
      if (result !== ACCEPTED) this.counters.add(result)
      if (this.peers.association(peer.association) === peer) {
        this.peers.move(peer, endpoint, host)
        this.counters.add(Counter['endpoint-changes'])
        this.outputs.push({ type: 'endpoint-changed', association: peer.association, from, to: endpoint })
      }
      return true
    }
    return false
  }
}

/** Whether a record may be another peer's: this one's keys don't know it. */
function isForeign(result: number): boolean {
  return (
    result === Counter['unknown-endpoint'] ||
    result === Counter['not-authenticated'] ||
    result === Counter.replayed ||
    result === Counter['short-record'] ||
    result === Counter['early-record-limit']
  )
}
