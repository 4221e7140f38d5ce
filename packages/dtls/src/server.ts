import type { RecordBatch } from './batch.ts'
import type { DtlsStats } from './counters.ts'
import type { ServerOutput } from './events.ts'
import type { Machine, Milliseconds } from './machine.ts'
import type { DtlsServerOptions } from './options.ts'

/** DTLS with many peers behind one socket. */
export declare class DtlsServer implements Machine<ServerOutput> {
  constructor(options: DtlsServerOptions)
  /** Established associations, and handshakes under way. */
  readonly associationCount: number
  readonly halfOpenCount: number
  /**
   * Opens every `forward` slot in place. Owners are endpoint indices before; after it, slots that are still `forward` hold
   * application data and their owners are association indices. Handshake datagrams become `divert`, the rest `drop`.
   */
  openDatagrams(batch: RecordBatch, now: Milliseconds): void
  /** Seals every `forward` slot in place. Owners are association indices before and endpoint indices after. */
  sealDatagrams(batch: RecordBatch, now: Milliseconds): void
  /** Takes one datagram; its application data comes as `received`. */
  handleDatagram(endpoint: number, bytes: Uint8Array, now: Milliseconds): void
  /** Protects one plaintext and queues it as `transmit`. Returns false when the association is gone. */
  send(association: number, plaintext: Uint8Array, now: Milliseconds): boolean
  /** Says close_notify and forgets the association. Unknown ones are ignored. */
  close(association: number, now: Milliseconds): void
  /** Where an association's peer is, or -1. */
  endpointOf(association: number): number
  exportKeyingMaterial(association: number, length: number, label: string, context?: Uint8Array): Uint8Array
  readonly deadline: Milliseconds | undefined
  handleDeadline(now: Milliseconds): void
  poll(): ServerOutput | undefined
  stats(): DtlsStats
}
