import { ByteReader } from '../byte-reader.ts'
import { ByteWriter } from '../byte-writer.ts'

/** IANA numbers of the extensions that are understood; others are ignored. */
export const ExtensionType = {
  extendedMasterSecret: 23,
  recordSizeLimit: 28,
  renegotiationInfo: 65_281,
} as const

/** Extensions by number. */
export type ExtensionList = ReadonlyMap<number, Uint8Array>

/** Reads the extensions at the end of a hello; none at all is an empty list. `undefined` for a duplicate or a bad length. */
export function readExtensions(reader: ByteReader): ExtensionList | undefined {
  const extensions = new Map<number, Uint8Array>()
  if (reader.remaining === 0) return extensions
  const inner = new ByteReader(reader.vector16())
  while (inner.remaining > 0) {
    const type = inner.uint16()
    const value = inner.vector16()
    if (inner.failed || extensions.has(type)) return undefined
    extensions.set(type, value)
  }
  return reader.failed ? undefined : extensions
}

/** Writes the extensions of a hello; an empty list is left out. */
export function writeExtensions(writer: ByteWriter, extensions: ExtensionList): void {
  if (extensions.size === 0) return
  const inner = new ByteWriter()
  for (const [type, value] of extensions) inner.uint16(type).vector16(value)
  writer.vector16(inner.finish())
}
