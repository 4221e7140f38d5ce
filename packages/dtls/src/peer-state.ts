// The DTLS state that is shared with one peer, one record at a time: this file reads, `PeerHandshake` and `PeerSender` have the rest.
// `DtlsAssociation` drives one of these, `DtlsServer` many.
//
//             record of epoch 0                                record of epoch 1
//        +-----------+-----------+                  +----------------+--------------+
//   handshake  ChangeCipherSpec  alert          handshake     application data     alert
//        |           |             \                |                |                \
//   reassembler   handshake     suspicion      reassembler       data sink        close or fail
//        |                                    (Finished; later
//    handshake                                 repeats, refused
//                                              renegotiation)
//
// Epoch 0 is read during the handshake only, and nothing in it can end the handshake at once: a plaintext fatal alert counts
// only if the peer stays silent for `SUSPICION_MS` after it. Epoch 1 is read from ChangeCipherSpec on; application data is
// delivered from Finished on. There is no further epoch, as renegotiation is refused.
import { type AssociationSnapshot, reviveSnapshot, takeSnapshot } from './association-snapshot.ts'
import type { RecordBatch } from './batch.ts'
import { Counter, type Counters } from './counters.ts'
import type { DataSink } from './data-sink.ts'
import { exportKeyingMaterial, type Secrets } from './dtls12/key-schedule.ts'
import { DtlsError } from './errors.ts'
import type { AssociationOutput, CloseReason, Negotiated } from './events.ts'
import { type Milliseconds, OutputQueue } from './machine.ts'
import type { ClientConfig, PeerServerConfig } from './options.ts'
import { ACCEPTED, type HandshakeOwner, PeerHandshake } from './peer-handshake.ts'
import { PeerSender } from './peer-sender.ts'
import { ALERT_BYTES, Alert, AlertLevel, alertName } from './record/alert.ts'
import { MAX_FORGERIES, OpenFailure, ReadEpoch, type WriteEpoch } from './record/epoch-keys.ts'
import {
  ContentType,
  isDataRecord,
  MAX_PLAINTEXT_BYTES,
  ProtocolVersion,
  recordEpoch,
  recordSequence,
  recordVersion,
} from './record/record-header.ts'
import type { RecordProtection } from './record/record-protection.ts'

/** Results of `openData` that are not a length. */
export const NOT_PLAIN_DATA = -1
export const FAILED = -2

/** How a server's handshake begins. */
export interface Origin {
  /** Numbers of the hello that counts: messages and records go on from there. RFC 6347 §4.2.1. */
  readonly messageSeq: number
  readonly recordSequence: number
  /** Whether the peer has proven its address by a cookie. */
  readonly isProven: boolean
}

export class PeerState implements HandshakeOwner {
  readonly outputs: OutputQueue<AssociationOutput> = new OutputQueue()
  state: 'idle' | 'handshaking' | 'established' | 'closed' = 'idle'
  negotiated: Negotiated | undefined
  read: ReadEpoch | undefined
  private readonly config: ClientConfig | PeerServerConfig
  private readonly counters: Counters
  private readonly sender: PeerSender
  private readonly handshake: PeerHandshake
  private secrets: Secrets | undefined
  private readLimit = MAX_PLAINTEXT_BYTES

  constructor(config: ClientConfig | PeerServerConfig, counters: Counters, origin?: Origin) {
    this.config = config
    this.counters = counters
    const isProven = config.role === 'client' || (origin?.isProven ?? false)
    this.sender = new PeerSender(this.outputs, counters, origin?.recordSequence ?? 0, isProven)
    this.handshake = new PeerHandshake(config, counters, this.sender, this, origin?.messageSeq ?? 0)
  }

  /** The epoch that application data is written in. */
  get write(): WriteEpoch | undefined {
    return this.sender.write
  }

  start(now: Milliseconds): void {
    this.state = 'handshaking'
    this.handshake.start(now)
  }

  get deadline(): Milliseconds | undefined {
    return this.state === 'handshaking' ? this.handshake.deadline : undefined
  }

  handleDeadline(now: Milliseconds): void {
    if (this.state === 'handshaking') this.handshake.handleDeadline(now)
  }

