import type { CipherSuite } from '../crypto/cipher-suites.ts'
import type { AeadKey, CryptoProvider } from '../crypto/crypto-provider.ts'
import { MAX_PLAINTEXT_BYTES, ProtocolVersion, RECORD_HEADER_BYTES, writeRecordHeader } from './record-header.ts'

export const TAG_BYTES = 16
const NONCE_BYTES = 12
const AAD_BYTES = 13

/**
 * The keys of one direction of one epoch, and the only door to the AEAD.
 *
 * GCM, RFC 5288 §3: nonce = 4 bytes of the key block, then 8 explicit bytes that travel in the record. When sealing those are
 * epoch and sequence number, never chance, so that a nonce can't repeat; when opening they are whatever the peer wrote.
 * ChaCha20-Poly1305, RFC 7905 §2: nonce = 12 bytes of the key block XOR (4 zero bytes, epoch, sequence number).
 * Additional data, RFC 5246 §6.2.3.3: epoch and sequence number, type, version, plaintext length.
 */
export class RecordProtection {
  /** Bytes before the plaintext: record header and explicit nonce. */
  readonly headerBytes: number
  /** Bytes that protection adds in all. */
  readonly overhead: number
  private readonly explicitNonceBytes: number
  private readonly aead: AeadKey
  private readonly fixedIv: Uint8Array
  private readonly nonce = new Uint8Array(NONCE_BYTES)
  private readonly aad = new Uint8Array(AAD_BYTES)

  constructor(crypto: CryptoProvider, suite: CipherSuite, key: Uint8Array, fixedIv: Uint8Array) {
    this.explicitNonceBytes = suite.explicitNonceBytes
    this.headerBytes = RECORD_HEADER_BYTES + suite.explicitNonceBytes
    this.overhead = this.headerBytes + TAG_BYTES
    this.aead = crypto.aead(suite.aead, key)
    this.fixedIv = fixedIv
    this.nonce.set(fixedIv)
  }

  /**
   * Seals `length` bytes of plaintext at `at + headerBytes` into a record that begins at `at`; the tag goes behind the
   * plaintext. The record is `length + overhead` bytes long.
   */
  seal(bytes: Uint8Array, at: number, type: number, epoch: number, sequence: number, length: number): void {
    const fragmentBytes = this.explicitNonceBytes + length + TAG_BYTES
    writeRecordHeader(bytes, at, type, ProtocolVersion.dtls12, epoch, sequence, fragmentBytes)
    if (this.explicitNonceBytes > 0) bytes.copyWithin(at + RECORD_HEADER_BYTES, at + 3, at + 11)
    this.prepare(bytes, at, length)
    this.aead.seal(bytes, at + this.headerBytes, length, this.nonce, this.aad)
  }

  /**
   * Opens the record in `[at, end)` in place. Returns the length of the plaintext, which begins at `at + headerBytes`; -1 if
   * the record does not authenticate, and then its bytes are as they were; -2 if it is too short or too long to try.
   */
  open(bytes: Uint8Array, at: number, end: number): number {
    const length = end - at - this.overhead
    if (length < 0 || length > MAX_PLAINTEXT_BYTES) return -2
    this.prepare(bytes, at, length)
    return this.aead.open(bytes, at + this.headerBytes, length, this.nonce, this.aad) ? length : -1
  }

  private prepare(bytes: Uint8Array, at: number, length: number): void {
    const { nonce, aad } = this
    if (this.explicitNonceBytes > 0) {
      for (let i = 0; i < 8; i++) nonce[4 + i] = bytes[at + RECORD_HEADER_BYTES + i]!
    } else {
      for (let i = 0; i < 8; i++) nonce[4 + i] = this.fixedIv[4 + i]! ^ bytes[at + 3 + i]!
    }
    for (let i = 0; i < 8; i++) aad[i] = bytes[at + 3 + i]!
    aad[8] = bytes[at]!
    aad[9] = bytes[at + 1]!
    aad[10] = bytes[at + 2]!
    aad[11] = length >>> 8
    aad[12] = length & 0xff
  }
}
