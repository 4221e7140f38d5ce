// The DTLS state that is shared with one peer, one record at a time. `DtlsAssociation` drives one of these, `DtlsServer` many.
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
import { type RecordBatch, Verdict } from './batch.ts'
import { Counter, type Counters } from './counters.ts'
import type { DataSink } from './data-sink.ts'
import { ClientHandshake } from './dtls12/client-handshake.ts'
import { exportKeyingMaterial, type Secrets } from './dtls12/key-schedule.ts'
import { ServerHandshake } from './dtls12/server-handshake.ts'
import { DtlsError } from './errors.ts'
import type { AssociationOutput, CloseReason, Negotiated } from './events.ts'
import { FlightSender } from './handshake/flight-sender.ts'
import type { FlightPlan, Handshake, HandshakeCarrier } from './handshake/handshake.ts'
import { HandshakeType, readFragmentHeader } from './handshake/message-header.ts'
import { MessageIntake } from './handshake/message-intake.ts'
import { timeoutError } from './handshake/timeout-error.ts'
import { assert, type Milliseconds, OutputQueue } from './machine.ts'
import type { ClientConfig, PeerServerConfig } from './options.ts'
import { ALERT_BYTES, Alert, AlertLevel, alertName } from './record/alert.ts'
import { EarlyRecords } from './record/early-records.ts'
import { MAX_FORGERIES, OpenFailure, ReadEpoch, WriteEpoch } from './record/epoch-keys.ts'
import {
  ContentType,
  isDataRecord,
  MAX_PLAINTEXT_BYTES,
  ProtocolVersion,
  RECORD_HEADER_BYTES,
  recordEpoch,
  recordSequence,
  recordVersion,
} from './record/record-header.ts'
import type { RecordProtection } from './record/record-protection.ts'

/** How long a peer must be silent after a plaintext fatal alert before it is believed. */
const SUSPICION_MS = 3000
/** Without a proven address, bytes sent are held to this multiple of bytes received. RFC 9147 §5.1 gives the factor. */
const AMPLIFICATION_FACTOR = 3
/** How often the last flight is repeated, and how often renegotiation is refused, in all. */
const MAX_COURTESIES = 16

/** What `handleRecord` gives for a record that was of use; any other result is a counter to bump. */
export const ACCEPTED = -1

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

export class PeerState implements HandshakeCarrier {
  readonly outputs: OutputQueue<AssociationOutput> = new OutputQueue()
  state: 'idle' | 'handshaking' | 'established' | 'closed' = 'idle'
  negotiated: Negotiated | undefined
  read: ReadEpoch | undefined
  write: WriteEpoch | undefined
  private readonly config: ClientConfig | PeerServerConfig
  private readonly counters: Counters
  private readonly plain: WriteEpoch
  /** These three go when they are of no more use. */
  private intake: MessageIntake | undefined
  private flights: FlightSender | undefined
  private early: EarlyRecords | undefined
  /** Messages below this number were taken, once the handshake is over. */
  private nextMessageSeq = 0
  private handshake: Handshake | undefined
  private secrets: Secrets | undefined
  private budget: number
  private expiresAt: Milliseconds | undefined
  private suspicion: { readonly alert: number; readonly at: Milliseconds } | undefined
  private sawForgedFinished = false
  private courtesies = 0
  private warnedOfLimit = false
  private readLimit = MAX_PLAINTEXT_BYTES

  constructor(config: ClientConfig | PeerServerConfig, counters: Counters, origin?: Origin) {
    this.config = config
    this.counters = counters
    this.plain = new WriteEpoch(0, undefined, origin?.recordSequence ?? 0)
    this.intake = new MessageIntake(origin?.messageSeq ?? 0)
    this.flights = new FlightSender(config, counters, datagram => this.transmit(datagram))
    this.early = new EarlyRecords()
    this.budget = config.role === 'client' || origin?.isProven ? Number.POSITIVE_INFINITY : 0
  }

