/** Everything that is counted, by name. Names before `records-opened` are reasons of drops. */
export const counterNames = [
  // Records and datagrams from the network.
  'malformed-record',
  'unsupported-version',
  'unknown-epoch',
  'short-record',
  'not-authenticated',
  'replayed',
  'empty-record',
  'oversized-record',
  'unexpected-content-type',
  'unexpected-alert',
  'unexpected-change-cipher-spec',
  'unexpected-message',
  'malformed-message',
  'early-record-limit',
  'reassembly-limit',
  'batch-full',
  // Hellos and demultiplexing in a server.
  'unknown-endpoint',
  'fragmented-hello',
  'zero-random',
  'unknown-session-id',
  'cookie-refused',
  'half-open-limit',
  'half-open-host-limit',
  'association-limit',
  'handshake-busy',
  'roaming-limit',
  // Sending.
  'not-established',
  'unknown-association',
  'plaintext-length',
  'key-limit',
  'amplification-limit',
  // Not drops.
  'records-opened',
  'records-sealed',
  'retransmissions',
  'cookies-sent',
  'handshakes-started',
  'handshakes-completed',
  'handshakes-failed',
  'renegotiations-refused',
  'endpoint-changes',
  'key-limit-warnings',
] as const

export type CounterName = (typeof counterNames)[number]

/** Counter numbers by name, for code that counts on the data path. */
export const Counter: Readonly<Record<CounterName, number>> = Object.fromEntries(
  counterNames.map((name, number) => [name, number]),
) as Record<CounterName, number>

/** A copy of the counters, by name. */
export type DtlsStats = Readonly<Record<CounterName, number>>

/** Counters over one `Float64Array`, indexed by `Counter`. */
export class Counters {
  readonly values: Float64Array = new Float64Array(counterNames.length)

  add(counter: number): void {
    this.values[counter] = this.values[counter]! + 1
  }

  snapshot(): DtlsStats {
    return Object.fromEntries(counterNames.map((name, number) => [name, this.values[number]!])) as DtlsStats
  }
}
