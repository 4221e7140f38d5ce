import type { RecordBatch } from './batch.ts'
import type { DtlsStats } from './counters.ts'
import type { AssociationOutput, Negotiated } from './events.ts'
import type { Machine, Milliseconds } from './machine.ts'
import type { DtlsClientOptions, DtlsPeerServerOptions } from './options.ts'

/** DTLS with one peer, as client or as server. */
export declare class DtlsAssociation implements Machine<AssociationOutput> {
  constructor(options: DtlsClientOptions | DtlsPeerServerOptions)
  /** What was agreed on, once established. */
  readonly negotiated: Negotiated | undefined
  readonly state: 'idle' | 'handshaking' | 'established' | 'closed'
  /** Starts the handshake of a client; of a server, the wait for the client's hello. */
  start(now: Milliseconds): void
  /** Takes a datagram from the peer; its application data comes as `received`. */
  handleDatagram(bytes: Uint8Array, now: Milliseconds): void
  /** Protects one plaintext and queues it as `transmit`. @throws DtlsError... */
  send(plaintext: Uint8Array, now: Milliseconds): void
  /** Opens every `forward` slot in place; owners stay. */
  openDatagrams(batch: RecordBatch, now: Milliseconds): void
  /** Seals every `forward` slot in place, using 21 bytes before and 16 behind the plaintext; owners stay. */
  sealDatagrams(batch: RecordBatch, now: Milliseconds): void
  /** Keying material for other uses. RFC 5705. */
  exportKeyingMaterial(length: number, label: string, context?: Uint8Array): Uint8Array
  close(now: Milliseconds): void
  readonly deadline: Milliseconds | undefined
  handleDeadline(now: Milliseconds): void
  poll(): AssociationOutput | undefined
  stats(): DtlsStats
}
