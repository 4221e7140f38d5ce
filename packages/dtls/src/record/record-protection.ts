import type { CipherSuite } from '../crypto/cipher-suites.ts'
import type { CryptoProvider, RecordCipher } from '../crypto/crypto-provider.ts'
import { AeadRecordCipher } from './aead-record-cipher.ts'
import { MAX_PLAINTEXT_BYTES, ProtocolVersion, RECORD_HEADER_BYTES, writeRecordHeader } from './record-header.ts'

export const TAG_BYTES = 16

/**
 * The keys of one direction of one epoch, and the only door to the cipher. What the cipher needs is made when it is first used,
 * and given back by `dispose`.
 */
export class RecordProtection {
  readonly suite: CipherSuite
  readonly key: Uint8Array
  readonly fixedIv: Uint8Array
  /** Bytes before the plaintext: record header and explicit nonce. */
  readonly headerBytes: number
  /** Bytes that protection adds in all. */
  readonly overhead: number
  private readonly crypto: CryptoProvider
  private sealer: RecordCipher | undefined
  private opener: RecordCipher | undefined

  constructor(crypto: CryptoProvider, suite: CipherSuite, key: Uint8Array, fixedIv: Uint8Array) {
    this.crypto = crypto
    this.suite = suite
    this.key = key
    this.fixedIv = fixedIv
    this.headerBytes = RECORD_HEADER_BYTES + suite.explicitNonceBytes
    this.overhead = this.headerBytes + TAG_BYTES
    this.sealer = undefined
    this.opener = undefined
  }

  /**
   * Seals `length` bytes of plaintext at `at + headerBytes` into a record that begins at `at`; the tag goes behind the
   * plaintext. The record is `length + overhead` bytes long.
   */
  seal(bytes: Uint8Array, at: number, type: number, epoch: number, sequence: number, length: number): void {
    const fragmentBytes = length + this.overhead - RECORD_HEADER_BYTES
    writeRecordHeader(bytes, at, type, ProtocolVersion.dtls12, epoch, sequence, fragmentBytes)
    this.sealer ??= this.cipher('seal')
    this.sealer.seal(bytes, at, length, epoch, sequence)
  }

  /**
   * Opens the record in `[at, end)` in place. Returns the length of the plaintext, which begins at `at + headerBytes`; -1 if
   * the record does not authenticate, and then its bytes are as they were if `keeps` is set; -2 if it is too short or too long
   * to try.
   */
  open(bytes: Uint8Array, at: number, end: number, keeps: boolean): number {
    const length = end - at - this.overhead
    if (length < 0 || length > MAX_PLAINTEXT_BYTES) return -2
    this.opener ??= this.cipher('open')
    return this.opener.open(bytes, at, length, keeps) ? length : -1
  }

  /** Gives back what the ciphers hold. */
  dispose(): void {
    this.sealer?.dispose()
    this.opener?.dispose()
    this.sealer = undefined
    this.opener = undefined
  }

  private cipher(direction: 'seal' | 'open'): RecordCipher {
    const { crypto, suite, key, fixedIv } = this
    if (crypto.records !== undefined) return crypto.records(suite.aead, key, fixedIv, direction)
    return new AeadRecordCipher(crypto.aead(suite.aead, key), fixedIv)
  }
}