  start(now: Milliseconds): void {
    this.state = 'handshaking'
    this.counters.add(Counter['handshakes-started'])
    if (this.config.role === 'server') {
      this.handshake = new ServerHandshake(this.config, this)
      this.expiresAt = now + this.config.handshakeTimeoutMs
    } else {
      const handshake = new ClientHandshake(this.config, this)
      this.handshake = handshake
      this.expiresAt = now + this.config.handshakeTimeoutMs
      handshake.start(now)
    }
  }

  get deadline(): Milliseconds | undefined {
    if (this.state !== 'handshaking') return undefined
    let deadline = this.expiresAt!
    const resendAt = this.flights?.deadline
    if (resendAt !== undefined) deadline = Math.min(deadline, resendAt)
    if (this.suspicion !== undefined) deadline = Math.min(deadline, this.suspicion.at)
    return deadline
  }

  handleDeadline(now: Milliseconds): void {
    if (this.state !== 'handshaking') return
    if (this.suspicion !== undefined && now >= this.suspicion.at) this.failByAlert(this.suspicion.alert)
    else if (now >= this.expiresAt!) {
      const error = timeoutError(this.handshake!, this.sawForgedFinished)
      this.end({ type: 'closed', reason: 'handshake-failed', error })
    } else this.flights?.handleDeadline(now)
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
    this.budget += AMPLIFICATION_FACTOR * (end - at)
    if (epoch === 0) {
      if (version !== ProtocolVersion.dtls12 && version !== ProtocolVersion.dtls10)
        return Counter['unsupported-version']
      return this.state === 'established' ? Counter['unknown-epoch'] : this.handlePlainRecord(bytes, at, end, sink, now)
    }
    if (epoch !== 1) return Counter['unknown-epoch']
    if (version !== ProtocolVersion.dtls12) return Counter['unsupported-version']
    const { read } = this
    const isEarlyData = this.state !== 'established' && bytes[at] === ContentType.applicationData
    // A client has its answer before it sends data, so data that a server gets early is not worth keeping.
    if (isEarlyData && this.config.role === 'server') return Counter['unexpected-content-type']
    if (read === undefined || isEarlyData) {
      return this.early?.keep(bytes, at, end) ? ACCEPTED : Counter['early-record-limit']
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
      this.flights = undefined
      return length
    }
    if (length < 0) return FAILED - this.explain(read, length)
    this.counters.add(Counter['records-opened'])
    return FAILED - (length === 0 ? Counter['empty-record'] : Counter['oversized-record'])
  }

  /** Seals the plaintext of a slot in place, or drops and counts it. Returns whether it was sealed. */
  sealSlot(batch: RecordBatch, slot: number): boolean {
    const at = batch.offsets[slot]!
    const length = batch.lengths[slot]!
    if (!this.seal(batch.bytes, at, length)) {
      batch.verdicts[slot] = Verdict.drop
      return false
    }
    const { headerBytes, overhead } = this.write!
    batch.offsets[slot] = at - headerBytes
    batch.lengths[slot] = length + overhead
    return true
  }

  /** Seals a copy of a plaintext into a record, or counts why not. */
  sealCopy(plaintext: Uint8Array): Uint8Array | undefined {
    const { headerBytes, overhead } = this.write ?? this.plain
    const record = new Uint8Array(overhead + plaintext.length)
    record.set(plaintext, headerBytes)
    return this.seal(record, headerBytes, plaintext.length) ? record : undefined
  }

  /** Ends everything, telling the peer if it is established. */
  close(reason: CloseReason): void {
    if (this.state === 'closed') return
    if (this.state === 'established' && reason === 'local') this.sendAlert(AlertLevel.warning, Alert.closeNotify)
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
    this.write = live.write
    this.readLimit = live.readLimit
    this.state = 'established'
    this.budget = Number.POSITIVE_INFINITY
    this.intake = undefined
    this.flights = undefined
    this.early = undefined
  }

