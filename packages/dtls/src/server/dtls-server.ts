import type { AssociationSnapshot } from '../association-snapshot.ts'
import { type RecordBatch, Verdict } from '../batch.ts'
import { copyBytes } from '../copy-bytes.ts'
import { Counter, Counters, type DtlsStats } from '../counters.ts'
import { BatchSink } from '../data-sink.ts'
import type { ServerOutput } from '../events.ts'
import { type Machine, type Milliseconds, OutputQueue } from '../machine.ts'
import { type DtlsServerOptions, type ServerConfig, serverConfig } from '../options.ts'
import { ACCEPTED } from '../peer-handshake.ts'
import { FAILED, NOT_PLAIN_DATA } from '../peer-state.ts'
import { MAX_PLAINTEXT_BYTES } from '../record/record-header.ts'
import { PeerLives } from './peer-lives.ts'
import { type Peer, PeerTable } from './peer-table.ts'
import { type OwnedSink, RecordRouter } from './record-router.ts'

/**
 * DTLS 1.2 with many peers behind one socket. RFC 6347.
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
  private readonly peers: PeerTable
  private readonly lives: PeerLives
  private readonly router: RecordRouter
  private readonly batchSink: BatchSink
  private readonly queueSink: OwnedSink

  /** @throws RangeError or TypeError naming the option that is wrong */
  constructor(options: DtlsServerOptions) {
    this.config = serverConfig(options)
    const { config, counters, outputs } = this
    this.peers = new PeerTable(config.maxAssociations, config.retainEndpoint, config.releaseEndpoint)
    this.lives = new PeerLives(config, counters, this.peers, outputs)
    this.router = new RecordRouter(config, counters, this.peers, this.lives, outputs)
    this.batchSink = new BatchSink(config.takeUnknown)
    this.queueSink = {
      owner: -1,
      deliver(bytes, offset, length) {
        outputs.push({ type: 'received', association: this.owner, bytes: copyBytes(bytes, offset, offset + length) })
        return true
      },
      giveAway: () => false,
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
          this.lives.settle(peer, now)
          const result = this.router.elsewhere(FAILED - length, bytes, start, end, endpoint, this.batchSink, now)
          if (result !== ACCEPTED) this.counters.add(result)
          this.batchSink.finish(result === ACCEPTED)
          endpoint = -1
          continue
        }
      }
      endpoint = -1
      this.batchSink.aim(batch, slot)
      this.batchSink.finish(this.router.handle(bytes, start, end, owners[slot]!, this.batchSink, now))
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
        if (peer.state.outputs.length > 0) this.lives.settle(peer, now)
      }
    }
  }

  /** Takes one datagram. It is opened in place, so `bytes` changes; application data comes as `received`, copied. */
  handleDatagram(endpoint: number, bytes: Uint8Array, now: Milliseconds): void {
    this.router.handle(bytes, 0, bytes.length, endpoint, this.queueSink, now)
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
    this.lives.settle(peer, now)
    return true
  }

  /** Says close_notify and ends an association. A number that is not (or no longer) in use is ignored. */
  close(association: number, now: Milliseconds): void {
    const peer = this.peers.association(association)
    if (peer === undefined) return
    peer.state.close('local')
    this.lives.settle(peer, now)
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
    return this.lives.install(snapshot, endpoint, now)
  }

  get deadline(): Milliseconds | undefined {
    return this.lives.deadline
  }

  handleDeadline(now: Milliseconds): void {
    this.lives.handleDeadline(now)
  }

  poll(): ServerOutput | undefined {
    return this.outputs.take()
  }

  /** A copy of the counters, over all peers. */
  stats(): DtlsStats {
    return this.counters.snapshot()
  }
}
