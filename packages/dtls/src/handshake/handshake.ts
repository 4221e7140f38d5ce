import type { Secrets } from '../dtls12/key-schedule.ts'
import type { DtlsError } from '../errors.ts'
import type { Negotiated } from '../events.ts'
import type { Milliseconds } from '../machine.ts'
import type { RecordProtection } from '../record/record-protection.ts'
import type { HandshakeMessage } from './message-header.ts'

/** What a handshake decides and what it learns; whoever carries its messages does the rest. */
export interface HandshakeCarrier {
  /** Sends messages (and ChangeCipherSpec, as `undefined`) as one flight, and keeps it for retransmission. */
  sendFlight(flight: FlightPlan, now: Milliseconds): void
  /** Installs the keys that the peer's next epoch is read with. */
  installReadKeys(protection: RecordProtection): void
  /** Installs the keys for the protected part of this side's flights, and for application data. */
  installWriteKeys(protection: RecordProtection): void
  /** What was sent last has arrived; the peer's timer drives from here on. */
  stopRetransmission(): void
  /** The next number that the peer's messages begin with. */
  restartMessages(nextSeq: number): void
  /** Both sides are proven. `readLimit` is the longest plaintext that the peer was told it may send. */
  complete(negotiated: Negotiated, secrets: Secrets, readLimit: number): void
  /** The end. `alert` tells the peer, once. */
  fail(error: DtlsError, alert: number): void
}

export interface FlightPlan {
  /** Messages with headers, before ChangeCipherSpec. */
  readonly plain: readonly Uint8Array[]
  /** Messages after ChangeCipherSpec, under the new keys; none leaves ChangeCipherSpec out. */
  readonly secured: readonly Uint8Array[]
  /** Whether the flight ends the handshake, so that no answer is waited for. */
  readonly final: boolean
}

/** A handshake in one role. It never throws for what the peer sends. */
export interface Handshake {
  /** Takes the next message in order. Returns whether it was acceptable; if not, it is as if it had never come. */
  handleMessage(message: HandshakeMessage, now: Milliseconds): boolean
  /** Takes a HelloVerifyRequest, whose number does not have to be the next. */
  handleHelloVerifyRequest(message: HandshakeMessage, now: Milliseconds): boolean
  /** Takes a ChangeCipherSpec, which has no number and may come too early or too often. */
  handleChangeCipherSpec(): boolean
  /**
   * The type of the message that settles how the peer counts, while that is open: a server's ServerHello goes on from the
   * hello it answers or from its own first message, depending on what it remembers.
   */
  readonly anchor: number | undefined
  /** Whether the peer's keys were put to use but its Finished has not come. */
  readonly awaitsFinished: boolean
  /** Whether keys were made. */
  readonly hasKeys: boolean
}
