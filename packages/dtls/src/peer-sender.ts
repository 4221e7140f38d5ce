import { type RecordBatch, Verdict } from './batch.ts'
import { Counter, type Counters } from './counters.ts'
import type { AssociationOutput } from './events.ts'
import { assert, type OutputQueue } from './machine.ts'
import { ALERT_BYTES } from './record/alert.ts'
import { WriteEpoch } from './record/epoch-keys.ts'
import { ContentType, ProtocolVersion } from './record/record-header.ts'

/** Without a proven address, bytes sent are held to this multiple of bytes received. RFC 9147 §5.1 gives the factor. */
const AMPLIFICATION_FACTOR = 3

/** What one peer is sent: application data in records, alerts, and flights as far as its address is proven. */
export class PeerSender {
  /** The epoch of the handshake's plaintext. */
  readonly plain: WriteEpoch
  /** The epoch of the keys, once there are any. */
  write: WriteEpoch | undefined
  private readonly outputs: OutputQueue<AssociationOutput>
  private readonly counters: Counters
  private budget: number
  /** The longest plaintext that the peer takes; 0 while nothing is established. */
  private maxPlaintextBytes = 0
  private recordLimit = Number.POSITIVE_INFINITY
  private warnedOfLimit = false

  /** `firstSequence` is the number of the first plaintext record. */
  constructor(outputs: OutputQueue<AssociationOutput>, counters: Counters, firstSequence: number, isProven: boolean) {
    this.outputs = outputs
    this.counters = counters
    this.plain = new WriteEpoch(0, undefined, firstSequence)
    this.budget = isProven ? Number.POSITIVE_INFINITY : 0
  }

  /** So many bytes came from where the peer seems to be. */
  noteReceived(bytes: number): void {
    this.budget += AMPLIFICATION_FACTOR * bytes
  }

  /** Application data may go: up to so many bytes a record, with a warning after so many records. */
  establish(maxPlaintextBytes: number, recordLimit: number): void {
    this.maxPlaintextBytes = maxPlaintextBytes
    this.recordLimit = recordLimit
    this.budget = Number.POSITIVE_INFINITY
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

  sendAlert(level: number, description: number): void {
    const epoch = this.write ?? this.plain
    if (epoch.exhausted) return
    const record = new Uint8Array(epoch.overhead + ALERT_BYTES)
    record[epoch.headerBytes] = level
    record[epoch.headerBytes + 1] = description
    epoch.write(record, 0, ContentType.alert, ALERT_BYTES, ProtocolVersion.dtls12)
    this.transmit(record)
  }

  /** Sends a datagram, or counts that the peer has proven too little of its address for it. */
  transmit(datagram: Uint8Array): void {
    if (datagram.length > this.budget) {
      this.counters.add(Counter['amplification-limit'])
      return
    }
    this.budget -= datagram.length
    this.outputs.push({ type: 'transmit', bytes: datagram })
  }

  /** Gives the keys up. */
  end(): void {
    this.write?.end()
    this.write = undefined
    this.maxPlaintextBytes = 0
  }

  private seal(bytes: Uint8Array, at: number, length: number): boolean {
    const { write, maxPlaintextBytes } = this
    let obstacle: number
    if (maxPlaintextBytes === 0 || write === undefined) obstacle = Counter['not-established']
    else if (length === 0 || length > maxPlaintextBytes) obstacle = Counter['plaintext-length']
    else if (write.exhausted) obstacle = Counter['key-limit']
    else {
      assert(at >= write.headerBytes, 'no headroom before the plaintext')
      write.write(bytes, at - write.headerBytes, ContentType.applicationData, length, ProtocolVersion.dtls12)
      this.counters.add(Counter['records-sealed'])
      if (!this.warnedOfLimit && write.sequence >= this.recordLimit) this.warnOfLimit()
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
}
