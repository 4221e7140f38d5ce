import { copyBytes } from './copy-bytes.ts'
import {
  AlertDescription,
  ContentType,
  fragmentBytesAt,
  RECORD_HEADER_BYTES,
  writeRecordHeader,
} from './record-format.ts'
import { NONCE_BYTES, TAG_BYTES, type TlsAead } from './tls-crypto.ts'

/** Why a record could not be opened, as the alert that answers it. */
export type OpenFailure = typeof AlertDescription.badRecordMac | typeof AlertDescription.unexpectedMessage

/**
 * One direction of a connection: its key, its nonce and its sequence number, for whole records. Which of the two a
 * protection is used for, sealing or opening, is fixed by its key.
 */
export interface RecordProtection {
  /** Bytes of a record before its plaintext. */
  readonly headerBytes: number
  /** Bytes of a record behind its plaintext, without padding. */
  readonly trailerBytes: number
  /** The number of the next record. */
  sequence: number
  /** What the record that was opened last carries. */
  contentType: number
  /** Why the last `open` gave -1. */
  failure: OpenFailure
  /**
   * Makes a record around `length` bytes of plaintext that begin `headerBytes` after `at`, and counts it. Returns the length
   * of the record, `headerBytes + length + trailerBytes`.
   */
  seal(bytes: Uint8Array, at: number, length: number, contentType: ContentType): number
  /**
   * Opens the record at `at`, which is whole, to `output` at `outputAt`. Returns the length of the plaintext and counts the
   * record, or -1. At most the fragment's length is written.
   */
  open(input: Uint8Array, at: number, output: Uint8Array, outputAt: number): number
  dispose(): void
}

/** RFC 8446 §5.2 and §5.3: the type travels inside, the nonce is the IV XOR the sequence number. */
export class Tls13Protection implements RecordProtection {
  readonly headerBytes: number = RECORD_HEADER_BYTES
  readonly trailerBytes: number = 1 + TAG_BYTES
  sequence: number
  contentType = 0
  failure: OpenFailure = AlertDescription.badRecordMac
  private readonly aead: TlsAead
  private readonly iv: Uint8Array
  private readonly nonce: Uint8Array

  constructor(aead: TlsAead, iv: Uint8Array, sequence: number) {
    this.aead = aead
    this.iv = copyBytes(iv)
    this.nonce = copyBytes(iv)
    this.sequence = sequence
  }

  seal(bytes: Uint8Array, at: number, length: number, contentType: ContentType): number {
    const content = at + RECORD_HEADER_BYTES
    bytes[content + length] = contentType
    writeRecordHeader(bytes, at, ContentType.applicationData, length + 1 + TAG_BYTES)
    xorSequence(this.nonce, this.iv, this.sequence)
    this.aead.seal(bytes, content, length + 1, this.nonce, bytes, at, RECORD_HEADER_BYTES)
    this.sequence++
    return RECORD_HEADER_BYTES + length + 1 + TAG_BYTES
  }

  open(input: Uint8Array, at: number, output: Uint8Array, outputAt: number): number {
    let length = fragmentBytesAt(input, at) - TAG_BYTES
    if (input[at] !== ContentType.applicationData) return this.fail(AlertDescription.unexpectedMessage)
    if (length < 1) return this.fail(AlertDescription.badRecordMac)
    xorSequence(this.nonce, this.iv, this.sequence)
    const content = at + RECORD_HEADER_BYTES
    if (!this.aead.open(input, content, length, output, outputAt, this.nonce, input, at, RECORD_HEADER_BYTES)) {
      return this.fail(AlertDescription.badRecordMac)
    }
    this.sequence++
    // Zeros behind the type are padding.
    while (length > 0 && output[outputAt + length - 1] === 0) length--
    if (length === 0) return this.fail(AlertDescription.unexpectedMessage)
    this.contentType = output[outputAt + length - 1]!
    return length - 1
  }

  dispose(): void {
    this.aead.dispose()
    this.iv.fill(0)
    this.nonce.fill(0)
  }

  private fail(failure: OpenFailure): -1 {
    this.failure = failure
    return -1
  }
}

const TLS12_AAD_BYTES = 13
const EXPLICIT_NONCE_BYTES = 8

/**
 * RFC 5246 §6.2.3.3: the sequence number is part of the additional data. GCM (RFC 5288 §3): 4 bytes of the nonce come from
 * the key block, 8 travel in the record; when sealing they are the sequence number. ChaCha20-Poly1305 (RFC 7905 §2): as in TLS 1.3.
 */
