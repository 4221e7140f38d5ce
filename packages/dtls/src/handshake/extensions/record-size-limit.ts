import { MAX_PLAINTEXT_BYTES } from '../../record/record-header.ts'
import { type ExtensionList, ExtensionType } from './extension-list.ts'

/** The least that a peer may ask for. RFC 8449 §4. */
const LEAST = 64

/** The longest plaintext that the sender of a hello takes; `undefined` if it doesn't say; -1 if what it says is not allowed. */
export function readRecordSizeLimit(extensions: ExtensionList): number | undefined {
  const value = extensions.get(ExtensionType.recordSizeLimit)
  if (value === undefined) return undefined
  if (value.length !== 2) return -1
  const limit = (value[0]! << 8) | value[1]!
  return limit < LEAST ? -1 : Math.min(limit, MAX_PLAINTEXT_BYTES)
}

export function recordSizeLimitValue(limit: number): Uint8Array {
  return Uint8Array.of(limit >>> 8, limit & 0xff)
}
