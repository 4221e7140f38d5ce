/** One end of a flow. */
export interface FlowEnd {
  /** 4 or 16 bytes. */
  readonly address: Uint8Array
  readonly port: number
}

/**
 * Where a connection is (RFC 9293 §3.3.2). `dialling` is ours: a SYN arrived, and nobody said yet whether it is
 * accepted. There is no `listen`: whoever owns the connections makes one for each new SYN.
 */
export type TcpState =
  | 'dialling'
  | 'syn-sent'
  | 'syn-received'
  | 'established'
  | 'fin-wait-1'
  | 'fin-wait-2'
  | 'close-wait'
  | 'closing'
  | 'last-ack'
  | 'time-wait'
  | 'closed'

/** What an ICMP error said about a packet of the connection. */
export type IcmpErrorKind = 'net-unreachable' | 'host-unreachable' | 'port-unreachable' | 'admin-prohibited'

export type TcpOutput =
  /** The handshake is complete. */
  | { readonly type: 'established' }
  /** There is more to read than before. Not repeated until still more arrives. */
  | { readonly type: 'readable' }
  /** The peer sent FIN and all before it arrived; some of that may still be unread. */
  | { readonly type: 'ended' }
  /** There is room again after a `write` that took less than it was given. */
  | { readonly type: 'writable' }
  /** The peer reset the connection. What arrived before and is unread can be read; it is not the whole stream. */
  | { readonly type: 'reset' }
  /** The peer answered the SYN with RST. */
  | { readonly type: 'refused' }
  /** The network answered the SYN with an error. */
  | { readonly type: 'unreachable'; readonly kind: IcmpErrorKind }
  /** The peer stopped answering. */
  | { readonly type: 'timed-out' }
  /** The connection is over, always the last output. In `time-wait` it comes when the wait ends. */
  | { readonly type: 'closed' }
