import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createSecretKey,
  hash as digest,
  type KeyObject,
  randomFillSync,
} from 'node:crypto'
import type { AeadKey, AeadName, CryptoProvider, HashName } from '../crypto/crypto-provider.ts'
import type { Random } from '../machine.ts'

/** The primitives of OpenSSL, through node:crypto. */
export const nodeCrypto: CryptoProvider = {
  aead: (name, key) => new NodeAeadKey(name, key),
  hash(name, ...parts) {
    if (lengthOf(parts) > scratch.length) {
      const hash = createHash(name)
      for (const part of parts) hash.update(part)
      return hash.digest()
    }
    return digest(name, scratch.subarray(0, join(scratch, 0, parts)), 'buffer')
  },
  hmac(name, key, ...parts) {
    const block = BLOCK_BYTES[name]
    const secret = key.length > block ? digest(name, key, 'buffer') : key
    const inner = hmacStep(name, secret, 0x36, block, parts)
    const result = hmacStep(name, secret, 0x5c, block, [inner])
    scratch.fill(0, 0, block)
    return result
  },
}

/** Of the hash functions, RFC 2104 §2. */
const BLOCK_BYTES: Readonly<Record<HashName, number>> = { sha256: 64, sha384: 128 }

// Digests in one call: an object of node:crypto for each would cost several times as much, and as much again when it is collected.
const scratch = new Uint8Array(new ArrayBuffer(4096))

/** Half of an HMAC: the hash of the padded key and the parts. RFC 2104 §2. */
function hmacStep(
  name: HashName,
  key: Uint8Array,
  pad: number,
  block: number,
  parts: readonly Uint8Array[],
): Uint8Array {
  const length = block + lengthOf(parts)
  const bytes = length <= scratch.length ? scratch : new Uint8Array(length)
  for (let i = 0; i < block; i++) bytes[i] = (i < key.length ? key[i]! : 0) ^ pad
  join(bytes, block, parts)
  const result = digest(name, bytes.subarray(0, length), 'buffer')
  if (bytes !== scratch) bytes.fill(0, 0, block)
  return result
}

function lengthOf(parts: readonly Uint8Array[]): number {
  let length = 0
  for (const part of parts) length += part.length
  return length
}

/** Puts parts one after another into `bytes` from `at`. Returns where they end. */
function join(bytes: Uint8Array, at: number, parts: readonly Uint8Array[]): number {
  let end = at
  for (const part of parts) {
    bytes.set(part, end)
    end += part.length
  }
  return end
}

/** The operating system's generator, through OpenSSL. */
export const nodeRandom: Random = {
  fill(bytes) {
    randomFillSync(bytes)
    return bytes
  },
}

const TAG_BYTES = 16
const options = { authTagLength: TAG_BYTES }

/** A cipher object lives for one record: node:crypto can't rewind one. */
class NodeAeadKey implements AeadKey {
  private readonly name: 'aes-128-gcm'
  private readonly key: KeyObject

  constructor(name: AeadName, key: Uint8Array) {
    // The typings of createCipheriv tell GCM and ChaCha20-Poly1305 apart, its behaviour does not.
    this.name = name as 'aes-128-gcm'
    this.key = createSecretKey(key)
  }

  seal(bytes: Uint8Array, offset: number, length: number, nonce: Uint8Array, aad: Uint8Array): void {
    const cipher = createCipheriv(this.name, this.key, nonce, options)
    cipher.setAAD(aad)
    bytes.set(cipher.update(bytes.subarray(offset, offset + length)), offset)
    cipher.final()
    bytes.set(cipher.getAuthTag(), offset + length)
  }

  open(bytes: Uint8Array, offset: number, length: number, nonce: Uint8Array, aad: Uint8Array): boolean {
    const decipher = createDecipheriv(this.name, this.key, nonce, options)
    decipher.setAAD(aad)
    decipher.setAuthTag(bytes.subarray(offset + length, offset + length + TAG_BYTES))
    const plaintext = decipher.update(bytes.subarray(offset, offset + length))
    try {
      decipher.final()
    } catch {
      return false
    }
    bytes.set(plaintext, offset)
    return true
  }
}
