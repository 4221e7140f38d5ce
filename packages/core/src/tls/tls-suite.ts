import type { TlsAeadName, TlsHashName } from './tls-crypto.ts'

/** A cipher suite whose records this library can protect. */
export interface TlsSuite {
  readonly version: 'TLSv1.2' | 'TLSv1.3'
  readonly aead: TlsAeadName
  readonly keyBytes: number
  readonly hash: TlsHashName
}

/** The suite of a connection by its protocol version and IANA name, or `undefined` when its records are left to others. */
export function tlsSuite(version: string, name: string): TlsSuite | undefined {
  if (version === 'TLSv1.3') return tls13Suites.get(name)
  // RFC 5288, RFC 5289, RFC 7905: the name ends with cipher and hash, whatever the key exchange.
  const match = /^TLS_(?:EC)?DHE_(?:RSA|ECDSA)_WITH_(AES_128_GCM|AES_256_GCM|CHACHA20_POLY1305)_SHA(256|384)$/.exec(
    name,
  )
  if (version !== 'TLSv1.2' || match === null) return undefined
  const aead = match[1]!.toLowerCase().replaceAll('_', '-') as TlsAeadName
  return { version, aead, keyBytes: aead === 'aes-128-gcm' ? 16 : 32, hash: match[2] === '384' ? 'sha384' : 'sha256' }
}

/** RFC 8446 §B.4. */
const tls13Suites: ReadonlyMap<string, TlsSuite> = new Map([
  ['TLS_AES_128_GCM_SHA256', { version: 'TLSv1.3', aead: 'aes-128-gcm', keyBytes: 16, hash: 'sha256' }],
  ['TLS_AES_256_GCM_SHA384', { version: 'TLSv1.3', aead: 'aes-256-gcm', keyBytes: 32, hash: 'sha384' }],
  ['TLS_CHACHA20_POLY1305_SHA256', { version: 'TLSv1.3', aead: 'chacha20-poly1305', keyBytes: 32, hash: 'sha256' }],
])
