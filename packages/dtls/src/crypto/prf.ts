import type { CryptoProvider, HashName } from './crypto-provider.ts'

/** The pseudorandom function of TLS 1.2: P_hash(secret, label + seed), cut to `length` bytes. RFC 5246 §5. */
export function prf(
  crypto: CryptoProvider,
  hash: HashName,
  secret: Uint8Array,
  label: string,
  seed: Uint8Array,
  length: number,
): Uint8Array {
  const labelBytes = asciiBytes(label)
  const output = new Uint8Array(length)
  let chain = crypto.hmac(hash, secret, labelBytes, seed)
  for (let at = 0; at < length; ) {
    const block = crypto.hmac(hash, secret, chain, labelBytes, seed)
    const taken = block.subarray(0, length - at)
    output.set(taken, at)
    at += taken.length
    if (at < length) chain = crypto.hmac(hash, secret, chain)
  }
  return output
}

function asciiBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length)
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i)
  return bytes
}
