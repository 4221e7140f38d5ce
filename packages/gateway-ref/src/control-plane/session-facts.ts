import type { ActiveChannel, CloseReason, FailoverReason, LoginIdentity } from '@twinbore/core'

/** What the outside may know of a session. Addresses are text. */
export interface SessionFacts {
  /** Names the session in events and log lines; never used twice by one gateway. */
  readonly id: number
  readonly identity: LoginIdentity
  readonly remoteAddress: string
  readonly userAgent?: string
  readonly ipv4?: string
  readonly ipv6?: string
  readonly activeChannel: ActiveChannel
  /** Bytes of packets from the client to the corporate network, and back. */
  readonly bytesOutbound: number
  readonly bytesInbound: number
}

/** Events of a `Gateway`. A session that comes back with its cookie is still the same session. */
export interface GatewayEvents {
  /** A client has its tunnel for the first time. */
  'session-established': (event: { readonly session: SessionFacts }) => void
  /** A client came back with its cookie. */
  'session-resumed': (event: { readonly session: SessionFacts }) => void
  /** Data moves to another channel; `from` is `none` for the first, `to` is `none` while the client is away. */
  'channel-changed': (event: {
    readonly session: SessionFacts
    readonly from: ActiveChannel
    readonly to: ActiveChannel
    readonly reason: FailoverReason
  }) => void
  /** The end of a session, with its final counts. */
  'session-closed': (event: {
    readonly session: SessionFacts
    readonly reason: CloseReason
    readonly seconds: number
  }) => void
  /** Credentials were refused. */
  'login-rejected': (event: {
    readonly remoteAddress: string
    readonly username?: string
    readonly reason: string
  }) => void
}
