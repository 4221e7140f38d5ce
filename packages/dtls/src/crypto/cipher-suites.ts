import type { AeadName, HashName } from './crypto-provider.ts'

/** A cipher suite by its IANA name. */
export type CipherSuiteName =
  | 'TLS_PSK_WITH_AES_128_GCM_SHA256'
  | 'TLS_PSK_WITH_AES_256_GCM_SHA384'
  | 'TLS_PSK_WITH_CHACHA20_POLY1305_SHA256'

/** What the code needs to know of a suite. */
export interface CipherSuite {
  readonly name: CipherSuiteName
  /** The IANA number. */
  readonly id: number
  readonly aead: AeadName
  /** Of the PRF and of the handshake hash. */
  readonly hash: HashName
  readonly keyBytes: number
  /** Bytes of nonce that come from the key block. */
  readonly fixedIvBytes: number
  /** Bytes of nonce that travel in each record. */
  readonly explicitNonceBytes: number
  /** Records after which keys should be replaced: 2^24.5 for GCM (RFC 9147 §4.5.3); for ChaCha20-Poly1305 the sequence number ends first. */
  readonly recordLimit: number
}

const GCM_RECORD_LIMIT = 23_726_566
const CHACHA_RECORD_LIMIT = 2 ** 48 - 2 ** 32

/** All suites, in the order in which a client offers them by default. */
export const cipherSuites: readonly CipherSuite[] = [
  {
    // RFC 5487 §2
    name: 'TLS_PSK_WITH_AES_128_GCM_SHA256',
    id: 0x00a8,
    aead: 'aes-128-gcm',
    hash: 'sha256',
    keyBytes: 16,
    fixedIvBytes: 4,
    explicitNonceBytes: 8,
    recordLimit: GCM_RECORD_LIMIT,
  },
  {
    // RFC 5487 §2
    name: 'TLS_PSK_WITH_AES_256_GCM_SHA384',
    id: 0x00a9,
    aead: 'aes-256-gcm',
    hash: 'sha384',
    keyBytes: 32,
    fixedIvBytes: 4,
    explicitNonceBytes: 8,
    recordLimit: GCM_RECORD_LIMIT,
  },
  {
    // RFC 7905 §2
    name: 'TLS_PSK_WITH_CHACHA20_POLY1305_SHA256',
    id: 0xccab,
    aead: 'chacha20-poly1305',
    hash: 'sha256',
    keyBytes: 32,
    fixedIvBytes: 12,
    explicitNonceBytes: 0,
    recordLimit: CHACHA_RECORD_LIMIT,
  },
]

/** The suite of a name. @throws RangeError for a name that is not in `cipherSuites` */
export function cipherSuiteOf(name: CipherSuiteName): CipherSuite {
  const suite = cipherSuites.find(candidate => candidate.name === name)
  if (suite === undefined) throw new RangeError(`cipherSuites: ${String(name)} is not supported`)
  return suite
}
