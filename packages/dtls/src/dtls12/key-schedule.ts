// From a pre-shared key to record keys: RFC 4279 §2, RFC 5246 §8.1 and §6.3, RFC 7627 §4, RFC 5705 §4.
import type { CipherSuite } from '../crypto/cipher-suites.ts'
import type { CryptoProvider } from '../crypto/crypto-provider.ts'
import { prf } from '../crypto/prf.ts'
import { RecordProtection } from '../record/record-protection.ts'

export const MASTER_SECRET_BYTES = 48
export const VERIFY_DATA_BYTES = 12

/** The secrets of an association, and what they were made from. */
export interface Secrets {
  readonly crypto: CryptoProvider
  readonly suite: CipherSuite
  readonly master: Uint8Array
  readonly clientRandom: Uint8Array
  readonly serverRandom: Uint8Array
}

/** The pre-master secret of plain PSK: as many zero bytes as the key has, then the key, both with their lengths. RFC 4279 §2. */
export function pskPreMasterSecret(key: Uint8Array): Uint8Array {
  const result = new Uint8Array(4 + 2 * key.length)
  const view = new DataView(result.buffer)
  view.setUint16(0, key.length)
  view.setUint16(2 + key.length, key.length)
  result.set(key, 4 + key.length)
  return result
}

/** Makes the secrets. With a `sessionHash` the master secret is bound to the whole handshake (RFC 7627 §4), without to the randoms. */
export function deriveSecrets(
  crypto: CryptoProvider,
  suite: CipherSuite,
  preMaster: Uint8Array,
  clientRandom: Uint8Array,
  serverRandom: Uint8Array,
  sessionHash: Uint8Array | undefined,
): Secrets {
  const master =
    sessionHash === undefined
      ? prf(crypto, suite.hash, preMaster, 'master secret', join(clientRandom, serverRandom), MASTER_SECRET_BYTES)
      : prf(crypto, suite.hash, preMaster, 'extended master secret', sessionHash, MASTER_SECRET_BYTES)
  return { crypto, suite, master, clientRandom, serverRandom }
}

/** The two directions' protection. The key block gives both keys first, then both IVs; AEAD suites have no MAC keys. */
export function deriveProtection(secrets: Secrets): { client: RecordProtection; server: RecordProtection } {
  const { crypto, suite, master, clientRandom, serverRandom } = secrets
  const { keyBytes, fixedIvBytes } = suite
  const seed = join(serverRandom, clientRandom)
  const block = prf(crypto, suite.hash, master, 'key expansion', seed, 2 * (keyBytes + fixedIvBytes))
  const ivs = 2 * keyBytes
  return {
    client: new RecordProtection(crypto, suite, block.subarray(0, keyBytes), block.subarray(ivs, ivs + fixedIvBytes)),
    server: new RecordProtection(
      crypto,
      suite,
      block.subarray(keyBytes, ivs),
      block.subarray(ivs + fixedIvBytes, ivs + 2 * fixedIvBytes),
    ),
  }
}

/** The content of a Finished message. RFC 5246 §7.4.9. */
export function verifyData(secrets: Secrets, sender: 'client' | 'server', transcriptHash: Uint8Array): Uint8Array {
  const { crypto, suite, master } = secrets
  return prf(crypto, suite.hash, master, `${sender} finished`, transcriptHash, VERIFY_DATA_BYTES)
}

const RESERVED_LABELS = [
  'client finished',
  'server finished',
  'master secret',
  'extended master secret',
  'key expansion',
]

/** Keying material for other uses. No context and an empty one differ. RFC 5705 §4. @throws RangeError */
export function exportKeyingMaterial(
  secrets: Secrets,
  length: number,
  label: string,
  context: Uint8Array | undefined,
): Uint8Array {
  if (!Number.isInteger(length) || length < 1 || length > 65_536) throw new RangeError('length must be 1 to 65536')
  if (!/^[\x20-\x7e]+$/.test(label)) throw new RangeError('label must be printable ASCII')
  if (RESERVED_LABELS.includes(label)) throw new RangeError(`label ${label} is reserved`)
  if (context !== undefined && context.length > 65_535) throw new RangeError('context must be at most 65535 bytes')
  const { crypto, suite, master, clientRandom, serverRandom } = secrets
  const seed =
    context === undefined
      ? join(clientRandom, serverRandom)
      : join(clientRandom, serverRandom, Uint8Array.of(context.length >>> 8, context.length & 0xff), context)
  return prf(crypto, suite.hash, master, label, seed, length)
}

function join(...parts: readonly Uint8Array[]): Uint8Array {
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    result.set(part, at)
    at += part.length
  }
  return result
}
