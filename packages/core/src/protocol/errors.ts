import { ProtocolError } from '../runtime/protocol-error.ts'

/** Why something of `core` failed for good. The set is closed: `switch (error.code)` can be exhaustive. */
export type CoreErrorCode =
  /** No TCP connection to the gateway, or it broke off. */
  | 'ERR_CONNECTION_FAILED'
  /** The gateway's certificate fits neither the pin nor a trusted authority, or not the name. */
  | 'ERR_GATEWAY_NOT_TRUSTED'
  /** The gateway refused the credentials. */
  | 'ERR_LOGIN_REJECTED'
  /** The gateway asked for something that the caller had no answer to. */
  | 'ERR_LOGIN_UNANSWERED'
  /** The gateway wants a client certificate, and there is none. */
  | 'ERR_LOGIN_CERTIFICATE_REQUIRED'
  /** The gateway's part of the login dialogue can't be understood or goes beyond a limit. */
  | 'ERR_LOGIN_PROTOCOL'
  /** The login took longer than its limit. */
  | 'ERR_LOGIN_TIMEOUT'
  /** The gateway doesn't know the cookie (any more): a new login is needed. */
  | 'ERR_COOKIE_REJECTED'
  /** The gateway refused the tunnel for another reason. */
  | 'ERR_TUNNEL_REFUSED'
  /** The gateway's answer to CONNECT, or a frame, can't be understood. */
  | 'ERR_TUNNEL_PROTOCOL'
  /** The caller gave up. */
  | 'ERR_ABORTED'

/** A failure of `core`: final for the object that it belongs to. Messages never hold cookies, passwords or keys. */
export class CoreError extends ProtocolError<CoreErrorCode> {
  override readonly name: string = 'CoreError'
}
