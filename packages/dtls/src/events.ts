import type { CipherSuiteName } from './crypto/cipher-suites.ts'
import type { DtlsError } from './errors.ts'

/** Why an association ended. */
export type CloseReason =
  /** `close` was called. */
  | 'local'
  /** The peer said close_notify. */
  | 'peer'
  /** The peer sent a fatal alert. */
  | 'peer-alert'
  /** A newer association with the same peer or the same session id took its place. */
  | 'replaced'
  /** The handshake failed or timed out. */
  | 'handshake-failed'
  /** The keys are worn out. */
  | 'key-limit'

/** What both sides agreed on. */
export interface Negotiated {
  readonly version: 'DTLSv1.2'
  readonly cipherSuite: CipherSuiteName
  /** The session id of the client's hello: the App-ID of OpenConnect. Not one that can be resumed. 0 to 32 bytes. */
  readonly sessionId: Uint8Array
  /** The identity that the client named its key by. */
  readonly identity: Uint8Array
  /** Bytes that protection adds to a plaintext: header, explicit nonce and tag; 37 for GCM, 29 for ChaCha20-Poly1305. */
  readonly overhead: number
  /** Whether the keys are bound to the whole handshake, RFC 7627. */
  readonly extendedMasterSecret: boolean
  /** The longest plaintext that the peer takes, in bytes. RFC 8449. */
  readonly maxPlaintextBytes: number
}

/** Outputs of `DtlsAssociation`. */
export type AssociationOutput =
  /** A datagram for the peer. */
  | { readonly type: 'transmit'; readonly bytes: Uint8Array }
  /** The handshake is complete; `send` and the batch methods work from here on. Once. */
  | ({ readonly type: 'established' } & Negotiated)
  /** Application data that came through `handleDatagram`. */
  | { readonly type: 'received'; readonly bytes: Uint8Array }
  /** The keys have protected so many records that a new association should replace this one soon. Once. */
  | { readonly type: 'key-limit-near' }
  /** The end. Once, and last. */
  | { readonly type: 'closed'; readonly reason: CloseReason; readonly error?: DtlsError }

/** Outputs of `DtlsServer`. */
export type ServerOutput =
  /** A datagram for an endpoint. */
  | { readonly type: 'transmit'; readonly endpoint: number; readonly bytes: Uint8Array }
  /** A handshake is complete. `association` names it from here on; the number comes back into use some time after `closed`. */
  | ({ readonly type: 'established'; readonly association: number; readonly endpoint: number } & Negotiated)
  /** Application data that came through `handleDatagram`. */
  | { readonly type: 'received'; readonly association: number; readonly bytes: Uint8Array }
  /** The peer was heard, authenticated and with a newer record, from another endpoint; answers go there now. */
  | { readonly type: 'endpoint-changed'; readonly association: number; readonly from: number; readonly to: number }
  /** As for `DtlsAssociation`. */
  | { readonly type: 'key-limit-near'; readonly association: number }
  /** The end of an association that was established. */
  | { readonly type: 'closed'; readonly association: number; readonly reason: CloseReason; readonly error?: DtlsError }
  /** A handshake that never became an association. */
  | {
      readonly type: 'handshake-failed'
      readonly endpoint: number
      readonly sessionId: Uint8Array
      readonly error: DtlsError
    }
