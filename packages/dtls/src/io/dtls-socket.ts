import type { EventEmitter } from 'eventemitter3'
import type { DtlsError } from '../errors.ts'
import type { CloseReason, Negotiated } from '../events.ts'
import type { RemoteEndpoint } from './datagram-port.ts'

/** Events of one association, on either side. */
export interface DtlsSocketEvents {
  /** The handshake is complete. On the server's side it is over before the socket exists, so it is not emitted there. */
  established: (event: Negotiated) => void
  /** The plaintext of one record. */
  message: (bytes: Uint8Array) => void
  /** The peer is somewhere else now, proven by a newer record. Server side only. */
  'endpoint-changed': (event: { readonly from: RemoteEndpoint; readonly to: RemoteEndpoint }) => void
  /** The end; nothing comes after it. A failure, if it was one, is in `error`. */
  closed: (event: { readonly reason: CloseReason; readonly error?: DtlsError }) => void
}

/** One association over a datagram socket, with the manner of a `tls.TLSSocket`, but for datagrams. */
export interface DtlsSocket extends EventEmitter<DtlsSocketEvents> {
  /** Where the peer is. */
  readonly remote: RemoteEndpoint
  /** What was agreed on, once established. */
  readonly negotiated: Negotiated | undefined
  /**
   * Sends one datagram of 1 to `negotiated.maxPlaintextBytes` bytes. Returns false when it could not go out: not established
   * (any more), or keys used up. @throws RangeError when empty or longer than 16384 bytes
   */
  send(plaintext: Uint8Array): boolean
  /** Keying material bound to this association, RFC 5705. @throws RangeError */
  exportKeyingMaterial(length: number, label: string, context?: Uint8Array): Uint8Array
  /** Says close_notify and ends. */
  close(): void
}
