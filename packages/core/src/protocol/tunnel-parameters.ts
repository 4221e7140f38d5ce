import type { IpAddress } from '../address/ip-address.ts'
import type { Prefix } from '../address/prefix.ts'

/** How a channel is renewed. `ssl`: renegotiation or key update in place; `new-tunnel`: a fresh connection with the cookie. */
export type RekeyMethod = 'none' | 'ssl' | 'new-tunnel'

/** Timers of one channel, in seconds; 0 means off. */
export interface ChannelTimers {
  /** Dead-peer detection: silence after which a probe goes out. */
  readonly dpdSeconds: number
  /** A keepalive goes out when nothing was sent for so long. */
  readonly keepaliveSeconds: number
  readonly rekeySeconds: number
  readonly rekeyMethod: RekeyMethod
}

/** What the gateway offers for the datagram channel. */
export interface DatagramOffer extends ChannelTimers {
  /** UDP port; the address is that of the TCP peer. */
  readonly port: number
  /** 32 bytes that the client puts into the session id of its DTLS hello, new for each CONNECT. */
  readonly appId: Uint8Array
}

/**
 * What a gateway grants in its answer to CONNECT: one value, written as headers by the gateway and read from headers by
 * the client (`tunnel-reply.ts`). Times are seconds; absent or 0 means "none".
 */
export interface TunnelParameters {
  readonly ipv4?: { readonly address: IpAddress; readonly netmask: IpAddress }
  readonly ipv6?: { readonly address: IpAddress; readonly prefixLength: number }
  readonly dns: {
    readonly servers: readonly IpAddress[]
    readonly searchDomains: readonly string[]
    /** Domains resolved through the tunnel; empty means no split. */
    readonly splitDomains: readonly string[]
    /** Whether no name may be resolved outside the tunnel. */
    readonly tunnelAll: boolean
    readonly winsServers?: readonly IpAddress[]
  }
  readonly routes: {
    /** Empty means everything goes through the tunnel. */
    readonly include: readonly Prefix[]
    readonly exclude: readonly Prefix[]
  }
  /** The longest IP packet of the tunnel. */
  readonly mtu: number
  /** The link MTU as the gateway sees it. */
  readonly baseMtu: number
  readonly stream: ChannelTimers
  /** Absent when the gateway has no datagram channel for this client. */
  readonly datagram?: DatagramOffer
  /** Seconds without user data after which the gateway ends the session. */
  readonly idleSeconds: number
  /** The session's maximum age, and what is left of it. */
  readonly sessionSeconds: number
  readonly sessionRemainingSeconds: number
  /** How long a session without a channel is kept for its client to come back. */
  readonly disconnectedSeconds: number
  /** Whether a family without a tunnel address goes outside the tunnel (true) or is blocked (false). */
  readonly clientBypass: boolean
  readonly banner?: string
  readonly hostname?: string
  /** The gateway's product name. Gateways keep it to themselves unless told otherwise. */
  readonly serverName?: string
  /** Whether the client looks up the gateway's name anew when it reconnects. */
  readonly dynamicDns?: boolean
  readonly proxy?: WebProxy
}

/** The web proxy that a client is told to use inside the tunnel; texts as its browser takes them. */
export interface WebProxy {
  readonly pacUrl?: string
  readonly server?: string
  readonly exceptions?: readonly string[]
}
