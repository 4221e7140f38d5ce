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

/**
 * The keys of one direction of one epoch, for whole DTLS 1.2 records. The header of a record (13 bytes) is written before a call
 * and holds all that nonce and additional data are made of; between header and plaintext GCM has the explicit nonce (8 bytes).
 */
export interface RecordCipher {
  /**
   * Protects `length` bytes of plaintext in place: writes the explicit nonce, if there is one, and the 16-byte tag. `at` is
   * where the header begins; `epoch` and `sequence` are those in it, and are the explicit nonce.
   */
  seal(bytes: Uint8Array, at: number, length: number, epoch: number, sequence: number): void
  /**
   * Checks and decrypts in place the record whose header begins at `at` and whose plaintext has `length` bytes. Returns
   * whether it authenticated. When it did not, the bytes of its fragment are as they were if `keeps` is set, as a record may be
   * tried against several keys; else they may be anything.
   */
  open(bytes: Uint8Array, at: number, length: number, keeps: boolean): boolean
  /** Gives back what the cipher holds outside the heap. It is not used any more. */
  dispose(): void
}

/** Makes the cipher of one direction of one epoch. */
export type RecordCipherMaker = (
  name: AeadName,
  key: Uint8Array,
  fixedIv: Uint8Array,
  direction: 'seal' | 'open',
) => RecordCipher

/** The primitives that the machines need: `systemCrypto` of `dtls/io`, or `nodeCrypto`, which is node:crypto alone. */
export interface CryptoProvider {
  /** Prepares a key: 16 bytes for `aes-128-gcm`, 32 for the others. */
  aead(name: AeadName, key: Uint8Array): AeadKey
  /**
   * Prepares a key for whole records, where the provider knows a faster way than `aead`. `fixedIv` is the part of the nonce that
   * comes from the key block: 4 bytes for GCM, 12 for ChaCha20-Poly1305. What a cipher is made for is the only thing it is used for.
   */
  readonly records?: RecordCipherMaker | undefined
  /** The hash of the concatenation of `parts`. */
  hash(name: HashName, ...parts: readonly Uint8Array[]): Uint8Array
  /** The HMAC of the concatenation of `parts`, RFC 2104. */
  hmac(name: HashName, key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array
}
