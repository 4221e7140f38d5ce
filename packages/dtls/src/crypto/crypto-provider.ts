/** The hash functions of the TLS 1.2 suites. */
export type HashName = 'sha256' | 'sha384'

/** The AEAD algorithms of the suites. All have 12-byte nonces and 16-byte tags. */
export type AeadName = 'aes-128-gcm' | 'aes-256-gcm' | 'chacha20-poly1305'

/** One AEAD key, for one direction. Works on bytes in place. */
export interface AeadKey {
  /**
   * Encrypts `bytes[offset, offset + length)` in place and writes the 16-byte tag behind it. `nonce` (12 bytes) and `aad`
   * are read only during the call.
   */
  seal(bytes: Uint8Array, offset: number, length: number, nonce: Uint8Array, aad: Uint8Array): void
  /**
   * Checks the 16-byte tag behind `bytes[offset, offset + length)` and decrypts in place. Returns whether it authenticated;
   * **when it did not, `bytes` is as it was**, because a record may be tried against several keys.
   */
  open(bytes: Uint8Array, offset: number, length: number, nonce: Uint8Array, aad: Uint8Array): boolean
}

/** The primitives that the machines need. `nodeCrypto` of `dtls/io` provides them over node:crypto. */
export interface CryptoProvider {
  /** Prepares a key: 16 bytes for `aes-128-gcm`, 32 for the others. */
  aead(name: AeadName, key: Uint8Array): AeadKey
  /** The hash of the concatenation of `parts`. */
  hash(name: HashName, ...parts: readonly Uint8Array[]): Uint8Array
  /** The HMAC of the concatenation of `parts`, RFC 2104. */
  hmac(name: HashName, key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array
}
