/** One end of a flow. The address is text in its canonical form: `192.0.2.1`, `2001:db8::1`. */
export interface NetStackEndpoint {
  readonly address: string
  readonly port: number
}

/** Why a requested flow or a datagram is refused, and what its sender is told. IPv4 and IPv6 codes are those of RFC 792 and RFC 4443 §3.1. */
export type RefuseReason =
  /** TCP: a RST, as from a closed port. UDP: as `port-unreachable`. */
  | 'reset'
  /** ICMP 3/3, ICMPv6 1/4. */
  | 'port-unreachable'
  /** ICMP 3/1, ICMPv6 1/3. */
  | 'host-unreachable'
  /** ICMP 3/0, ICMPv6 1/0. */
  | 'net-unreachable'
  /** ICMP 3/2, ICMPv6 4/1. */
  | 'protocol-unreachable'
  /** ICMP 3/13, ICMPv6 1/1. */
  | 'admin-prohibited'
  /** Nothing; a SYN that comes again is a new request. */
  | 'silent'

/** What an ICMP error about packets of ours says, for both families. */
export type IcmpErrorKind =
  | 'port-unreachable'
  | 'host-unreachable'
  | 'net-unreachable'
  | 'protocol-unreachable'
  | 'admin-prohibited'
  | 'packet-too-big'
  | 'time-exceeded'
  | 'parameter-problem'

/** Why a flow ended otherwise than by both sides' FIN. */
export type FlowResetReason =
  /** The peer sent RST. */
  | 'peer'
  /** The peer answered `openTcp` with RST: nobody listens. */
  | 'refused'
  /** Retransmissions, keep-alive probes, or a request that nobody answered ran out of time. */
  | 'timed-out'
  /** An ICMP error ended an attempt to connect; its kind came before as `icmp-error`. */
  | 'unreachable'
  /** UDP: nothing was sent from inside for the idle time. */
  | 'idle'
  /** `abort` or `refuse` was called. */
  | 'local'
  /** `removeSource` was called. */
  | 'source-removed'

/** An echo request or reply, ICMP or ICMPv6. */
export interface EchoMessage {
  /** Who sent the request. */
  readonly source: string
  /** Whom it was sent to. */
  readonly destination: string
  readonly identifier: number
  readonly sequenceNumber: number
  readonly payload: Uint8Array
}

/**
 * What a `NetStack` tells its shell. Byte arrays belong to the receiver. A flow id is good from the output or the call that
 * gave it until `flow-closed`, the last word about a flow, was taken with `poll`; then another flow may get it.
 */
export type NetStackOutput =
  /**
   * A SYN or a first datagram came for a flow that doesn't exist. Answer with `accept` or `refuse`, at once or later. A UDP
   * flow is an inside endpoint: `destination` is only where its first datagram goes.
   */
  | {
      readonly type: 'flow-requested'
      readonly flow: number
      readonly protocol: 'tcp' | 'udp'
      readonly source: NetStackEndpoint
      readonly destination: NetStackEndpoint
    }
  /** The TCP handshake is complete. */
  | { readonly type: 'flow-established'; readonly flow: number }
  /** There is more to read than before; told at most once for each batch of packets. */
  | { readonly type: 'flow-readable'; readonly flow: number }
  /** `write` or `sendDatagram` takes bytes again, after it took less than all. */
  | { readonly type: 'flow-writable'; readonly flow: number }
  /** The peer sent FIN: once what is readable was read, nothing more comes. */
  | { readonly type: 'flow-ended'; readonly flow: number }
  /** The flow is over, and not as both sides wanted it: data may be missing, unread data is gone. `flow-closed` follows. */
  | { readonly type: 'flow-reset'; readonly flow: number; readonly reason: FlowResetReason }
  /** The last word about a flow. Without `flow-reset` before it, both sides' FIN went through and everything was read. */
  | { readonly type: 'flow-closed'; readonly flow: number }
  /** A datagram came from inside on its way to `remote` (gateway), or from `remote` to the bound endpoint (client). */
  | {
      readonly type: 'datagram'
      readonly flow: number
      readonly remote: NetStackEndpoint
      readonly bytes: Uint8Array
    }
  /** Somebody inside pings a host that isn't the stack itself. Answer with `echoReply` or `refuseEcho`, or not at all. */
  | ({ readonly type: 'echo-requested' } & EchoMessage)
  /** The answer to a `sendEcho`; `source` and `destination` are those of the request. */
  | ({ readonly type: 'echo-replied' } & EchoMessage)
  /**
   * An ICMP error came about a packet of this flow. TCP: it ended `openTcp` (RFC 9293 §3.9.2.2), `flow-reset` follows; errors
   * that a connection survives aren't told. UDP: the flow goes on, `remote` is where the packet had gone. `mtu`: of
   * `packet-too-big`.
   */
  | {
      readonly type: 'icmp-error'
      readonly flow: number
      readonly kind: IcmpErrorKind
      readonly remote?: NetStackEndpoint
      readonly mtu?: number
    }