  /**
   * Takes the whole record in `[at, end)`; application data goes to `sink`. Returns `ACCEPTED` or the counter of a drop,
   * which it leaves to the caller to bump, as another association may know the record. Then `keeps` must be set, or the bytes
   * of a record that does not authenticate are lost.
   */
  handleRecord(bytes: Uint8Array, at: number, end: number, sink: DataSink, now: Milliseconds, keeps: boolean): number {
    const epoch = recordEpoch(bytes, at)
    const version = recordVersion(bytes, at)
    if (this.state === 'closed' || this.state === 'idle') return Counter['unknown-epoch']
    this.sender.noteReceived(end - at)
    if (epoch === 0) {
      if (version !== ProtocolVersion.dtls12 && version !== ProtocolVersion.dtls10)
        return Counter['unsupported-version']
      if (this.state === 'established') return Counter['unknown-epoch']
      const result = this.handshake.handlePlainRecord(bytes, at, end, now)
      this.reviveEarly(sink, now)
      return result
    }
    if (epoch !== 1) return Counter['unknown-epoch']
    if (version !== ProtocolVersion.dtls12) return Counter['unsupported-version']
    const { read } = this
    const isEarlyData = this.state !== 'established' && bytes[at] === ContentType.applicationData
    // A client has its answer before it sends data, so data that a server gets early is not worth keeping.
    if (isEarlyData && this.config.role === 'server') return Counter['unexpected-content-type']
    if (read === undefined || isEarlyData) {
      return this.handshake.keepEarly(bytes, at, end) ? ACCEPTED : Counter['early-record-limit']
    }
    return this.handleSecureRecord(read, bytes, at, end, sink, now, keeps)
  }

  /**
   * Opens the datagram `[at, end)` in place if it is what most are: one record with application data. Returns the length of the
   * plaintext, which begins at `at + read.protection.headerBytes`; `NOT_PLAIN_DATA` if it is anything else, untouched; or
   * `FAILED - counter` for a drop.
   */
  openData(bytes: Uint8Array, at: number, end: number, isAlone: boolean): number {
    const read = this.read
    if (read === undefined || this.state !== 'established' || !isDataRecord(bytes, at, end)) return NOT_PLAIN_DATA
    const sequence = recordSequence(bytes, at)
    const length = read.open(bytes, at, end, sequence, !isAlone && read.doubts(sequence))
    if (length > 0 && length <= this.readLimit) {
      this.counters.add(Counter['records-opened'])
      // A client that sends data has the last flight.
      this.handshake.forgetFlight()
      return length
    }
    if (length < 0) return FAILED - this.explain(read, length)
    this.counters.add(Counter['records-opened'])
    return FAILED - (length === 0 ? Counter['empty-record'] : Counter['oversized-record'])
  }

  /** Seals the plaintext of a slot in place, or drops and counts it. Returns whether it was sealed. */
  sealSlot(batch: RecordBatch, slot: number): boolean {
    return this.sender.sealSlot(batch, slot)
  }

  /** Seals a copy of a plaintext into a record, or counts why not. */
  sealCopy(plaintext: Uint8Array): Uint8Array | undefined {
    return this.sender.sealCopy(plaintext)
  }

  /** Ends everything, telling the peer if it is established. */
  close(reason: CloseReason): void {
    if (this.state === 'closed') return
    if (this.state === 'established' && reason === 'local') this.sender.sendAlert(AlertLevel.warning, Alert.closeNotify)
    this.end({ type: 'closed', reason })
  }

  /** Keeps `cells[at]` at the next sequence number to write, and `cells[at + 1]` at the highest that was read. */
  noteSequences(cells: Float64Array, at: number): void {
    this.write!.noteIn(cells, at)
    this.read!.noteIn(cells, at + 1)
  }

  /** A copy of all that it lives on; `undefined` unless it is established. */
  snapshot(association: number, endpoint: number): AssociationSnapshot | undefined {
    const { state, negotiated, secrets, read, write, readLimit } = this
    if (state !== 'established') return undefined
    const live = { negotiated: negotiated!, secrets: secrets!, read: read!, write: write!, readLimit }
    return takeSnapshot(this.config.role, association, endpoint, live)
  }

  /**
   * Begins with what a snapshot holds instead of a handshake; numbers in `sequences` at `at` that are higher than its own go
   * before them. @throws RangeError or TypeError naming the field that is wrong
   */
  revive(snapshot: AssociationSnapshot, sequences: Float64Array | undefined, at: number): void {
    const live = reviveSnapshot(this.config.crypto, this.config.role, snapshot, sequences, at)
    this.negotiated = live.negotiated
    this.secrets = live.secrets
    this.read = live.read
    this.readLimit = live.readLimit
    this.state = 'established'
    this.sender.write = live.write
    this.sender.establish(live.negotiated.maxPlaintextBytes, live.secrets.suite.recordLimit)
    this.handshake.end()
  }

