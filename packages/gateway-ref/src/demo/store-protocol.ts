// What the demonstration's client and its intranet say to each other: requests in single UDP datagrams, each answered by
// one. A store of numbered chunks, so that a file can be sent there, fetched back and compared.
//
//   0 operation | 1 id, the same in the answer (32 bits) | 5 index of the chunk (32 bits) | 9 bytes

export const StoreOperation = {
  /** Answered with the same bytes. */
  echo: 1,
  /** Answered with the sender's `address:port` as the intranet saw it, as text. */
  whoAmI: 2,
  /** Keeps a chunk; answered without bytes. */
  put: 3,
  /** Answered with the chunk, or without bytes when there is none. */
  get: 4,
} as const

export type StoreOperation = (typeof StoreOperation)[keyof typeof StoreOperation]

/** Bytes before those of the chunk. */
export const STORE_HEADER_BYTES = 9

/** Bytes of a chunk: with all headers it fits the smallest tunnel that carries IPv6. */
export const CHUNK_BYTES = 1200

/** Most chunks that a store keeps. */
export const MAX_CHUNKS = 65_536

const answerBit = 0x80
const none = new Uint8Array(0)

export interface StoreMessage {
  readonly operation: StoreOperation
  readonly answer: boolean
  readonly id: number
  readonly index: number
  /** A view of the datagram. */
  readonly bytes: Uint8Array
}

export function encodeRequest(
  operation: StoreOperation,
  id: number,
  index: number = 0,
  bytes: Uint8Array = none,
): Uint8Array {
  return encode(operation, id, index, bytes)
}

export function encodeAnswer(request: StoreMessage, bytes: Uint8Array = none): Uint8Array {
  return encode(request.operation | answerBit, request.id, request.index, bytes)
}

/** Reads a datagram; `undefined` when it is none of ours. */
export function decodeStoreMessage(datagram: Uint8Array): StoreMessage | undefined {
  if (datagram.length < STORE_HEADER_BYTES || datagram.length > STORE_HEADER_BYTES + CHUNK_BYTES) return undefined
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.byteLength)
  const first = view.getUint8(0)
  const operation = operations.find(known => known === (first & ~answerBit))
  if (operation === undefined) return undefined
  return {
    operation,
    answer: (first & answerBit) !== 0,
    id: view.getUint32(1),
    index: view.getUint32(5),
    bytes: datagram.subarray(STORE_HEADER_BYTES),
  }
}

const operations = Object.values(StoreOperation)

function encode(first: number, id: number, index: number, bytes: Uint8Array): Uint8Array {
  const datagram = new Uint8Array(STORE_HEADER_BYTES + bytes.length)
  const view = new DataView(datagram.buffer)
  view.setUint8(0, first)
  view.setUint32(1, id)
  view.setUint32(5, index)
  datagram.set(bytes, STORE_HEADER_BYTES)
  return datagram
}
