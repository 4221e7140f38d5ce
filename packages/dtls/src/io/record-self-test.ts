import type { AeadName, RecordCipher, RecordCipherMaker } from '../crypto/crypto-provider.ts'
import { AeadRecordCipher } from '../record/aead-record-cipher.ts'
import {
  ContentType,
  MAX_SEQUENCE,
  ProtocolVersion,
  RECORD_HEADER_BYTES,
  writeRecordHeader,
} from '../record/record-header.ts'
import { nodeCrypto } from './node-crypto.ts'

interface KnownRecord {
  readonly name: AeadName
  readonly keyBytes: number
  readonly fixedIvBytes: number
  /** The tag of the record 1:5 with 64 bytes of plaintext, key and IV as below. */
  readonly tag: string
}

const known: readonly KnownRecord[] = [
  { name: 'aes-128-gcm', keyBytes: 16, fixedIvBytes: 4, tag: 'f2e5d18b91bc3ccf4a2ec50b259cace4' },
  { name: 'aes-256-gcm', keyBytes: 32, fixedIvBytes: 4, tag: 'a6b90da30170244e1696ebcb5d1041a7' },
  { name: 'chacha20-poly1305', keyBytes: 32, fixedIvBytes: 12, tag: '6505864d32afeafc08ee64136a9a280d' },
]
const KNOWN_LENGTH = 64
const KNOWN_SEQUENCE = 5

/** Record numbers in the order in which they are sealed: in sequence, with jumps, back, and at the ends of their range. */
const numbers: readonly (readonly [epoch: number, sequence: number])[] = [
  [1, 0],
  [1, 1],
  [1, KNOWN_SEQUENCE],
  [1, KNOWN_SEQUENCE + 1],
  [1, 2 ** 32 - 1],
  [1, 2 ** 32],
  [1, 7],
  [2, 8],
  [1, MAX_SEQUENCE - 1],
]
const lengths = [0, 1, 15, 16, 17, KNOWN_LENGTH, 1400]
const AT = 32
/** Long enough to be taken for the slab of a batch. */
const SLAB_BYTES = 16_384

/**
 * Compares a way to protect records with known bytes and with node:crypto, over all ciphers, lengths and jumps of the sequence
 * number, and checks that forged records are refused. Returns what is wrong, or `undefined`.
 */
export function testRecordCiphers(make: RecordCipherMaker): string | undefined {
  for (const { name, keyBytes, fixedIvBytes, tag } of known) {
    const key = new Uint8Array(keyBytes).map((_, i) => i)
    const fixedIv = new Uint8Array(fixedIvBytes).map((_, i) => 0xa0 + i)
    const sealer = make(name, key, fixedIv, 'seal')
    const opener = make(name, key, fixedIv, 'open')
    try {
      const reference = new AeadRecordCipher(nodeCrypto.aead(name, key), fixedIv)
      const failure = compare(sealer, opener, reference, RECORD_HEADER_BYTES + 12 - fixedIvBytes, tag)
      if (failure !== undefined) return `${name}: ${failure}`
    } finally {
      sealer.dispose()
      opener.dispose()
    }
  }
  return undefined
}

function compare(
  sealer: RecordCipher,
  opener: RecordCipher,
  reference: RecordCipher,
  headerBytes: number,
  tag: string,
): string | undefined {
  const [plain, sealed, expected, work] = [slab(), slab(), slab(), slab()]
  for (const [epoch, sequence] of numbers) {
    for (const length of lengths) {
      const end = AT + headerBytes + length
      const stop = end + 48
      prepare(plain, epoch, sequence, headerBytes, length)
      copy(plain, sealed, stop)
      copy(plain, expected, stop)
      sealer.seal(sealed, AT, length, epoch, sequence)
      reference.seal(expected, AT, length, epoch, sequence)
      if (differ(sealed, expected, 0, stop)) return `a sealed record of ${length} bytes differs`
      const isKnown = epoch === 1 && sequence === KNOWN_SEQUENCE && length === KNOWN_LENGTH
      if (isKnown && hex(sealed.subarray(end, end + 16)) !== tag) return 'a known record differs'
      for (const keeps of [true, false]) {
        // Type, epoch, sequence number, explicit nonce or content, tag; the length is checked by whoever finds the end of a record.
        for (const at of [AT, AT + 4, AT + 10, AT + RECORD_HEADER_BYTES, end, end + 15]) {
          if (sequence > KNOWN_SEQUENCE) break
          copy(sealed, work, stop)
          work[at]! ^= 0x40
          copy(work, expected, stop)
          if (opener.open(work, AT, length, keeps)) return `a record of ${length} bytes with a wrong byte was opened`
          if (keeps && differ(work, expected, 0, stop)) return 'a forged record was changed'
        }
        copy(sealed, work, stop)
        if (!opener.open(work, AT, length, keeps)) return `a record of ${length} bytes was not opened`
        if (differ(work, plain, AT + headerBytes, end)) return `a record of ${length} bytes was opened wrongly`
        if (differ(work, plain, end + 16, stop)) return 'bytes behind a record were changed'
      }
    }
  }
  return undefined
}

function slab(): Uint8Array {
  return new Uint8Array(SLAB_BYTES).fill(0xee)
}

function prepare(bytes: Uint8Array, epoch: number, sequence: number, headerBytes: number, length: number): void {
  const fragmentBytes = headerBytes - RECORD_HEADER_BYTES + length + 16
  bytes.fill(0xee, 0, AT + headerBytes + length + 48)
  writeRecordHeader(bytes, AT, ContentType.applicationData, ProtocolVersion.dtls12, epoch, sequence, fragmentBytes)
  for (let i = 0; i < length; i++) bytes[AT + headerBytes + i] = i
}

function copy(from: Uint8Array, to: Uint8Array, end: number): void {
  to.set(from.subarray(0, end))
}

function differ(a: Uint8Array, b: Uint8Array, from: number, end: number): boolean {
  return Buffer.compare(a.subarray(from, end), b.subarray(from, end)) !== 0
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('')
}
