import type { AssociationSnapshot } from '../association-snapshot.ts'
import { type RecordBatch, Verdict } from '../batch.ts'
import { copyBytes } from '../copy-bytes.ts'
import { Counter, Counters, type DtlsStats } from '../counters.ts'
import { equalBytes } from '../crypto/constant-time.ts'
import { BatchSink, type DataSink } from '../data-sink.ts'
import type { AssociationOutput, ServerOutput } from '../events.ts'
import { type Machine, type Milliseconds, OutputQueue } from '../machine.ts'
import { type DtlsServerOptions, type ServerConfig, serverConfig } from '../options.ts'
import { ACCEPTED, FAILED, NOT_PLAIN_DATA } from '../peer-state.ts'
import { MAX_PLAINTEXT_BYTES, recordEnd, recordEpoch, recordSequence } from '../record/record-header.ts'
import { HelloGate, isClientHello } from './hello-gate.ts'
import { peerOfHello, peerOfSnapshot, sessionName } from './make-peer.ts'
import { type Peer, PeerTable } from './peer-table.ts'
import { Roaming } from './roaming.ts'

/**
 * DTLS 1.2 with many peers behind one socket. RFC 6347.
 *
 *   record of a datagram
 *     ClientHello  -> gate (no state) -> caps -> handshake under way, beside an association that may live at that endpoint
 *     epoch 0      -> the handshake under way at that endpoint
 *     epoch 1      -> the association at that endpoint -> the handshake under way there -> associations that may have moved
 *
 * Memory: an association costs about 4.5 KiB of heap and, once records went both ways, 2 KiB for libcrypto's contexts if there are
 * any; a handshake under way up to 30 kB. Handshakes take about 0.1 ms, a hello without a cookie 0.01 ms and no memory.
 *
 * A completed handshake replaces the association at its endpoint and the one with its session id, not before. What can't be
 * taken (caps, unknown session ids, garbage) is dropped without a word and counted.
 */
export class DtlsServer implements Machine<ServerOutput> {
  private readonly config: ServerConfig
  private readonly counters = new Counters()
  private readonly outputs = new OutputQueue<ServerOutput>()
  private readonly gate: HelloGate
  private readonly peers: PeerTable
  private readonly roaming: Roaming
  private readonly batchSink = new BatchSink()
  private readonly queueSink: DataSink & { owner: number }
  private nextDeadline: Milliseconds | undefined
  private isDeadlineStale = false

  /** @throws RangeError or TypeError naming the option that is wrong */
  constructor(options: DtlsServerOptions) {
    this.config = serverConfig(options)
    this.gate = new HelloGate(this.config, this.counters)
    this.peers = new PeerTable(this.config.maxAssociations, this.config.retainEndpoint, this.config.releaseEndpoint)
    this.roaming = new Roaming(this.config.maxRoamingTrials)
    const { outputs } = this
    this.queueSink = {
      owner: -1,
      deliver(bytes, offset, length) {
        outputs.push({ type: 'received', association: this.owner, bytes: copyBytes(bytes, offset, offset + length) })
        return true
      },
    }
  }

  /** Associations that are established. */
  get associationCount(): number {
    return this.peers.establishedCount
  }

  /** Handshakes under way. */
  get halfOpenCount(): number {
    return this.peers.halfOpenCount
  }

  /**
   * Opens every `forward` slot in place. Owners are endpoint numbers before. After it, slots that are still `forward` hold
   * application data and their owners are association numbers; datagrams that were of use otherwise are `divert`, others
   * `drop`. Further records of a datagram get slots at the end of the batch.
   */
  openDatagrams(batch: RecordBatch, now: Milliseconds): void {
    const { count, bytes, offsets, lengths, verdicts, owners } = batch
    let endpoint = -1
    let peer: Peer | undefined
    for (let slot = 0; slot < count; slot++) {
      if (verdicts[slot] !== Verdict.forward) continue
      const start = offsets[slot]!
      const end = start + lengths[slot]!
      // Consecutive datagrams are mostly of one peer. Where a handshake is under way, the slow way is taken.
      if (owners[slot] !== endpoint) {
        endpoint = owners[slot]!
        peer = this.peers.halfOpenAt(endpoint) === undefined ? this.peers.establishedAt(endpoint) : undefined
      }
      if (peer !== undefined) {
        const length = peer.state.openData(bytes, start, end, false)
        if (length > 0) {
          offsets[slot] = start + peer.state.read!.protection.headerBytes
          lengths[slot] = length
          owners[slot] = peer.association
          continue
        }
        if (length !== NOT_PLAIN_DATA) {
          this.batchSink.aim(batch, slot)
          this.settle(peer, now)
          const result = this.elsewhere(FAILED - length, bytes, start, end, endpoint, this.batchSink, now)
          if (result !== ACCEPTED) this.counters.add(result)
          this.batchSink.finish(result === ACCEPTED)
          endpoint = -1
          continue
        }
      }
      endpoint = -1
      this.batchSink.aim(batch, slot)
      this.batchSink.finish(this.handle(bytes, start, end, owners[slot]!, this.batchSink, now))
    }
  }

  /**
   * Seals every `forward` slot in place. Owners are association numbers before and endpoint numbers after. Each slot needs
   * `SEAL_HEADROOM` bytes before its plaintext and `SEAL_TAILROOM` behind it. What can't be sealed becomes `drop`.
   */
  sealDatagrams(batch: RecordBatch, now: Milliseconds): void {
    const { count, verdicts, owners } = batch
    for (let slot = 0; slot < count; slot++) {
      if (verdicts[slot] !== Verdict.forward) continue
      const peer = this.peers.association(owners[slot]!)
      if (peer === undefined) {
        verdicts[slot] = Verdict.drop
        this.counters.add(Counter['unknown-association'])
      } else if (peer.state.sealSlot(batch, slot)) {
        owners[slot] = peer.endpoint
        if (peer.state.outputs.length > 0) this.settle(peer, now)
      }
    }
  }

