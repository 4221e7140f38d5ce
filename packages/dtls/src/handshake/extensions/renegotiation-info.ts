import type { ExtensionList } from './extension-list.ts'
import { ExtensionType } from './extension-list.ts'

/** The suite number by which a client without extensions says the same. RFC 5746 §3.3. */
export const EMPTY_RENEGOTIATION_INFO_SCSV = 0x00ff

/** The value in a first handshake: an empty vector. RFC 5746 §3.2. */
export const EMPTY_RENEGOTIATION_INFO: Uint8Array = Uint8Array.of(0)

/**
 * What a hello says about renegotiation. In a first handshake the extension must be empty; anything else is an attempt to
 * splice connections, RFC 5746 §3.4 and §3.6.
 */
export function readRenegotiationInfo(extensions: ExtensionList): 'absent' | 'empty' | 'not-empty' {
  const value = extensions.get(ExtensionType.renegotiationInfo)
  if (value === undefined) return 'absent'
  return value.length === 1 && value[0] === 0 ? 'empty' : 'not-empty'
}
