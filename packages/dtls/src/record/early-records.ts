import { copyBytes } from '../copy-bytes.ts'

const MAX_RECORDS = 8
const MAX_BYTES = 8192

/**
 * Records of the next epoch that came before its keys, or application data that came before the Finished that it depends
 * on: datagrams overtake each other. Bounded, because nothing in here is authenticated; what doesn't fit is lost, as any
 * datagram may be.
 */
export class EarlyRecords {
  private records: Uint8Array[] = []
  private bytes = 0

  /** Keeps a copy of the record in `[at, end)`. Returns false when there is no room. */
  keep(bytes: Uint8Array, at: number, end: number): boolean {
    if (this.records.length === MAX_RECORDS || this.bytes + end - at > MAX_BYTES) return false
    this.records.push(copyBytes(bytes, at, end))
    this.bytes += end - at
    return true
  }

  /** Takes everything out, oldest first. */
  take(): readonly Uint8Array[] {
    const records = this.records
    this.records = []
    this.bytes = 0
    return records
  }
}
