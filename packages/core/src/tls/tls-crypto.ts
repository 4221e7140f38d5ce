/** AEADs of TLS 1.3 and of the suites of TLS 1.2 in use. All have nonces of 12 and tags of 16 bytes. */
export type TlsAeadName = 'aes-128-gcm' | 'aes-256-gcm' | 'chacha20-poly1305'

/** The hash of a cipher suite. */
export type TlsHashName = 'sha256' | 'sha384'

export const NONCE_BYTES = 12
export const TAG_BYTES = 16

/** The key of one direction of a connection. */
export interface TlsAead {
  /**
   * Encrypts `length` bytes of `bytes` at `at` in place and appends the tag of 16 bytes. The additional data are the
   * `aadLength` bytes of `aad` at `aadAt`, which may be part of `bytes`, before `at`.
   */
  seal(
    bytes: Uint8Array,
    at: number,
    length: number,
    nonce: Uint8Array,
    aad: Uint8Array,
    aadAt: number,
    aadLength: number,
  ): void
  /**
   * Decrypts `length` bytes of `input` at `at`, which the tag follows, to `output` at `outputAt`. Returns whether they are
   * authentic; if not, those bytes of `output` may be anything.
   */
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
  ): boolean
  /** Wipes the key and gives back what is held outside the heap. It is not used any more. */
  dispose(): void
}

/** Prepares a key: 16 bytes for `aes-128-gcm`, 32 for the others; the bytes are the caller's to wipe. */
export type TlsAeadMaker = (name: TlsAeadName, key: Uint8Array, direction: 'seal' | 'open') => TlsAead

/** The primitives that the record layer needs. */
export interface TlsCrypto {
  readonly aead: TlsAeadMaker
  /** HMAC, RFC 2104. */
  hmac(hash: TlsHashName, key: Uint8Array, data: Uint8Array): Uint8Array
}
