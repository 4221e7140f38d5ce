import { copyBytes } from './copy-bytes.ts'
import { ContentType, fragmentBytesAt, MAX_RECORD_FRAGMENT_BYTES, RECORD_HEADER_BYTES } from './record-format.ts'

/**
 * Follows the TLS records of one direction from the first byte on: counts them, keeps a copy of the last one that was protected,
 * and notes the random of the hello. Holds at most one record that is not complete.
 */
export class RecordCutter {
  /** Records of type application data: in TLS 1.3 all protected ones. */
  applicationRecords = 0
  /** Records after ChangeCipherSpec: in TLS 1.2 all protected ones. */
  recordsAfterChange = -1
  /** The last record with application data. */
  lastRecord: Uint8Array | undefined = undefined
  /** ClientHello.random or ServerHello.random of the last hello, 32 bytes. */
  helloRandom: Uint8Array | undefined = undefined
  /** These are no TLS records: nothing is known of what passes. */
  foreign = false
  private partial: Uint8Array = nothing

  /** The bytes of the record that is not complete. */
  get incomplete(): Uint8Array {
    return this.partial
  }

  /** Takes the next bytes. Returns as many of all bytes so far as make whole records; when foreign, all of them. */
  push(chunk: Uint8Array): Uint8Array {
    if (this.foreign) return chunk
    const bytes = this.partial.length === 0 ? chunk : joined(this.partial, chunk)
    let at = 0
    let last = -1
    while (bytes.length - at >= RECORD_HEADER_BYTES) {
      const fragmentBytes = fragmentBytesAt(bytes, at)
      if (!isRecordHeader(bytes, at) || fragmentBytes > MAX_RECORD_FRAGMENT_BYTES) return this.giveUp(bytes)
      const end = at + RECORD_HEADER_BYTES + fragmentBytes
      if (end > bytes.length) break
      if (bytes[at] === ContentType.applicationData) last = at
      this.count(bytes, at, end)
      at = end
    }
    if (last !== -1) this.lastRecord = copyBytes(bytes, last, last + RECORD_HEADER_BYTES + fragmentBytesAt(bytes, last))
    // What does not look like a record can't wait for the rest of its header.
    if (at < bytes.length && !isRecordHeader(bytes, at)) return this.giveUp(bytes)
    this.partial = at === bytes.length ? nothing : copyBytes(bytes, at)
    return bytes.subarray(0, at)
  }

  private count(bytes: Uint8Array, at: number, end: number): void {
    const type = bytes[at]!
    if (this.recordsAfterChange >= 0) this.recordsAfterChange++
    if (type === ContentType.applicationData) this.applicationRecords++
    else if (type === ContentType.changeCipherSpec) this.recordsAfterChange = 0
    else if (type === ContentType.handshake && this.recordsAfterChange < 0 && end - at >= HELLO_BYTES) {
      // Handshake header of 4 bytes, version of 2, random.
      const message = bytes[at + RECORD_HEADER_BYTES]!
      const from = at + RECORD_HEADER_BYTES + 6
      if (message === 1 || message === 2) this.helloRandom = copyBytes(bytes, from, from + 32)
    }
  }

  private giveUp(bytes: Uint8Array): Uint8Array {
    this.foreign = true
    this.partial = nothing
    return bytes
  }
}

const nothing = new Uint8Array(0)
const HELLO_BYTES = RECORD_HEADER_BYTES + 6 + 32

/** Whether what is known of a header at `at` can be one. */
function isRecordHeader(bytes: Uint8Array, at: number): boolean {
  const type = bytes[at]!
  return type >= 20 && type <= 23 && (bytes.length - at < 2 || bytes[at + 1] === 3)
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length)
  both.set(a)
  both.set(b, a.length)
  return both
}
