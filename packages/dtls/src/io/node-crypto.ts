import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createSecretKey,
  type KeyObject,
  randomFillSync,
} from 'node:crypto'
import type { AeadKey, AeadName, CryptoProvider } from '../crypto/crypto-provider.ts'
import type { Random } from '../machine.ts'

/** The primitives of OpenSSL, through node:crypto. */
export const nodeCrypto: CryptoProvider = {
  aead: (name, key) => new NodeAeadKey(name, key),
  hash(name, ...parts) {
    const hash = createHash(name)
    for (const part of parts) hash.update(part)
    return hash.digest()
  },
  hmac(name, key, ...parts) {
    const hmac = createHmac(name, key)
    for (const part of parts) hmac.update(part)
    return hmac.digest()
  },
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
