import { ByteReader } from '../byte-reader.ts'
import { ByteWriter } from '../byte-writer.ts'

/** The identity in the ClientKeyExchange of plain PSK, all of it, zero bytes included. RFC 4279 §2. */
export function readPskIdentity(body: Uint8Array): Uint8Array | undefined {
  const reader = new ByteReader(body)
  const identity = reader.vector16()
  return reader.complete ? identity : undefined
}

export function writePskIdentity(identity: Uint8Array): Uint8Array {
  return new ByteWriter().vector16(identity).finish()
}
