import { Counter, type Counters } from './counters.ts'
import { ClientHandshake } from './dtls12/client-handshake.ts'
import type { Secrets } from './dtls12/key-schedule.ts'
import { ServerHandshake } from './dtls12/server-handshake.ts'
import type { DtlsError } from './errors.ts'
import type { AssociationOutput, Negotiated } from './events.ts'
import { FlightSender } from './handshake/flight-sender.ts'
import type { FlightPlan, Handshake, HandshakeCarrier } from './handshake/handshake.ts'
import { HandshakeType, readFragmentHeader } from './handshake/message-header.ts'
import { MessageIntake } from './handshake/message-intake.ts'
import { timeoutError } from './handshake/timeout-error.ts'
import type { Milliseconds } from './machine.ts'
import type { ClientConfig, PeerServerConfig } from './options.ts'
import type { PeerSender } from './peer-sender.ts'
import { ALERT_BYTES, Alert, AlertLevel } from './record/alert.ts'
import { EarlyRecords } from './record/early-records.ts'
import { WriteEpoch } from './record/epoch-keys.ts'
import { ContentType, RECORD_HEADER_BYTES } from './record/record-header.ts'
import type { RecordProtection } from './record/record-protection.ts'

/** What came of a record that was of use; any other result is a counter to bump. */
export const ACCEPTED = -1

/** How long a peer must be silent after a plaintext fatal alert before it is believed. */
const SUSPICION_MS = 3000
/** How often the last flight is repeated, and how often renegotiation is refused, in all. */
const MAX_COURTESIES = 16

/** Whose handshake it is. */
export interface HandshakeOwner {
  /** There are keys to read the peer's records with. */
  installReadKeys(protection: RecordProtection): void
  /** Both sides are proven. */
  establish(negotiated: Negotiated, secrets: Secrets, readLimit: number): void
  /** The peer gave up, by this fatal alert. */
  failByAlert(alert: number): void
  end(output: AssociationOutput & { readonly type: 'closed' }): void
}

/**
 * The handshake with one peer: its messages, flights and time limits, what came before its keys, and afterwards the repeats of it
 * that still arrive.
 *
 * Nothing in plaintext can end it at once: a fatal alert counts only if the peer stays silent for `SUSPICION_MS` after it.
 */
export class PeerHandshake implements HandshakeCarrier {
  private readonly config: ClientConfig | PeerServerConfig
  private readonly counters: Counters
  private readonly sender: PeerSender
  private readonly owner: HandshakeOwner
  /** These four go when they are of no more use. */
  private handshake: Handshake | undefined
  private intake: MessageIntake | undefined
  private flights: FlightSender | undefined
  private early: EarlyRecords | undefined
  private isComplete = false
  /** Messages below this number were taken, once the handshake is complete. */
  private nextMessageSeq = 0
  private expiresAt: Milliseconds | undefined
  private suspicion: { readonly alert: number; readonly at: Milliseconds } | undefined
  private sawForgedFinished = false
  private courtesies = 0

  /** `messageSeq` is the number of the peer's first message. */
  constructor(
    config: ClientConfig | PeerServerConfig,
    counters: Counters,
    sender: PeerSender,
    owner: HandshakeOwner,
    messageSeq: number,
  ) {
    this.config = config
    this.counters = counters
    this.sender = sender
    this.owner = owner
    this.intake = new MessageIntake(messageSeq)
    this.flights = new FlightSender(config, counters, datagram => sender.transmit(datagram))
    this.early = new EarlyRecords()
  }

  start(now: Milliseconds): void {
    this.counters.add(Counter['handshakes-started'])
    this.expiresAt = now + this.config.handshakeTimeoutMs
    if (this.config.role === 'server') {
      this.handshake = new ServerHandshake(this.config, this)
    } else {
      const handshake = new ClientHandshake(this.config, this)
      this.handshake = handshake
      handshake.start(now)
    }
  }

  /** When it has something to do while it is under way. */
  get deadline(): Milliseconds {
    let deadline = this.expiresAt!
    const resendAt = this.flights?.deadline
    if (resendAt !== undefined) deadline = Math.min(deadline, resendAt)
    if (this.suspicion !== undefined) deadline = Math.min(deadline, this.suspicion.at)
    return deadline
  }