export class Tls12Protection implements RecordProtection {
  readonly headerBytes: number
  readonly trailerBytes: number = TAG_BYTES
  sequence: number
  contentType = 0
  failure: OpenFailure = AlertDescription.badRecordMac
  private readonly aead: TlsAead
  private readonly iv: Uint8Array
  private readonly nonce: Uint8Array
  private readonly aad = new Uint8Array(TLS12_AAD_BYTES)
  private readonly explicitBytes: number

  /** `iv`: 4 bytes for GCM, 12 for ChaCha20-Poly1305. */
  constructor(aead: TlsAead, iv: Uint8Array, sequence: number) {
    this.aead = aead
    this.iv = copyBytes(iv)
    this.nonce = new Uint8Array(NONCE_BYTES)
    this.nonce.set(iv)
    this.explicitBytes = NONCE_BYTES - iv.length
    this.headerBytes = RECORD_HEADER_BYTES + this.explicitBytes
    this.sequence = sequence
  }

  seal(bytes: Uint8Array, at: number, length: number, contentType: ContentType): number {
    const { nonce, aad, explicitBytes } = this
    writeRecordHeader(bytes, at, contentType, explicitBytes + length + TAG_BYTES)
    this.prepare(bytes, at, length)
    if (explicitBytes > 0) {
      for (let i = 0; i < EXPLICIT_NONCE_BYTES; i++) {
        nonce[4 + i] = aad[i]!
        bytes[at + RECORD_HEADER_BYTES + i] = aad[i]!
      }
    }
    this.aead.seal(bytes, at + this.headerBytes, length, nonce, aad, 0, TLS12_AAD_BYTES)
    this.sequence++
    return this.headerBytes + length + TAG_BYTES
  }

  open(input: Uint8Array, at: number, output: Uint8Array, outputAt: number): number {
    const { nonce, aad, explicitBytes } = this
    const length = fragmentBytesAt(input, at) - explicitBytes - TAG_BYTES
    if (length < 0) return this.fail(AlertDescription.badRecordMac)
    this.prepare(input, at, length)
    for (let i = 0; i < explicitBytes; i++) nonce[4 + i] = input[at + RECORD_HEADER_BYTES + i]!
    const content = at + this.headerBytes
    if (!this.aead.open(input, content, length, output, outputAt, nonce, aad, 0, TLS12_AAD_BYTES)) {
      return this.fail(AlertDescription.badRecordMac)
    }
    this.sequence++
    this.contentType = input[at]!
    return length
  }

  dispose(): void {
    this.aead.dispose()
    this.iv.fill(0)
    this.nonce.fill(0)
  }

  private fail(failure: OpenFailure): -1 {
    this.failure = failure
    return -1
  }

  /** Additional data (sequence number, type, version, plaintext length) and, without explicit part, the nonce. */
  private prepare(bytes: Uint8Array, at: number, length: number): void {
    const { aad, sequence } = this
    writeSequence(aad, 0, sequence)
    aad[8] = bytes[at]!
    aad[9] = bytes[at + 1]!
    aad[10] = bytes[at + 2]!
    aad[11] = length >>> 8
    aad[12] = length & 0xff
    if (this.explicitBytes === 0) xorSequence(this.nonce, this.iv, sequence)
  }
}

function writeSequence(bytes: Uint8Array, at: number, sequence: number): void {
  const high = Math.floor(sequence / 0x1_0000_0000)
  bytes[at] = high >>> 24
  bytes[at + 1] = high >>> 16
  bytes[at + 2] = high >>> 8
  bytes[at + 3] = high
  bytes[at + 4] = sequence >>> 24
  bytes[at + 5] = sequence >>> 16
  bytes[at + 6] = sequence >>> 8
  bytes[at + 7] = sequence
}

function xorSequence(nonce: Uint8Array, iv: Uint8Array, sequence: number): void {
  const high = Math.floor(sequence / 0x1_0000_0000)
  nonce[4] = iv[4]! ^ (high >>> 24)
  nonce[5] = iv[5]! ^ (high >>> 16)
  nonce[6] = iv[6]! ^ (high >>> 8)
  nonce[7] = iv[7]! ^ high
  nonce[8] = iv[8]! ^ (sequence >>> 24)
  nonce[9] = iv[9]! ^ (sequence >>> 16)
  nonce[10] = iv[10]! ^ (sequence >>> 8)
  nonce[11] = iv[11]! ^ sequence
}
