import { createCipheriv, createDecipheriv, createHmac, createSecretKey, type KeyObject } from 'node:crypto'
import { TAG_BYTES, type TlsAead, type TlsAeadName, type TlsCrypto } from '../tls/tls-crypto.ts'

/** The primitives of the record layer, through node:crypto. */
export const nodeTlsCrypto: TlsCrypto = {
  aead: (name, key) => new NodeTlsAead(name, key),
  hmac: (hash, key, data) => createHmac(hash, key).update(data).digest(),
}

const options = { authTagLength: TAG_BYTES }

/** A cipher object lives for one record: node:crypto can't rewind one. */
class NodeTlsAead implements TlsAead {
  private readonly name: 'aes-128-gcm'
  private key: KeyObject | undefined

  constructor(name: TlsAeadName, key: Uint8Array) {
    // The typings of createCipheriv tell GCM and ChaCha20-Poly1305 apart, its behaviour does not.
    this.name = name as 'aes-128-gcm'
    this.key = createSecretKey(key)
  }

  seal(
    bytes: Uint8Array,
    at: number,
    length: number,
    nonce: Uint8Array,
    aad: Uint8Array,
    aadAt: number,
    aadLength: number,
  ): void {
    const cipher = createCipheriv(this.name, this.key!, nonce, options)
    cipher.setAAD(aad.subarray(aadAt, aadAt + aadLength))
    bytes.set(cipher.update(bytes.subarray(at, at + length)), at)
    cipher.final()
    bytes.set(cipher.getAuthTag(), at + length)
  }

  open(
    input: Uint8Array,
    at: number,
    length: number,
    output: Uint8Array,
    outputAt: number,
    nonce: Uint8Array,
    aad: Uint8Array,
    aadAt: number,
    aadLength: number,
  ): boolean {
    const decipher = createDecipheriv(this.name, this.key!, nonce, options)
    decipher.setAAD(aad.subarray(aadAt, aadAt + aadLength))
    decipher.setAuthTag(input.subarray(at + length, at + length + TAG_BYTES))
    const plaintext = decipher.update(input.subarray(at, at + length))
    try {
      decipher.final()
    } catch {
      return false
    }
    output.set(plaintext, outputAt)
    return true
  }

  dispose(): void {
    this.key = undefined
  }
}
