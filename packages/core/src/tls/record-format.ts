// TLS records, RFC 8446 §5 and RFC 5246 §6.2: `type | version 03 03 | length be16 | fragment`.

export const RECORD_HEADER_BYTES = 5
/** The most plaintext in a record. */
export const MAX_RECORD_PLAINTEXT_BYTES = 16_384
/** The longest fragment: TLS 1.2 allows 2048 bytes of expansion, TLS 1.3 256. */
export const MAX_RECORD_FRAGMENT_BYTES: number = MAX_RECORD_PLAINTEXT_BYTES + 2048

export const ContentType = { changeCipherSpec: 20, alert: 21, handshake: 22, applicationData: 23 } as const
export type ContentType = (typeof ContentType)[keyof typeof ContentType]

/** Alerts that this library sends or tells apart, RFC 8446 §6. */
export const AlertDescription = {
  closeNotify: 0,
  unexpectedMessage: 10,
  badRecordMac: 20,
  recordOverflow: 22,
  decodeError: 50,
  userCanceled: 90,
} as const
export type AlertDescription = (typeof AlertDescription)[keyof typeof AlertDescription]

export function writeRecordHeader(bytes: Uint8Array, at: number, type: number, fragmentBytes: number): void {
  bytes[at] = type
  bytes[at + 1] = 3
  bytes[at + 2] = 3
  bytes[at + 3] = fragmentBytes >>> 8
  bytes[at + 4] = fragmentBytes & 0xff
}

export function fragmentBytesAt(bytes: Uint8Array, at: number): number {
  return (bytes[at + 3]! << 8) | bytes[at + 4]!
}
