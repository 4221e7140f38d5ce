/** Why a handshake or an association failed. A closed set: `switch (error.code)` can be exhaustive. */
export type DtlsErrorCode =
  /** The handshake did not complete in time. */
  | 'ERR_DTLS_HANDSHAKE_TIMEOUT'
  /** The handshake ran to its end but the peer's Finished never authenticated: the pre-shared keys differ. */
  | 'ERR_DTLS_PSK_MISMATCH'
  /** `findPsk` knows no key for the peer's session id and identity. */
  | 'ERR_DTLS_UNKNOWN_PSK'
  /** The peers share no version, cipher suite or required extension. */
  | 'ERR_DTLS_NEGOTIATION_FAILED'
  /** The peer broke the protocol in an authenticated or otherwise final way. */
  | 'ERR_DTLS_PROTOCOL_VIOLATION'
  /** The peer ended the handshake or the association with a fatal alert; see `alert`. */
  | 'ERR_DTLS_PEER_ALERT'
  /** The keys have protected, or failed to open, as many records as is safe. */
  | 'ERR_DTLS_KEY_LIMIT'
  /** The datagram socket under a shell failed; see `cause`. */
  | 'ERR_DTLS_SOCKET'

/** A failure that ended one handshake or one association. */
export class DtlsError extends Error {
  override readonly name = 'DtlsError'
  readonly code: DtlsErrorCode
  /** The alert that was received or sent, by its RFC 5246 §7.2 name, where there was one. */
  readonly alert: string | undefined

  constructor(code: DtlsErrorCode, message: string, options?: ErrorOptions & { readonly alert?: string }) {
    super(message, options)
    this.code = code
    this.alert = options?.alert
  }
}