  handleDeadline(now: Milliseconds): void {
    if (this.suspicion !== undefined && now >= this.suspicion.at) this.owner.failByAlert(this.suspicion.alert)
    else if (now >= this.expiresAt!) {
      const error = timeoutError(this.handshake!, this.sawForgedFinished)
      this.owner.end({ type: 'closed', reason: 'handshake-failed', error })
    } else this.flights?.handleDeadline(now)
  }

  /** Takes a record of epoch 0 while it is under way. Returns `ACCEPTED` or the counter of a drop, as all these do. */
  handlePlainRecord(bytes: Uint8Array, at: number, end: number, now: Milliseconds): number {
    const from = at + RECORD_HEADER_BYTES
    switch (bytes[at]) {
      case ContentType.handshake:
        return this.handleFragments(bytes, from, end, 0, now)
      case ContentType.changeCipherSpec:
        if (end - from !== 1 || bytes[from] !== 1 || !this.handshake!.handleChangeCipherSpec()) {
          return Counter['unexpected-change-cipher-spec']
        }
        return ACCEPTED
      case ContentType.alert:
        if (end - from !== ALERT_BYTES || bytes[from] !== AlertLevel.fatal) return Counter['unexpected-alert']
        this.suspicion ??= { alert: bytes[from + 1]!, at: now + SUSPICION_MS }
        return ACCEPTED
      default:
        return Counter['unexpected-content-type']
    }
  }

  /** Takes the messages in `[from, end)`, which came in an epoch, while it is under way. */
  handleFragments(bytes: Uint8Array, from: number, end: number, epoch: number, now: Milliseconds): number {
    const intake = this.intake!
    const isOver = (): boolean => this.handshake === undefined
    const result = intake.handle(this.handshake!, bytes, from, end, epoch, now, isOver)
    if (result.isProgress) this.suspicion = undefined
    // Without a deadline the flight has arrived, and the peer waits for something else.
    if (result.isRepeat && !isOver() && this.flights?.deadline !== undefined) this.flights.answerRepeat(now)
    if (this.isComplete) {
      this.nextMessageSeq = intake.nextSeq
      this.intake = undefined
      // A server's last flight stays: it is asked for again if it was lost.
      if (this.config.role === 'client') this.flights = undefined
    }
    return result.drop
  }

  /** Takes messages after the handshake: the peer's last flight again (ours was lost), or a renegotiation, which is refused. */
  handleLateFragments(bytes: Uint8Array, from: number, end: number, now: Milliseconds): number {
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
      this.sender.sendAlert(AlertLevel.warning, Alert.noRenegotiation)
    }
    return ACCEPTED
  }

  /** Keeps a record whose keys are not there yet. Returns false if there is no room. */
  keepEarly(bytes: Uint8Array, at: number, end: number): boolean {
    return this.early?.keep(bytes, at, end) ?? false
  }

  /** The records that were kept; the last ones, if it is complete. */
  takeEarly(): readonly Uint8Array[] {
    const records = this.early?.take() ?? []
    if (this.isComplete) this.early = undefined
    return records
  }

  /** A record did not authenticate while it was under way. */
  noteForgery(): void {
    this.sawForgedFinished = true
  }

  /** The peer has shown that it has the last flight. */
  forgetFlight(): void {
    this.flights = undefined
  }

  /** Forgets everything: it failed, or isn't needed. */
  end(): void {
    this.handshake = undefined
    this.intake = undefined
    this.flights = undefined
    this.early = undefined
  }

  // What the handshake in its role asks for.

  sendFlight(plan: FlightPlan, now: Milliseconds): void {
    this.flights!.send(plan, this.sender.plain, this.sender.write, now)
  }

  installReadKeys(protection: RecordProtection): void {
    this.intake!.clear()
    this.owner.installReadKeys(protection)
  }

  installWriteKeys(protection: RecordProtection): void {
    this.sender.write = new WriteEpoch(1, protection, 0)
  }

  stopRetransmission(): void {
    this.flights?.stop()
  }

  restartMessages(nextSeq: number): void {
    this.intake!.restart(nextSeq)
  }

  complete(negotiated: Negotiated, secrets: Secrets, readLimit: number): void {
    this.isComplete = true
    this.handshake = undefined
    this.suspicion = undefined
    this.owner.establish(negotiated, secrets, readLimit)
  }

  fail(error: DtlsError, alert: number): void {
    this.sender.sendAlert(AlertLevel.fatal, alert)
    this.owner.end({ type: 'closed', reason: 'handshake-failed', error })
  }
}
