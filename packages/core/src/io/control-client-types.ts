import type { TLSSocket } from 'node:tls'
import type { LoginForm } from '../protocol/login-form.ts'
import type { TunnelParameters } from '../protocol/tunnel-parameters.ts'
import type { TunnelRequest } from '../protocol/tunnel-request.ts'
import type { TlsAeadMaker } from '../tls/tls-crypto.ts'

export interface ControlClientOptions {
  /** `https://host[:port][/group]`; the scheme may be left out. */
  readonly url: string
  /** `pin-sha256:` and the base64 SHA-256 of the gateway's public key. When given, it alone decides whom to trust. */
  readonly serverPin?: string
  /** Authorities to trust instead of the system's, PEM. */
  readonly ca?: string | readonly string[]
  /** A client certificate, PEM. */
  readonly certificate?: { readonly cert: string; readonly key: string; readonly passphrase?: string }
  /** Accepts any certificate: everything that the tunnel carries can be read and changed on the way. @defaultValue false */
  readonly dangerouslySkipServerVerification?: boolean
  /** @defaultValue 'OpenConnect VPN Agent (Twinbore)' */
  readonly userAgent?: string
  /** As in `ControlListenerOptions`: lets `StreamChannel` take the tunnel's records over from Node's TLS. */
  readonly recordCipher?: TlsAeadMaker
  /** For TCP and TLS, and for each reply. @defaultValue 30 */
  readonly replySeconds?: number
}

/** What the login forms ask for. */
export interface LoginCredentials {
  readonly username?: string
  readonly password?: string
  /** Answers to password fields after the first one (a one-time password), in order. */
  readonly furtherSecrets?: readonly string[]
  /** The value or the label of a group. */
  readonly group?: string
  /** Asked when a form has fields that nothing is known for, with the values filled in so far; gives the rest, or `undefined` to give up. */
  readonly answerForm?: (
    form: LoginForm,
    filled: Readonly<Record<string, string>>,
  ) => Promise<Readonly<Record<string, string>> | undefined>
  readonly signal?: AbortSignal
}

export interface LoginResult {
  /** The session's cookie: good for `connect`, also again after the tunnel is lost. Secret. */
  readonly cookie: string
  readonly banner?: string
  /** Where to connect: the gateway may have redirected. */
  readonly host: string
  readonly port: number
}

/** A tunnel right after CONNECT. */
export interface TunnelConnection {
  readonly parameters: TunnelParameters
  /** Carries frames from now on. Paused, TCP_NODELAY set. */
  readonly socket: TLSSocket
  /** Bytes of the tunnel that came with the reply, to be taken before those of the socket. */
  readonly head: Uint8Array
  /** 32 bytes: the key of the datagram channel, exported from this TLS connection. */
  readonly pskKey: Uint8Array
  readonly tlsVersion: string
  readonly cipher: string
  readonly remoteAddress: string
  readonly remotePort: number
  readonly localAddress: string
}

export interface ConnectOptions {
  readonly cookie: string
  readonly request: TunnelRequest
  /** Where the login ended. @defaultValue the host and port of the URL */
  readonly host?: string
  readonly port?: number
  readonly signal?: AbortSignal
}
