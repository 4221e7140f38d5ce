import type { AssociationSnapshot } from './association-snapshot.ts'
import { type RecordBatch, Verdict } from './batch.ts'
import { copyBytes } from './copy-bytes.ts'
import { Counter, Counters, type DtlsStats } from './counters.ts'
import { BatchSink, type DataSink } from './data-sink.ts'
import type { AssociationOutput, Negotiated } from './events.ts'
import type { Machine, Milliseconds } from './machine.ts'
import { clientConfig, type DtlsClientOptions, type DtlsPeerServerOptions, peerServerConfig } from './options.ts'
import { ACCEPTED } from './peer-handshake.ts'
import { FAILED, NOT_PLAIN_DATA, PeerState } from './peer-state.ts'
import { MAX_PLAINTEXT_BYTES, recordEnd } from './record/record-header.ts'

/**
 * DTLS 1.2 with one peer, as client or as server. RFC 6347.
 *
 * A client begins with `start`; a server waits for datagrams. Application data passes either one datagram at a time
 * (`handleDatagram`, `send`) or in batches (`openDatagrams`, `sealDatagrams`); both can be mixed. What the network sends never
 * makes a method throw. A server of this kind asks for no cookie: its peer is taken to be known already, for example by a
 * connected socket. Many peers on one socket are `DtlsServer`'s.
 */
export class DtlsAssociation implements Machine<AssociationOutput> {
  private readonly counters = new Counters()
  private readonly peer: PeerState
  private readonly role: 'client' | 'server'
  private readonly sequences: Float64Array | undefined
  private notesSequences = false
  private readonly batchSink = new BatchSink(undefined)
  private readonly queueSink: DataSink

  /** @throws RangeError or TypeError naming the option that is wrong */
  constructor(options: DtlsClientOptions | DtlsPeerServerOptions) {
    this.role = options.role
    const config = options.role === 'client' ? clientConfig(options) : peerServerConfig(options)
    this.sequences = config.sequences
    this.peer = new PeerState(config, this.counters)
    this.queueSink = {
      deliver: (bytes, offset, length) => {
        this.peer.outputs.push({ type: 'received', bytes: copyBytes(bytes, offset, offset + length) })
        return true
      },
    }
  }

  /**
   * Goes on with an association that was exported elsewhere, established from the start and without an `established`. Its numbers
   * go on from those of the snapshot or, if higher, from `options.sequences`. See `AssociationSnapshot` for what must never
   * happen. @throws RangeError or TypeError naming the option or field that is wrong
   */
  static installAssociation(
    options: DtlsClientOptions | DtlsPeerServerOptions,
    snapshot: AssociationSnapshot,
  ): DtlsAssociation {
    const association = new DtlsAssociation(options)
    association.peer.revive(snapshot, options.sequences, 0)
    association.noteSequences()
    return association
  }

  /** Where the association stands. A server is `idle` until the first datagram comes, a client until `start`. */
  get state(): 'idle' | 'handshaking' | 'established' | 'closed' {
    return this.peer.state
  }

  /** What was agreed on; `undefined` until `established`. */
  get negotiated(): Negotiated | undefined {
    return this.peer.negotiated
  }

  get deadline(): Milliseconds | undefined {
    return this.peer.deadline
  }

  /** Starts the handshake of a client. Later calls do nothing. */
  start(now: Milliseconds): void {
    if (this.peer.state === 'idle') this.peer.start(now)
  }

  /** Takes a datagram of the peer. It is opened in place, so `bytes` changes; application data comes as `received`, copied. */
  handleDatagram(bytes: Uint8Array, now: Milliseconds): void {
    this.handle(bytes, 0, bytes.length, this.queueSink, now)
  }

