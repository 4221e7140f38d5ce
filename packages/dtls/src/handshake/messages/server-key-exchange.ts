import { ByteReader } from '../byte-reader.ts'

/** The hint of a PSK server as to which identity to use. RFC 4279 §2. Our server sends none. */
export function readPskIdentityHint(body: Uint8Array): Uint8Array | undefined {
  const reader = new ByteReader(body)
  const hint = reader.vector16()
  return reader.complete ? hint : undefined
}
