import { ByteReader } from '../byte-reader.ts'
import { ByteWriter } from '../byte-writer.ts'

/** The cookie of a HelloVerifyRequest, 0 to 255 bytes. RFC 6347 §4.2.1. Its version field says nothing about what follows. */
export function readHelloVerifyRequest(body: Uint8Array): Uint8Array | undefined {
  const reader = new ByteReader(body)
  reader.uint16()
  const cookie = reader.vector8()
  return reader.complete ? cookie : undefined
}

export function writeHelloVerifyRequest(version: number, cookie: Uint8Array): Uint8Array {
  return new ByteWriter().uint16(version).vector8(cookie).finish()
}
