import type { FrameType } from './frame.ts'

/** One way to carry frames of a session: `stream` is TLS over TCP, `datagram` is DTLS over UDP. */
export type ChannelKind = 'stream' | 'datagram'

/** Where data goes: a channel, or `none` while the session has no usable one. */
export type ActiveChannel = ChannelKind | 'none'

/** Why data moved to another channel. */
export type FailoverReason =
  /** The channel came up (the first of the session, or the datagram channel proven for the first time). */
  | 'established'
  /** Frames sent on the datagram channel stayed without any sign of life in return. */
  | 'datagram-silent'
  /** The datagram channel ended: closed by the peer, refused by the network, or its handshake failed. */
  | 'datagram-closed'
  /** The peer sends its data on the stream channel, or said that it will. */
  | 'peer-left-datagram'
  /** The datagram channel answers again. */
  | 'datagram-recovered'
  /** The peer sends its data on the datagram channel again. */
  | 'peer-returned'
  /** A new stream replaced the old one, after a loss or to renew keys; the datagram channel has to prove itself again. */
  | 'stream-renewed'
  /** The stream connection ended or is dead. */
  | 'stream-lost'

/** Why the stream connection of a session is gone, as the hand saw it. */
export type StreamLoss =
  /** The peer ended the TCP connection. */
  | 'ended'
  /** A socket or TLS error. */
  | 'error'
  /** The peer took nothing for longer than the write deadline. */
  | 'write-timeout'
  /** What came in was not the protocol (`StreamViolation`). */
  | 'protocol-violation'

/** Why the datagram channel of a session is gone or did not come up, as the hand saw it. */
export type DatagramLoss =
  /** The peer closed the association. */
  | 'closed-by-peer'
  /** The network said that the peer's port or host is unreachable. */
  | 'unreachable'
  | 'handshake-timeout'
  | 'handshake-failed'
  /** A socket error, an association evicted, ... */
  | 'error'

/** Why an attempt to bring the stream connection back failed. `refused`: the cookie is no longer good, which is final. */
export type ReconnectFailure = 'unreachable' | 'timeout' | 'refused'

/** Why a session is over. Final. */
export type CloseReason =
  /** The user (of the client) left. */
  | 'user-left'
  /** No user data for the idle time. */
  | 'idle-timeout'
  /** The session's maximum age. */
  | 'session-expired'
  /** An administrator ended it. */
  | 'administrator'
  /** The session's permission was withdrawn. */
  | 'revoked'
  /** The gateway stops. */
  | 'gateway-shutdown'
  /** The gateway hands the session over: the cookie stays good and the client is expected back, here or elsewhere. */
  | 'drained'
  /** Another session of the same user took its place. */
  | 'replaced'
  /** The gateway: no channel for the time that a disconnected session is kept. */
  | 'disconnected-too-long'
  /** The client: the stream could not be brought back in `reconnectSeconds`. */
  | 'reconnect-timeout'
  /** The client: the gateway no longer accepts the cookie. */
  | 'refused'
  /** The client: the gateway ended the session and gave no reason that has a name here; see `text`. */
  | 'ended-by-gateway'
  /** The peer broke the protocol. */
  | 'protocol-violation'

/** What session machines put out. The first group is for both roles. */
export type SessionOutput =
  /** Send this frame on this channel; it is never dropped for lack of room. */
  | {
      readonly type: 'frame'
      readonly channel: ChannelKind
      readonly frameType: FrameType
      readonly payload: Uint8Array
    }
  /** Data goes to `to` from now on. */
  | {
      readonly type: 'channel-changed'
      readonly from: ActiveChannel
      readonly to: ActiveChannel
      readonly reason: FailoverReason
    }
  /** The longest packet of the tunnel is now `mtu` bytes. */
  | { readonly type: 'mtu-changed'; readonly mtu: number }
  /** End the stream connection, after what is queued. No `streamClosed` is expected for it. */
  | { readonly type: 'close-stream' }
  /** Close the association of the datagram channel, an attempt under way included. No `datagramClosed` or `datagramFailed` is expected. */
  | { readonly type: 'close-datagram' }
  /** The session is over: the last output. `text` is what the peer said or what the user may be told. */
  | { readonly type: 'closed'; readonly reason: CloseReason; readonly text: string }

/** What a client's session machine puts out. */
export type ClientSessionOutput =
  | SessionOutput
  /**
   * Make a new stream connection with the cookie now, beside what there is. Answer with `streamAttached` (the new one
   * takes over, close the old one) or `reconnectFailed`. `attempt` counts from 1.
   */
  | { readonly type: 'reconnect-stream'; readonly cause: 'lost' | 'rekey'; readonly attempt: number }
  /**
   * Open a datagram channel now, with the offer and the key of the newest stream. Answer with `datagramOpened` (a new
   * association takes over from the one before, close that) or `datagramFailed`. Asked again before the answer, drop
   * the attempt under way. `attempt` counts from 1.
   */
  | { readonly type: 'open-datagram'; readonly attempt: number }

/** Frames and bytes of user data, one direction and channel. Bytes are those of IP packets. */
export interface TrafficCount {
  packets: number
  bytes: number
}

/** What a session counted since it began. */
export interface SessionStats {
  readonly received: Readonly<Record<ChannelKind, Readonly<TrafficCount>>>
  readonly sent: Readonly<Record<ChannelKind, Readonly<TrafficCount>>>
  /** Moves between two channels. */
  readonly channelChanges: number
  /** Probes of the peer that stayed without an answer because they came too fast. */
  readonly probesThrottled: number
  /** Control frames that had no meaning where they came. */
  readonly framesIgnored: number
}
