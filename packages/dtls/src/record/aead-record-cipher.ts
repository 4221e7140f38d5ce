import type { AeadKey, RecordCipher } from '../crypto/crypto-provider.ts'
import { RECORD_HEADER_BYTES } from './record-header.ts'

const NONCE_BYTES = 12
const AAD_BYTES = 13

/**
 * Whole records by an AEAD.
 *
 * GCM, RFC 5288 §3: nonce = 4 bytes of the key block, then 8 explicit bytes that travel in the record. When sealing those are
 * epoch and sequence number, never chance, so that a nonce can't repeat; when opening they are whatever the peer wrote.
 * ChaCha20-Poly1305, RFC 7905 §2: nonce = 12 bytes of the key block XOR (4 zero bytes, epoch, sequence number).
 * Additional data, RFC 5246 §6.2.3.3: epoch and sequence number, type, version, plaintext length.
 */
export class AeadRecordCipher implements RecordCipher {
  private readonly aead: AeadKey
  private readonly fixedIv: Uint8Array
  private readonly headerBytes: number
  private readonly nonce = new Uint8Array(NONCE_BYTES)
  private readonly aad = new Uint8Array(AAD_BYTES)

  constructor(aead: AeadKey, fixedIv: Uint8Array) {
    this.aead = aead
    this.fixedIv = fixedIv
    this.headerBytes = RECORD_HEADER_BYTES + NONCE_BYTES - fixedIv.length
    this.nonce.set(fixedIv)
  }

  seal(bytes: Uint8Array, at: number, length: number): void {
    if (this.headerBytes > RECORD_HEADER_BYTES) bytes.copyWithin(at + RECORD_HEADER_BYTES, at + 3, at + 11)
    this.prepare(bytes, at, length)
    this.aead.seal(bytes, at + this.headerBytes, length, this.nonce, this.aad)
  }

  open(bytes: Uint8Array, at: number, length: number): boolean {
    this.prepare(bytes, at, length)
    return this.aead.open(bytes, at + this.headerBytes, length, this.nonce, this.aad)
  }

  dispose(): void {}

  private prepare(bytes: Uint8Array, at: number, length: number): void {
    const { nonce, aad } = this
    if (this.headerBytes > RECORD_HEADER_BYTES) {
      for (let i = 0; i < 8; i++) nonce[4 + i] = bytes[at + RECORD_HEADER_BYTES + i]!
    } else {
      for (let i = 0; i < 8; i++) nonce[4 + i] = this.fixedIv[4 + i]! ^ bytes[at + 3 + i]!
    }
    writeAdditionalData(aad, bytes, at, length)
  }
}

/** Writes the additional data of the record at `at` to the beginning of `aad`; `length` is what it says of the plaintext. */
export function writeAdditionalData(aad: Uint8Array, bytes: Uint8Array, at: number, length: number): void {
  aad[0] = bytes[at + 3]!
  aad[1] = bytes[at + 4]!
  aad[2] = bytes[at + 5]!
  aad[3] = bytes[at + 6]!
  aad[4] = bytes[at + 7]!
  aad[5] = bytes[at + 8]!
  aad[6] = bytes[at + 9]!
  aad[7] = bytes[at + 10]!
  aad[8] = bytes[at]!
  aad[9] = bytes[at + 1]!
  aad[10] = bytes[at + 2]!
  aad[11] = length >>> 8
  aad[12] = length & 0xff
}
