import type { CryptoProvider } from '@twinbore/dtls'
import { nodeCrypto, type RecordProtectionSupport, recordProtectionSupport, systemCrypto } from '@twinbore/dtls/io'
import type { DataPlaneConfig } from '../../config/gateway-config.ts'

/** The primitives of datagram channels, as configured. */
export function recordCrypto(records: DataPlaneConfig['records']): CryptoProvider {
  return records === 'node' ? nodeCrypto : systemCrypto
}

/** How their records are protected then. */
export function recordKind(records: DataPlaneConfig['records']): RecordProtectionSupport['kind'] {
  return records === 'node' ? 'node' : recordProtectionSupport().kind
}