  exportKeyingMaterial(length: number, label: string, context: Uint8Array | undefined): Uint8Array | undefined {
    return this.secrets === undefined ? undefined : exportKeyingMaterial(this.secrets, length, label, context)
  }

  // What the handshake asks for.

  sendFlight(plan: FlightPlan, now: Milliseconds): void {
    this.flights!.send(plan, this.plain, this.write, now)
  }

  installReadKeys(protection: RecordProtection): void {
    this.intake!.clear()
    this.read = new ReadEpoch(protection)
  }

  installWriteKeys(protection: RecordProtection): void {
    this.write = new WriteEpoch(1, protection, 0)
  }

  stopRetransmission(): void {
    this.flights?.stop()
  }

  restartMessages(nextSeq: number): void {
    this.intake!.restart(nextSeq)
  }

  complete(negotiated: Negotiated, secrets: Secrets, readLimit: number): void {
    this.readLimit = readLimit
    this.state = 'established'
    this.handshake = undefined
    this.negotiated = negotiated
    this.secrets = secrets
    this.suspicion = undefined
    this.budget = Number.POSITIVE_INFINITY
    this.counters.add(Counter['handshakes-completed'])
    this.outputs.push({ type: 'established', ...negotiated })
  }

  fail(error: DtlsError, alert: number): void {
    this.sendAlert(AlertLevel.fatal, alert)
    this.end({ type: 'closed', reason: 'handshake-failed', error })
  }

  // Records of epoch 0.

  private handlePlainRecord(bytes: Uint8Array, at: number, end: number, sink: DataSink, now: Milliseconds): number {
    const from = at + RECORD_HEADER_BYTES
    switch (bytes[at]) {
      case ContentType.handshake: {
        const result = this.handleFragments(bytes, from, end, 0, now)
        this.reviveEarly(sink, now)
        return result
      }
      case ContentType.changeCipherSpec:
        if (end - from !== 1 || bytes[from] !== 1 || !this.handshake!.handleChangeCipherSpec()) {
          return Counter['unexpected-change-cipher-spec']
        }
        this.reviveEarly(sink, now)
        return ACCEPTED
      case ContentType.alert:
        if (end - from !== ALERT_BYTES || bytes[from] !== AlertLevel.fatal) return Counter['unexpected-alert']
        this.suspicion ??= { alert: bytes[from + 1]!, at: now + SUSPICION_MS }
        return ACCEPTED
      default:
        return Counter['unexpected-content-type']
    }
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
        if (this.state === 'established') this.flights = undefined
        return sink.deliver(bytes, from, length) ? ACCEPTED : Counter['batch-full']
      case ContentType.handshake: {
        if (this.state === 'established') return this.handleLateHandshake(bytes, from, from + length, now)
        const result = this.handleFragments(bytes, from, from + length, 1, now)
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
    if (this.state === 'handshaking') this.sawForgedFinished = true
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
      if (this.state === 'established') this.sendAlert(AlertLevel.warning, Alert.closeNotify)
      this.end({ type: 'closed', reason: 'peer' })
    } else if (bytes[at] === AlertLevel.fatal) {
      this.failByAlert(description)
    }
    return ACCEPTED
  }

  /** Handshake messages after the handshake: the peer's last flight again (ours was lost), or a renegotiation, which is refused. */
  private handleLateHandshake(bytes: Uint8Array, from: number, end: number, now: Milliseconds): number {
    const header = readFragmentHeader(bytes, from, end)
    if (header === undefined) return Counter['malformed-message']
    if (header.type === HandshakeType.finished && header.messageSeq < this.nextMessageSeq) {
      const isServer = this.config.role === 'server'
      if (isServer && this.courtesies < MAX_COURTESIES && this.flights?.answerRepeat(now)) this.courtesies++
      return ACCEPTED
    }
    const opening = this.config.role === 'server' ? HandshakeType.clientHello : HandshakeType.helloRequest
    if (header.type !== opening) return Counter['unexpected-message']
    this.counters.add(Counter['renegotiations-refused'])
    if (this.courtesies < MAX_COURTESIES) {
      this.courtesies++
      this.sendAlert(AlertLevel.warning, Alert.noRenegotiation)
    }
    return ACCEPTED
  }

