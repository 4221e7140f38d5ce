import { MAX_FRAGMENT_BYTES, MAX_SEQUENCE, RECORD_HEADER_BYTES, writeRecordHeader } from './record-header.ts'
import type { RecordProtection } from './record-protection.ts'
import { ReplayWindow } from './replay-window.ts'

/** Failed openings after which a key is given up: 2^36, RFC 9147 §4.5.3. */
export const MAX_FORGERIES: number = 2 ** 36

/** How far ahead of the highest number seen a record is taken for granted to be the same peer's. */
const DOUBT_DISTANCE = 1024

/** Results of `ReadEpoch.open` that are not a length. */
export const OpenFailure = {
  notAuthenticated: -1,
  badLength: -2,
  replayed: -3,
} as const

/** Where sequence numbers are noted that nobody wants to see. */
const NOWHERE = new Float64Array(1)

/** What is needed to read the records of one epoch: keys, replay window, count of forgeries. */
export class ReadEpoch {
  readonly protection: RecordProtection
  readonly window: ReplayWindow = new ReplayWindow()
  /** Records that did not authenticate. */
  forgeries = 0
  private failedLast = false
  private noted: Float64Array = NOWHERE
  private notedAt = 0

  constructor(protection: RecordProtection) {
    this.protection = protection
  }

  /**
   * Opens the record in `[at, end)` in place. Returns the length of its plaintext, which begins at
   * `at + protection.headerBytes`, or an `OpenFailure`; a failure does not change the window. Nor does it change the bytes
   * where `keeps` is set, or `replayed` or `badLength` is the failure.
   */
  open(bytes: Uint8Array, at: number, end: number, sequence: number, keeps: boolean): number {
    if (end - at > RECORD_HEADER_BYTES + MAX_FRAGMENT_BYTES) return OpenFailure.badLength
    if (!this.window.accepts(sequence)) return OpenFailure.replayed
    const length = this.protection.open(bytes, at, end, keeps)
    if (length >= 0) {
      this.window.mark(sequence)
      this.noted[this.notedAt] = this.window.highest
      this.failedLast = false
    } else if (length === OpenFailure.notAuthenticated) {
      this.forgeries++
      this.failedLast = true
    }
    return length
  }

  /** Keeps `cells[at]` at the highest sequence number seen. */
  noteIn(cells: Float64Array, at: number): void {
    this.noted = cells
    this.notedAt = at
    cells[at] = this.window.highest
  }

  /** Gives back what the keys hold outside the heap. */
  end(): void {
    this.noted[this.notedAt] = -1
    this.protection.dispose()
  }

  /** Whether a record of this number may well be under other keys: it is far from the last ones, or the last one was. */
  doubts(sequence: number): boolean {
    return this.failedLast || sequence - this.window.highest > DOUBT_DISTANCE
  }
}

/** What is needed to write the records of one epoch. Epoch 0 has no protection. */
export class WriteEpoch {
  readonly epoch: number
  readonly protection: RecordProtection | undefined
  /** Bytes before the content, and bytes added in all. */
  readonly headerBytes: number
  readonly overhead: number
  /** The sequence number of the next record. */
  sequence: number
  private noted: Float64Array = NOWHERE
  private notedAt = 0

  constructor(epoch: number, protection: RecordProtection | undefined, sequence: number) {
    this.epoch = epoch
    this.protection = protection
    this.headerBytes = protection?.headerBytes ?? RECORD_HEADER_BYTES
    this.overhead = protection?.overhead ?? RECORD_HEADER_BYTES
    this.sequence = sequence
  }

  /** Whether the sequence numbers are used up. A number is never used twice: it is the nonce. */
  get exhausted(): boolean {
    return this.sequence >= MAX_SEQUENCE
  }

  /** Keeps `cells[at]` at the next sequence number. */
  noteIn(cells: Float64Array, at: number): void {
    this.noted = cells
    this.notedAt = at
    cells[at] = this.sequence
  }

  /** Gives back what the keys hold outside the heap. */
  end(): void {
    this.noted[this.notedAt] = 0
    this.protection?.dispose()
  }

  /** Makes a record of `length` bytes of content at `at + headerBytes`. Returns where it ends. Not when `exhausted`. */
  write(bytes: Uint8Array, at: number, type: number, length: number, plainVersion: number): number {
    const sequence = this.sequence
    this.sequence = sequence + 1
    // Before there is a record: a number that may have been used is never used again.
    this.noted[this.notedAt] = sequence + 1
    if (this.protection === undefined) writeRecordHeader(bytes, at, type, plainVersion, this.epoch, sequence, length)
    else this.protection.seal(bytes, at, type, this.epoch, sequence, length)
    return at + this.overhead + length
  }
}
