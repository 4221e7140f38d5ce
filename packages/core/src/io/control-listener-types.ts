import type { Socket } from 'node:net'
import type { SecureContextOptions, TLSSocket } from 'node:tls'
import type { CredentialsAnswer, CredentialsCheck, LoginIdentity, PeerCertificate } from '../protocol/credentials.ts'
import type { LoginRejection } from '../protocol/gateway-login.ts'
import type { GatewayLoginOptions } from '../protocol/gateway-login-options.ts'
import type { HeaderLines } from '../protocol/http-message.ts'
import type { TunnelParameters } from '../protocol/tunnel-parameters.ts'
import type { TunnelRequest } from '../protocol/tunnel-request.ts'
import type { Random } from '../runtime/random.ts'
import type { Clock } from '../runtime/time.ts'
import type { TlsAeadMaker } from '../tls/tls-crypto.ts'

export interface ControlListenerOptions {
  /** Certificate chain and key (`cert`, `key` or `pfx`), and anything else that `tls.createSecureContext` takes. */
  readonly tls: SecureContextOptions
  /** Authorities of client certificates, PEM. When given, clients are asked for a certificate. */
  readonly clientCa?: string | readonly string[]
  /** Methods, texts and limits of the login dialogue. */
  readonly login: GatewayLoginOptions
  /** Checks credentials. A rejected promise counts as `unavailable`. Equal time for unknown users is the checker's duty. */
  readonly checkCredentials: (check: CredentialsCheck) => Promise<CredentialsAnswer>
  /** Opens a session for somebody who has passed every check, and gives the cookie of its `SessionRegistry`. */
  readonly openSession: (identity: LoginIdentity, context: LoginContext) => SessionGrant | Promise<SessionGrant>
  readonly limits?: ControlListenerLimits
  /**
   * Makes the ciphers of tunnels' TLS records. With it, `StreamChannel` takes the record layer of a tunnel over from Node's TLS,
   * which costs a fraction of the time per packet; the traffic secrets of a connection are then held in memory until its tunnel is
   * accepted. Without it, Node's TLS keeps the records.
   */
  readonly recordCipher?: TlsAeadMaker
  /** @defaultValue the computer's */
  readonly clock?: Clock
  /** @defaultValue the operating system's */
  readonly random?: Random
}

/** Where a login came from. */
export interface LoginContext {
  readonly remoteAddress: string
  readonly userAgent?: string
}

export type SessionGrant =
  | { readonly cookie: string }
  /** The client gets 503 and reads the reason. */
  | { readonly refused: string }

export interface ControlListenerLimits {
  /** Connections that have no tunnel yet, in all. Further ones are closed at once. @defaultValue 2048 */
  readonly maxConnections?: number
  /** The same, of one address (one /64 for IPv6). @defaultValue 128 */
  readonly maxConnectionsPerAddress?: number
  /** @defaultValue 40 */
  readonly handshakeSeconds?: number
  /** From the TCP connection to its tunnel. @defaultValue 240 */
  readonly loginSeconds?: number
}

/** Events of a `ControlListener`. Names of machine outputs, one object each. */
export interface ControlListenerEvents {
  /** A CONNECT request: answer it with `accept` or `refuse`. Without a listener for this event it is refused. */
  tunnel: (attempt: TunnelAttempt) => void
  /** Credentials were refused: for logs and for counting tries of an address or user. */
  'login-rejected': (event: {
    readonly remoteAddress: string
    readonly username?: string
    readonly reason: LoginRejection
  }) => void
  'login-established': (event: { readonly identity: LoginIdentity; readonly remoteAddress: string }) => void
}

/** A client asks for its tunnel. Exactly one of `accept` and `refuse` answers it. */
export interface TunnelAttempt {
  /** The value of the `webvpn` cookie; what it is worth is for the `SessionRegistry` to say. */
  readonly cookie: string | undefined
  readonly request: TunnelRequest
  readonly remoteAddress: string
  readonly remotePort: number
  readonly localAddress: string
  readonly localPort: number
  /** The verified certificate of this connection, if any. */
  readonly peerCertificate?: PeerCertificate
  /** 32 bytes: the key of the datagram channel, exported from this TLS connection. */
  readonly pskKey: Uint8Array
  /** Such as `TLSv1.3`. */
  readonly tlsVersion: string
  /** OpenSSL's name of the cipher suite. */
  readonly cipher: string
  /**
   * Writes `HTTP/1.1 200 CONNECTED` with the headers of `parameters` and hands the connection over. An offer of a datagram
   * channel goes out only to a client that lists `PSK-NEGOTIATE`. Returns `undefined` when the client has gone meanwhile.
   * @throws TypeError when the attempt is answered already, or an extra header can't stand in a header line
   */
  accept(parameters: TunnelParameters, extraHeaders?: HeaderLines): EstablishedStream | undefined
  /** Answers 401 (the cookie is not acceptable) or 503, with `X-Reason`, and closes. */
  refuse(status: 401 | 503, reason: string): void
}

/** A connection that carries frames from now on. */
export interface EstablishedStream {
  /** Paused, TCP_NODELAY set. For `StreamChannel`, which may take the connection from it. */
  readonly socket: TLSSocket
  /** The TCP connection below, for as long as there is one: for watching and closing it. */
  readonly transport: Socket
  /** Bytes of the tunnel that have been read already, to be taken before those of the socket. */
  readonly head: Uint8Array
}
