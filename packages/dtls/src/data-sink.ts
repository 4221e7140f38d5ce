import { type RecordBatch, Verdict } from './batch.ts'
import { isDataRecord } from './record/record-header.ts'

/** Where the application data of a datagram goes. */
export interface DataSink {
  /** Takes `bytes[offset, offset + length)`, good only during the call. Returns false if there is no room. */
  deliver(bytes: Uint8Array, offset: number, length: number): boolean
}

/** Takes a datagram that no association of a server knows. Returns whether it did. */
type TakeUnknown = (batch: RecordBatch, slot: number) => boolean

/**
 * Gives application data back in the batch that its datagram came in: the first record of a datagram stays in its slot,
 * further ones (and those that were kept from earlier datagrams) get slots of their own at the end of the batch.
 */
export class BatchSink implements DataSink {
  private readonly takeUnknown: TakeUnknown | undefined
  private batch: RecordBatch | undefined
  private slot = -1
  private isUsed = false
  /** Whose the data is; set before it is delivered. */
  owner = -1

  constructor(takeUnknown: TakeUnknown | undefined) {
    this.takeUnknown = takeUnknown
  }

  /** Begins with the datagram of a slot. */
  aim(batch: RecordBatch, slot: number): void {
    this.batch = batch
    this.slot = slot
    this.isUsed = false
  }

  deliver(bytes: Uint8Array, offset: number, length: number): boolean {
    const batch = this.batch!
    if (this.isUsed || bytes !== batch.bytes) {
      return batch.push(bytes.subarray(offset, offset + length), this.owner) !== -1
    }
    this.isUsed = true
    batch.offsets[this.slot] = offset
    batch.lengths[this.slot] = length
    batch.owners[this.slot] = this.owner
    return true
  }

  /** Whether somebody else takes the record `[at, end)`, which is none of ours: whole datagrams with data only. */
  giveAway(bytes: Uint8Array, at: number, end: number): boolean {
    if (this.takeUnknown === undefined || !isDataRecord(bytes, at, end)) return false
    const { batch, slot } = this
    if (this.isUsed || batch!.offsets[slot] !== at || batch!.lengths[slot] !== end - at) return false
    return this.takeUnknown(batch!, slot)
  }

  /** Ends the datagram: a slot that got no data was consumed (`divert`) if anything in it was of use, else dropped. */
  finish(wasOfUse: boolean): void {
    if (!this.isUsed) this.batch!.verdicts[this.slot] = wasOfUse ? Verdict.divert : Verdict.drop
    this.batch = undefined
  }
}
