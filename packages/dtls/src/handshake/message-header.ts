// The header of a handshake message, or of a fragment of one. RFC 6347 §4.2.2:
//
//   0        1        4              6                 9                 12
//   | type   | length | message_seq  | fragment_offset | fragment_length | body ...

export const MESSAGE_HEADER_BYTES = 12

/** RFC 5246 §7.4, RFC 6347 §4.3.2 */
export const HandshakeType = {
  helloRequest: 0,
  clientHello: 1,
  serverHello: 2,
  helloVerifyRequest: 3,
  serverKeyExchange: 12,
  serverHelloDone: 14,
  clientKeyExchange: 16,
  finished: 20,
} as const

export interface FragmentHeader {
  readonly type: number
  /** Of the whole message. */
  readonly length: number
  readonly messageSeq: number
  readonly fragmentOffset: number
  readonly fragmentLength: number
}

/** A whole message. */
export interface HandshakeMessage {
  readonly type: number
  readonly messageSeq: number
  /** Of the records that carried it. */
  readonly epoch: number
  readonly body: Uint8Array
}

/** Reads the header at `at`, or gives `undefined` if it is cut short, or if its fragment is or lies outside its message. */
export function readFragmentHeader(bytes: Uint8Array, at: number, end: number): FragmentHeader | undefined {
  if (end - at < MESSAGE_HEADER_BYTES) return undefined
  const length = uint24(bytes, at + 1)
  const fragmentOffset = uint24(bytes, at + 6)
  const fragmentLength = uint24(bytes, at + 9)
  if (fragmentOffset + fragmentLength > length) return undefined
  if (at + MESSAGE_HEADER_BYTES + fragmentLength > end) return undefined
  return {
    type: bytes[at]!,
    length,
    messageSeq: (bytes[at + 4]! << 8) | bytes[at + 5]!,
    fragmentOffset,
    fragmentLength,
  }
}

/** Writes the header of one fragment. */
export function writeFragmentHeader(bytes: Uint8Array, at: number, header: FragmentHeader): void {
  bytes[at] = header.type
  writeUint24(bytes, at + 1, header.length)
  bytes[at + 4] = header.messageSeq >>> 8
  bytes[at + 5] = header.messageSeq & 0xff
  writeUint24(bytes, at + 6, header.fragmentOffset)
  writeUint24(bytes, at + 9, header.fragmentLength)
}

/** A message as one fragment: what the transcript hashes, however it travelled. RFC 6347 §4.2.6. */
export function encodeMessage(type: number, messageSeq: number, body: Uint8Array): Uint8Array {
  const length = body.length
  const bytes = new Uint8Array(MESSAGE_HEADER_BYTES + length)
  writeFragmentHeader(bytes, 0, { type, length, messageSeq, fragmentOffset: 0, fragmentLength: length })
  bytes.set(body, MESSAGE_HEADER_BYTES)
  return bytes
}

function uint24(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!
}

function writeUint24(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 16
  bytes[at + 1] = (value >>> 8) & 0xff
  bytes[at + 2] = value & 0xff
}
