import { copyBytes } from './copy-bytes.ts'
import { NONCE_BYTES, type TlsCrypto, type TlsHashName } from './tls-crypto.ts'
import type { TlsSuite } from './tls-suite.ts'

/** Key and nonce base of one direction. Secret: `wipe` it when the cipher has it. */
export interface TrafficKeys {
  readonly key: Uint8Array
  /** 12 bytes, or the 4 fixed bytes of GCM in TLS 1.2. */
  readonly iv: Uint8Array
}

type Hmac = TlsCrypto['hmac']

/** HKDF-Expand-Label with an empty context, RFC 8446 §7.1, for results of at most one block of the hash. */
export function hkdfExpandLabel(
  hmac: Hmac,
  hash: TlsHashName,
  secret: Uint8Array,
  label: string,
  length: number,
): Uint8Array {
  const name = `tls13 ${label}`
  // HkdfLabel: length be16, label with its length, context with its length; then the counter of HKDF-Expand (RFC 5869 §2.3).
  const info = new Uint8Array(2 + 1 + name.length + 1 + 1)
  info[1] = length
  info[2] = name.length
  for (let i = 0; i < name.length; i++) info[3 + i] = name.charCodeAt(i)
  info[info.length - 1] = 1
  const block = hmac(hash, secret, info)
  const result = copyBytes(block, 0, length)
  wipe(block)
  return result
}

/** RFC 8446 §7.3. */
export function trafficKeysOf(hmac: Hmac, suite: TlsSuite, secret: Uint8Array): TrafficKeys {
  return {
    key: hkdfExpandLabel(hmac, suite.hash, secret, 'key', suite.keyBytes),
    iv: hkdfExpandLabel(hmac, suite.hash, secret, 'iv', NONCE_BYTES),
  }
}

/** The secret after a KeyUpdate, RFC 8446 §7.2. */
export function nextTrafficSecret(hmac: Hmac, suite: TlsSuite, secret: Uint8Array): Uint8Array {
  return hkdfExpandLabel(hmac, suite.hash, secret, 'traffic upd', secret.length)
}

/** The keys of both directions of a TLS 1.2 connection, RFC 5246 §6.3. The randoms are 32 bytes each. */
export function tls12TrafficKeys(
  hmac: Hmac,
  suite: TlsSuite,
  masterSecret: Uint8Array,
  clientRandom: Uint8Array,
  serverRandom: Uint8Array,
): { readonly client: TrafficKeys; readonly server: TrafficKeys } {
  const { keyBytes, hash, aead } = suite
  // RFC 5288 §3 and RFC 7905 §2: what of the nonce comes from the key block.
  const ivBytes = aead === 'chacha20-poly1305' ? NONCE_BYTES : 4
  const label = 'key expansion'
  const seed = new Uint8Array(label.length + 64)
  for (let i = 0; i < label.length; i++) seed[i] = label.charCodeAt(i)
  seed.set(serverRandom, label.length)
  seed.set(clientRandom, label.length + 32)
  const block = prf(hmac, hash, masterSecret, seed, 2 * (keyBytes + ivBytes))
  const cut = (at: number, length: number) => copyBytes(block, at, at + length)
  const keys = {
    client: { key: cut(0, keyBytes), iv: cut(2 * keyBytes, ivBytes) },
    server: { key: cut(keyBytes, keyBytes), iv: cut(2 * keyBytes + ivBytes, ivBytes) },
  }
  wipe(block)
  return keys
}

export function wipe(...secrets: readonly (Uint8Array | undefined)[]): void {
  for (const secret of secrets) secret?.fill(0)
}

/** P_hash of RFC 5246 §5; `seed` has the label in front. */
function prf(hmac: Hmac, hash: TlsHashName, secret: Uint8Array, seed: Uint8Array, length: number): Uint8Array {
  const result = new Uint8Array(length)
  let a = seed
  for (let at = 0; at < length; ) {
    a = hmac(hash, secret, a)
    const input = new Uint8Array(a.length + seed.length)
    input.set(a)
    input.set(seed, a.length)
    const block = hmac(hash, secret, input)
    result.set(block.subarray(0, length - at), at)
    at += block.length
  }
  return result
}
