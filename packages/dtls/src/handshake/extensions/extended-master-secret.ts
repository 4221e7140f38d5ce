import { type ExtensionList, ExtensionType } from './extension-list.ts'

/** Whether a hello has the (empty) extension. A value in it makes it malformed. RFC 7627 §5.1. */
export function readExtendedMasterSecret(extensions: ExtensionList): 'absent' | 'present' | 'malformed' {
  const value = extensions.get(ExtensionType.extendedMasterSecret)
  if (value === undefined) return 'absent'
  return value.length === 0 ? 'present' : 'malformed'
}