  exportKeyingMaterial(length: number, label: string, context: Uint8Array | undefined): Uint8Array | undefined {
    return this.secrets === undefined ? undefined : exportKeyingMaterial(this.secrets, length, label, context)
  }

  // What the handshake brings about.

  installReadKeys(protection: RecordProtection): void {
    this.read = new ReadEpoch(protection)
  }

  establish(negotiated: Negotiated, secrets: Secrets, readLimit: number): void {
    this.state = 'established'
    this.negotiated = negotiated
    this.secrets = secrets
    this.readLimit = readLimit
    this.sender.establish(negotiated.maxPlaintextBytes, secrets.suite.recordLimit)
    this.counters.add(Counter['handshakes-completed'])
    this.outputs.push({ type: 'established', ...negotiated })
  }

  failByAlert(alert: number): void {
    const name = alertName(alert)
    const error = new DtlsError('ERR_DTLS_PEER_ALERT', `the peer sent the fatal alert ${name}`, { alert: name })
    const reason = this.state === 'established' ? 'peer-alert' : 'handshake-failed'
    this.end({ type: 'closed', reason, error })
  }

  end(output: AssociationOutput & { readonly type: 'closed' }): void {
    if (this.state === 'closed') return
    if (this.state === 'handshaking') this.counters.add(Counter['handshakes-failed'])
    this.state = 'closed'
    this.outputs.push(output)
    this.read?.end()
    this.read = undefined
    this.secrets = undefined
    this.sender.end()
    this.handshake.end()
  }

  // Records of epoch 1.

  private handleSecureRecord(
    read: ReadEpoch,
    bytes: Uint8Array,
    at: number,
    end: number,
    sink: DataSink,
    now: Milliseconds,
    keeps: boolean,
  ): number {
    const length = read.open(bytes, at, end, recordSequence(bytes, at), keeps)
    if (length < 0) return this.explain(read, length)
    const from = at + read.protection.headerBytes
    this.counters.add(Counter['records-opened'])
    switch (bytes[at]) {
      case ContentType.applicationData:
        if (length === 0) return Counter['empty-record']
        if (length > this.readLimit) return Counter['oversized-record']
        if (this.state === 'established') this.handshake.forgetFlight()
        return sink.deliver(bytes, from, length) ? ACCEPTED : Counter['batch-full']
      case ContentType.handshake: {
        if (this.state === 'established') {
          return this.handshake.handleLateFragments(bytes, from, from + length, now)
        }
        const result = this.handshake.handleFragments(bytes, from, from + length, 1, now)
        this.reviveEarly(sink, now)
        return result
      }
      case ContentType.alert:
        return this.handleSecureAlert(bytes, from, length)
      default:
        return Counter['unexpected-content-type']
    }
  }

  private explain(read: ReadEpoch, failure: number): number {
    if (failure === OpenFailure.replayed) return Counter.replayed
    if (failure === OpenFailure.badLength) return Counter['short-record']
    if (this.state === 'handshaking') this.handshake.noteForgery()
    if (read.forgeries >= MAX_FORGERIES) {
      const error = new DtlsError('ERR_DTLS_KEY_LIMIT', 'too many records did not authenticate')
      this.end({ type: 'closed', reason: 'key-limit', error })
    }
    return Counter['not-authenticated']
  }

  private handleSecureAlert(bytes: Uint8Array, at: number, length: number): number {
    if (length !== ALERT_BYTES) return Counter['unexpected-alert']
    const description = bytes[at + 1]!
    if (description === Alert.closeNotify) {
      if (this.state === 'established') this.sender.sendAlert(AlertLevel.warning, Alert.closeNotify)
      this.end({ type: 'closed', reason: 'peer' })
    } else if (bytes[at] === AlertLevel.fatal) {
      this.failByAlert(description)
    }
    return ACCEPTED
  }

  /** Takes what came before the keys for it, now that they are there. */
  private reviveEarly(sink: DataSink, now: Milliseconds): void {
    if (this.read === undefined) return
    for (const record of this.handshake.takeEarly()) {
      const result = this.handleRecord(record, 0, record.length, sink, now, false)
      if (result !== ACCEPTED) this.counters.add(result)
    }
  }
}
