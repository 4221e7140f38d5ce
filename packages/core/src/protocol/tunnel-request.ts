import type { IpAddress } from '../address/ip-address.ts'

/** What a client says about its device; all of it is its own claim. */
export interface DeviceClaims {
  readonly clientVersion?: string
  /** Such as `android` or `apple-ios`. */
  readonly platform?: string
  readonly platformVersion?: string
  readonly deviceType?: string
  readonly uniqueId?: string
}

/** What a client asks for in its CONNECT request: one value, written as headers by the client and read by the gateway. */
export interface TunnelRequest {
  readonly hostname?: string
  readonly userAgent?: string
  /** Address families that the client wants. */
  readonly ipv4: boolean
  readonly ipv6: boolean
  /** Whether the client understands an IPv6 address beside an IPv4 one, with a prefix length. */
  readonly fullIpv6: boolean
  /** The addresses that it had before and would like again: a wish. At most one of each family. */
  readonly addresses: readonly IpAddress[]
  /** The link MTU that the client sees, 576 to 16384. */
  readonly baseMtu?: number
  /** The tunnel MTU that the client would like, 576 to 16384. */
  readonly mtu?: number
  /** Compression methods that the client can do; empty means none. */
  readonly streamEncodings: readonly string[]
  /** Absent when the client wants no datagram channel. */
  readonly datagram?: {
    /** Names as sent, `PSK-NEGOTIATE` among them when the client can use a key of the TLS exporter. */
    readonly cipherSuites: readonly string[]
    /** Cisco's names for DTLS 1.2. */
    readonly dtls12CipherSuites: readonly string[]
    readonly encodings: readonly string[]
  }
  readonly device: DeviceClaims
}