  /** Takes one datagram. It is opened in place, so `bytes` changes; application data comes as `received`, copied. */
  handleDatagram(endpoint: number, bytes: Uint8Array, now: Milliseconds): void {
    this.handle(bytes, 0, bytes.length, endpoint, this.queueSink, now)
  }

  /**
   * Protects one plaintext and queues it as `transmit`. Returns false, and counts why, when the association is gone or can't.
   * @throws RangeError for a plaintext that no peer would take: empty, or longer than 16384 bytes
   */
  send(association: number, plaintext: Uint8Array, now: Milliseconds): boolean {
    if (plaintext.length < 1 || plaintext.length > MAX_PLAINTEXT_BYTES) {
      throw new RangeError(`plaintext must be 1 to ${MAX_PLAINTEXT_BYTES} bytes`)
    }
    const peer = this.peers.association(association)
    if (peer === undefined) {
      this.counters.add(Counter['unknown-association'])
      return false
    }
    const bytes = peer.state.sealCopy(plaintext)
    if (bytes === undefined) return false
    this.outputs.push({ type: 'transmit', endpoint: peer.endpoint, bytes })
    this.settle(peer, now)
    return true
  }

  /** Says close_notify and ends an association. A number that is not (or no longer) in use is ignored. */
  close(association: number, now: Milliseconds): void {
    const peer = this.peers.association(association)
    if (peer === undefined) return
    peer.state.close('local')
    this.settle(peer, now)
  }

  /** Where the peer of an association is; -1 if there is no such association. */
  endpointOf(association: number): number {
    return this.peers.association(association)?.endpoint ?? -1
  }

  /**
   * Keying material for other uses, bound to an association. RFC 5705. No `context` and an empty one give different bytes.
   * @throws RangeError for a bad length or a reserved label, and when there is no such association
   */
  exportKeyingMaterial(association: number, length: number, label: string, context?: Uint8Array): Uint8Array {
    const material = this.peers.association(association)?.state.exportKeyingMaterial(length, label, context)
    if (material === undefined) throw new RangeError(`there is no association ${association}`)
    return material
  }

  /** Association numbers are below this one: twice `maxAssociations`, as numbers rest before they come back. */
  get associationNumbers(): number {
    return 2 * this.config.maxAssociations
  }

  /**
   * A copy of all that an association is, keys included, so that it can go on elsewhere: another `DtlsServer` by
   * `installAssociation`, or a data plane that protects records by other means. It also goes on here, so close this side or stop
   * sealing with it: see `AssociationSnapshot` for what must never happen. @throws RangeError when there is no such association
   */
  exportAssociation(association: number): AssociationSnapshot {
    const peer = this.peers.association(association)
    const snapshot = peer?.state.snapshot(association, peer.endpoint)
    if (snapshot === undefined) throw new RangeError(`there is no association ${association}`)
    return snapshot
  }

  /**
   * Goes on with an association that was exported elsewhere, as if its handshake had completed here, but without an
   * `established`. The next number to write and the highest one read are those of the snapshot or, if higher, those that
   * `sequences` holds for `snapshot.association`; numbers up to the latter then count as received. It takes the place of an
   * association with its endpoint or session id, as a handshake would. Returns its number, the one it had if that is free; or
   * -1, counted, when there are `maxAssociations`. Install only what has not ended meanwhile, and only once.
   * @throws RangeError or TypeError naming the field that is wrong
   */
  installAssociation(snapshot: AssociationSnapshot, endpoint: number, now: Milliseconds): number {
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

  poll(): ServerOutput | undefined {
    return this.outputs.take()
  }

  /** A copy of the counters, over all peers. */
  stats(): DtlsStats {
    return this.counters.snapshot()
  }

  /** Takes the records of a datagram one by one. Returns whether any was of use. */
  private handle(
    bytes: Uint8Array,
    start: number,
    end: number,
    endpoint: number,
    sink: DataSink & { owner: number },
    now: Milliseconds,
  ): boolean {
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
    sink: DataSink & { owner: number },
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
  private elsewhere(
    result: number,
    bytes: Uint8Array,
    at: number,
    end: number,
    endpoint: number,
    sink: DataSink & { owner: number },
    now: Milliseconds,
  ): number {
    if (!isForeign(result)) return result
    const halfOpen = this.peers.halfOpenAt(endpoint)
    if (halfOpen !== undefined) {
      const other = this.feed(halfOpen, bytes, at, end, sink, now)
      if (!isForeign(other)) return other
    }
    if (result === Counter.replayed) return result
    return this.follow(bytes, at, end, endpoint, sink, now) ? ACCEPTED : result
  }

  private handleHello(
    bytes: Uint8Array,
    at: number,
    end: number,
    endpoint: number,
    sink: DataSink & { owner: number },
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
      this.settle(halfOpen, now)
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

  private feed(
    peer: Peer,
    bytes: Uint8Array,
    at: number,
    end: number,
    sink: DataSink & { owner: number },
    now: Milliseconds,
  ): number {
    sink.owner = peer.association
    const result = peer.state.handleRecord(bytes, at, end, sink, now, true)
    this.settle(peer, now)
    return result
  }

  /** Tries a record from an unknown place against associations that may have moved, and follows the one that knows it. */
  private follow(
    bytes: Uint8Array,
    at: number,
    end: number,
    endpoint: number,
    sink: DataSink & { owner: number },
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

  /** Passes on what a peer has to say, and does what follows from it. */
  private settle(peer: Peer, now: Milliseconds): void {
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
