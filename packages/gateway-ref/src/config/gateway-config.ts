import type { IpAddress, Prefix } from '@twinbore/core/address'

/** What the gateway reads: complete, checked and frozen. Made from `GatewayOptions` by `resolveGatewayOptions` only. */
export interface GatewayConfig {
  readonly listen: ListenConfig
  readonly tls: TlsConfig
  readonly pool: PoolConfig
  readonly dns: DnsConfig
  readonly routes: RoutesConfig
  readonly egress: EgressConfig
  readonly auth: AuthConfig
  /** Absolute path of the access policy. */
  readonly access: string | undefined
  readonly session: SessionConfig
  readonly datagram: DatagramConfig
  readonly mtu: number
  readonly dataPlane: DataPlaneConfig
  readonly log: LogConfig
}

export interface ListenConfig {
  /** Address to listen on, TCP and UDP. @defaultValue '0.0.0.0' */
  readonly address: string
  /** TCP and UDP port; 0 lets the system choose one. @defaultValue 443 */
  readonly port: number
}

/** Where a PEM comes from: an absolute path, or text that was given in place of one. */
export type PemSource = { readonly file: string } | { readonly text: string }

export type TlsConfig =
  | {
      readonly type: 'pem'
      readonly certificate: PemSource
      readonly key: PemSource
      readonly passphraseFile: string | undefined
    }
  | { readonly type: 'pkcs12'; readonly file: string; readonly passphraseFile: string | undefined }

export interface PoolConfig {
  readonly ipv4: Prefix | undefined
  readonly ipv6: Prefix | undefined
  readonly quarantineSeconds: number
}

export interface DnsConfig {
  readonly servers: readonly IpAddress[]
  /** Name servers that the gateway asks in place of its clients, in order. */
  readonly forward: readonly IpAddress[]
  readonly searchDomains: readonly string[]
  readonly splitDomains: readonly string[]
}

export interface RoutesConfig {
  readonly include: readonly Prefix[]
  readonly exclude: readonly Prefix[]
  readonly maxRules: number
}

export interface EgressConfig {
  readonly mode: 'sockets' | 'translate' | 'kernel'
  /** Destinations that clients may reach although the rules refuse them. */
  readonly allow: readonly Prefix[]
  readonly ports: { readonly first: number; readonly last: number }
  readonly addresses: readonly IpAddress[]
  readonly transit: { readonly ipv4: IpAddress; readonly ipv6: IpAddress }
}

export interface AuthConfig {
  /** Absolute path of the users file. */
  readonly users: string | undefined
  readonly clientCa: PemSource | undefined
  readonly certificateUser: 'cn' | 'uid' | 'email'
  readonly require: 'any' | 'all'
}

export interface SessionConfig {
  readonly maxSeconds: number
  readonly idleSeconds: number
  readonly dpdSeconds: number
  readonly cookieSeconds: number
  /** 0: never. */
  readonly rekeySeconds: number
  readonly maxSessions: number
  readonly maxSessionsPerUser: number
  /** In bits per second, by direction. */
  readonly rate: { readonly upload: number | undefined; readonly download: number | undefined }
}

export interface DatagramConfig {
  readonly enabled: boolean
  readonly dpdSeconds: number
}

export interface DataPlaneConfig {
  readonly driver: 'auto' | 'worker' | 'loop' | 'portable'
  readonly workers: number
  /** What the kernel is asked for; it may do less. */
  readonly offload: OffloadConfig
  /** How records are protected: by libcrypto where it passes a self-test, or by node:crypto. */
  readonly records: 'auto' | 'node'
  /** Who makes the TLS records of stream channels: the own record layer, or Node's TLS. */
  readonly streams: 'own' | 'node'
}

export interface OffloadConfig {
  readonly tun: 'all' | 'tcp' | 'write' | 'plain'
  readonly gso: boolean
  readonly gro: boolean
}

export interface LogConfig {
  readonly level: 'debug' | 'info' | 'warn' | 'error' | 'silent'
  readonly format: 'auto' | 'json' | 'text'
}
