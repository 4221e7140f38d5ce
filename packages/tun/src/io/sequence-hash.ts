import { createHmac, randomBytes } from 'node:crypto'

/** A keyed hash for `NetStackOptions.keyedHash`: HMAC-SHA-256 under a key that only this function's result knows. */
export function sequenceHash(): (bytes: Uint8Array) => Uint8Array {
  const key = randomBytes(32)
  return bytes => createHmac('sha256', key).update(bytes).digest()
}
