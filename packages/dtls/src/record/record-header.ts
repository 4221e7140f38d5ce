// The header of a record, RFC 6347 §4.1:
//
//   0        1        3        5              11       13
//   | type   | version | epoch  | sequence     | length | fragment ...

export const RECORD_HEADER_BYTES = 13

/** The longest plaintext of a record. RFC 6347 §4.1.1 keeps the limit of RFC 5246 §6.2.1. */
export const MAX_PLAINTEXT_BYTES = 16_384

/** The longest protected fragment that is looked at: any AEAD suite needs far less than the 2048 bytes that RFC 5246 §6.2.3 allows. */
export const MAX_FRAGMENT_BYTES: number = MAX_PLAINTEXT_BYTES + 256

/** The largest sequence number of an epoch; it is never used, so that a counter that reached it stays refused. */
export const MAX_SEQUENCE: number = 2 ** 48 - 1

/** RFC 5246 §6.2.1 */
export const ContentType = {
  changeCipherSpec: 20,
  alert: 21,
  handshake: 22,
  applicationData: 23,
} as const

/** Version numbers on the wire. RFC 6347 §4.1. */
export const ProtocolVersion = {
  dtls10: 0xfeff,
  dtls12: 0xfefd,
} as const

/** Where the record at `at` ends, or -1 if the bytes up to `end` don't hold a whole record. */
export function recordEnd(bytes: Uint8Array, at: number, end: number): number {
  if (end - at < RECORD_HEADER_BYTES) return -1
  const length = (bytes[at + 11]! << 8) | bytes[at + 12]!
  const stop = at + RECORD_HEADER_BYTES + length
  return stop > end || length > MAX_FRAGMENT_BYTES ? -1 : stop
}

/** Whether `[at, end)` is one whole record of DTLS 1.2 with application data of epoch 1. */
export function isDataRecord(bytes: Uint8Array, at: number, end: number): boolean {
  return (
    end - at > RECORD_HEADER_BYTES &&
    bytes[at] === ContentType.applicationData &&
    bytes[at + 1] === 0xfe &&
    bytes[at + 2] === 0xfd &&
    bytes[at + 3] === 0 &&
    bytes[at + 4] === 1 &&
    ((bytes[at + 11]! << 8) | bytes[at + 12]!) === end - at - RECORD_HEADER_BYTES
  )
}

/** The version of the record at `at`. */
export function recordVersion(bytes: Uint8Array, at: number): number {
  return (bytes[at + 1]! << 8) | bytes[at + 2]!
}

/** The epoch of the record at `at`. */
export function recordEpoch(bytes: Uint8Array, at: number): number {
  return (bytes[at + 3]! << 8) | bytes[at + 4]!
}

/** The sequence number of the record at `at`; 48 bits are exact in a number. */
export function recordSequence(bytes: Uint8Array, at: number): number {
  const high = (bytes[at + 5]! << 8) | bytes[at + 6]!
  return (
    high * 2 ** 32 + (((bytes[at + 7]! << 24) | (bytes[at + 8]! << 16) | (bytes[at + 9]! << 8) | bytes[at + 10]!) >>> 0)
  )
}

/** Writes a header of 13 bytes at `at`. */
export function writeRecordHeader(
  bytes: Uint8Array,
  at: number,
  type: number,
  version: number,
  epoch: number,
  sequence: number,
  length: number,
): void {
  bytes[at] = type
  bytes[at + 1] = version >>> 8
  bytes[at + 2] = version & 0xff
  writeRecordNumber(bytes, at + 3, epoch, sequence)
  bytes[at + 11] = length >>> 8
  bytes[at + 12] = length & 0xff
}

/** Writes epoch and sequence number as 8 bytes. */
export function writeRecordNumber(bytes: Uint8Array, at: number, epoch: number, sequence: number): void {
  const high = Math.floor(sequence / 2 ** 32)
  const low = sequence >>> 0
  bytes[at] = epoch >>> 8
  bytes[at + 1] = epoch & 0xff
  bytes[at + 2] = high >>> 8
  bytes[at + 3] = high & 0xff
  bytes[at + 4] = low >>> 24
  bytes[at + 5] = (low >>> 16) & 0xff
  bytes[at + 6] = (low >>> 8) & 0xff
  bytes[at + 7] = low & 0xff
}
