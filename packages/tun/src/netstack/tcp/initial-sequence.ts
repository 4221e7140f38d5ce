import type { InitialSequenceSource } from './tcp-config.ts'
import type { FlowEnd } from './tcp-events.ts'

/** A keyed hash: at least 8 bytes out of any bytes, unpredictable without its key (HMAC-SHA-256, SipHash). */
export type KeyedHash = (bytes: Uint8Array) => Uint8Array

/**
 * Initial sequence numbers per RFC 6528 §3: a clock of 4 µs plus a keyed hash of the two ends, so that nobody outside can
 * guess them, and each new connection of the same ends begins above the last.
 */
export class InitialSequences implements InitialSequenceSource {
  private readonly hash: KeyedHash

  constructor(hash: KeyedHash) {
    this.hash = hash
  }

  sequenceNumber(local: FlowEnd, remote: FlowEnd, now: number): number {
    return (this.word(local, remote, 0) + Math.floor(now * 250)) >>> 0
  }

  timestampOffset(local: FlowEnd, remote: FlowEnd): number {
    return this.word(local, remote, 4)
  }

  private word(local: FlowEnd, remote: FlowEnd, at: number): number {
    const size = local.address.length
    const input = new Uint8Array(2 * size + 4)
    input.set(local.address, 0)
    input.set(remote.address, size)
    const view = new DataView(input.buffer)
    view.setUint16(2 * size, local.port)
    view.setUint16(2 * size + 2, remote.port)
    const output = this.hash(input)
    return new DataView(output.buffer, output.byteOffset, output.byteLength).getUint32(at)
  }
}