  // Handshake messages.

  private handleFragments(bytes: Uint8Array, from: number, end: number, epoch: number, now: Milliseconds): number {
    const isOver = (): boolean => this.state !== 'handshaking'
    const result = this.intake!.handle(this.handshake!, bytes, from, end, epoch, now, isOver)
    if (result.isProgress) this.suspicion = undefined
    // Without a deadline the flight has arrived, and the peer waits for something else.
    if (result.isRepeat && !isOver() && this.flights?.deadline !== undefined) this.flights.answerRepeat(now)
    if (this.state === 'established') this.forgetHandshake()
    return result.drop
  }

  /** A server's last flight stays: it is asked for again if it was lost. */
  private forgetHandshake(): void {
    this.nextMessageSeq = this.intake!.nextSeq
    this.intake = undefined
    if (this.config.role === 'client') this.flights = undefined
  }

  private reviveEarly(sink: DataSink, now: Milliseconds): void {
    if (this.read === undefined || this.early === undefined) return
    const records = this.early.take()
    if (this.state === 'established') this.early = undefined
    for (const record of records) {
      const result = this.handleRecord(record, 0, record.length, sink, now, false)
      if (result !== ACCEPTED) this.counters.add(result)
    }
  }

  // Sending.

  private seal(bytes: Uint8Array, at: number, length: number): boolean {
    const { write, state } = this
    let obstacle: number
    if (state !== 'established' || write === undefined) obstacle = Counter['not-established']
    else if (length === 0 || length > this.negotiated!.maxPlaintextBytes) obstacle = Counter['plaintext-length']
    else if (write.exhausted) obstacle = Counter['key-limit']
    else {
      assert(at >= write.headerBytes, 'no headroom before the plaintext')
      write.write(bytes, at - write.headerBytes, ContentType.applicationData, length, ProtocolVersion.dtls12)
      this.counters.add(Counter['records-sealed'])
      if (!this.warnedOfLimit && write.sequence >= this.secrets!.suite.recordLimit) this.warnOfLimit()
      return true
    }
    this.counters.add(obstacle)
    return false
  }

  private warnOfLimit(): void {
    this.warnedOfLimit = true
    this.counters.add(Counter['key-limit-warnings'])
    this.outputs.push({ type: 'key-limit-near' })
  }

  private sendAlert(level: number, description: number): void {
    const epoch = this.write ?? this.plain
    if (epoch.exhausted) return
    const record = new Uint8Array(epoch.overhead + ALERT_BYTES)
    record[epoch.headerBytes] = level
    record[epoch.headerBytes + 1] = description
    epoch.write(record, 0, ContentType.alert, ALERT_BYTES, ProtocolVersion.dtls12)
    this.transmit(record)
  }

  private transmit(datagram: Uint8Array): void {
    if (datagram.length > this.budget) {
      this.counters.add(Counter['amplification-limit'])
      return
    }
    this.budget -= datagram.length
    this.outputs.push({ type: 'transmit', bytes: datagram })
  }

  // The end.

  private failByAlert(alert: number): void {
    const name = alertName(alert)
    const error = new DtlsError('ERR_DTLS_PEER_ALERT', `the peer sent the fatal alert ${name}`, { alert: name })
    const reason = this.state === 'established' ? 'peer-alert' : 'handshake-failed'
    this.end({ type: 'closed', reason, error })
  }

  private end(output: AssociationOutput & { readonly type: 'closed' }): void {
    if (this.state === 'closed') return
    if (this.state === 'handshaking') this.counters.add(Counter['handshakes-failed'])
    this.state = 'closed'
    this.outputs.push(output)
    this.read?.end()
    this.write?.end()
    this.read = undefined
    this.write = undefined
    this.handshake = undefined
    this.secrets = undefined
    this.flights = undefined
    this.early = undefined
  }
}