  /**
   * Protects one plaintext of 1 to `negotiated.maxPlaintextBytes` bytes, and queues it as `transmit`. Returns false, and counts
   * why, when the association is not established (any more) or its keys are used up.
   * @throws RangeError for a plaintext that no peer would take: empty, or longer than 16384 bytes
   */
  send(plaintext: Uint8Array, _now: Milliseconds): boolean {
    if (plaintext.length < 1 || plaintext.length > MAX_PLAINTEXT_BYTES) {
      throw new RangeError(`plaintext must be 1 to ${MAX_PLAINTEXT_BYTES} bytes`)
    }
    const bytes = this.peer.sealCopy(plaintext)
    if (bytes === undefined) return false
    this.peer.outputs.push({ type: 'transmit', bytes })
    return true
  }

  /**
   * Opens every `forward` slot in place: slots with application data stay `forward`, with offset and length of the plaintext;
   * consumed ones become `divert`, others `drop`. Owners stay; further records of a datagram get slots at the end.
   */
  openDatagrams(batch: RecordBatch, now: Milliseconds): void {
    const count = batch.count
    for (let slot = 0; slot < count; slot++) {
      if (batch.verdicts[slot] !== Verdict.forward) continue
      const start = batch.offsets[slot]!
      const end = start + batch.lengths[slot]!
      const length = this.peer.openData(batch.bytes, start, end, true)
      if (length > 0) {
        batch.offsets[slot] = start + this.peer.read!.protection.headerBytes
        batch.lengths[slot] = length
        continue
      }
      if (length !== NOT_PLAIN_DATA) {
        this.counters.add(FAILED - length)
        batch.verdicts[slot] = Verdict.drop
        continue
      }
      this.batchSink.owner = batch.owners[slot]!
      this.batchSink.aim(batch, slot)
      this.batchSink.finish(this.handle(batch.bytes, start, end, this.batchSink, now))
    }
  }

  /**
   * Seals every `forward` slot in place. Each needs `SEAL_HEADROOM` bytes before its plaintext and `SEAL_TAILROOM` behind it.
   * What can't be sealed becomes `drop`. Owners stay.
   */
  sealDatagrams(batch: RecordBatch, _now: Milliseconds): void {
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] === Verdict.forward) this.peer.sealSlot(batch, slot)
    }
  }

  /**
   * Keying material for other uses, bound to this association. RFC 5705. No `context` and an empty one give different bytes.
   * @throws RangeError for a bad length or a reserved label, and when the association is not established
   */
  exportKeyingMaterial(length: number, label: string, context?: Uint8Array): Uint8Array {
    const material = this.peer.exportKeyingMaterial(length, label, context)
    if (material === undefined) throw new RangeError('the association is not established')
    return material
  }

  /**
   * A copy of all that the association is, keys included, so that it can go on elsewhere. It goes on here as well: see
   * `AssociationSnapshot` for what must never happen. @throws RangeError when it is not established
   */
  exportAssociation(): AssociationSnapshot {
    const snapshot = this.peer.snapshot(-1, -1)
    if (snapshot === undefined) throw new RangeError('the association is not established')
    return snapshot
  }

  /** Says close_notify if established, and ends. */
  close(_now: Milliseconds): void {
    this.peer.close('local')
  }

  handleDeadline(now: Milliseconds): void {
    this.peer.handleDeadline(now)
  }

  poll(): AssociationOutput | undefined {
    return this.peer.outputs.take()
  }

  /** A copy of the counters. */
  stats(): DtlsStats {
    return this.counters.snapshot()
  }

  private noteSequences(): void {
    if (this.sequences === undefined || this.notesSequences || this.peer.state !== 'established') return
    this.notesSequences = true
    this.peer.noteSequences(this.sequences, 0)
  }

  /** Takes the records of a datagram one by one. Returns whether any was of use. */
  private handle(bytes: Uint8Array, start: number, end: number, sink: DataSink, now: Milliseconds): boolean {
    if (this.role === 'server') this.start(now)
    let wasOfUse = false
    for (let at = start; at < end; ) {
      const stop = recordEnd(bytes, at, end)
      if (stop === -1) {
        this.counters.add(Counter['malformed-record'])
        break
      }
      const result = this.peer.handleRecord(bytes, at, stop, sink, now, false)
      if (result === ACCEPTED) wasOfUse = true
      else this.counters.add(result)
      at = stop
    }
    this.noteSequences()
    return wasOfUse
  }
}
