import type { ListenConfig } from './gateway-config.ts'

/**
 * What the user of a gateway writes, in YAML or as an object: the same shape and the same checks for both. The JSON
 * Schema in `schema/gateway.schema.json` says the same to editors.
 */
export interface GatewayOptions {
  readonly listen?: Partial<ListenConfig> | undefined
  readonly tls: TlsOptions
  readonly pool: PoolOptions
  readonly dns?: DnsOptions | undefined
  readonly routes?: RoutesOptions | undefined
  readonly egress?: EgressOptions | undefined
  readonly auth: AuthOptions
  /** Path of an access policy: who of those who have logged in gets in, and to what. @defaultValue everybody, to everything */
  readonly access?: string | undefined
  readonly session?: SessionOptions | undefined
  readonly datagram?: DatagramOptions | undefined
  /** The longest IP packet a client may send or get, in bytes; each client agrees on its own value up to this. @defaultValue 1400 */
  readonly mtu?: number | undefined
  readonly dataPlane?: DataPlaneOptions | undefined
  readonly log?: LogOptions | undefined
}

/** The gateway's certificate: PEM files (or PEM text itself), or one PKCS#12 file. */
export type TlsOptions =
  | {
      /** PEM chain, the gateway's own certificate first: a path, or the text itself. */
      readonly certificate: string
      /** PEM private key that belongs to the certificate: a path, or the text itself. */
      readonly key: string
      /** File whose first line is the passphrase of an encrypted key. */
      readonly passphraseFile?: string | undefined
    }
  | {
      /** Path of a PKCS#12 file (.pfx, .p12) with the certificate, its chain and the key. */
      readonly pkcs12: string
      /** File whose first line is the passphrase. */
      readonly passphraseFile?: string | undefined
    }

/** Where clients get their addresses from; at least one family. */
export interface PoolOptions {
  /** IPv4 prefix, /30 or shorter, such as `192.168.77.0/24`. */
  readonly ipv4?: string | undefined
  /** IPv6 prefix, /126 or shorter, such as `fd77:77::/64`. */
  readonly ipv6?: string | undefined
  /** How long a released address rests before another user may get it. @defaultValue 60 */
  readonly quarantineSeconds?: number | undefined
}

export interface DnsOptions {
  /** Addresses of the name servers that clients are told to use. @defaultValue [] */
  readonly servers?: readonly string[] | undefined
  /**
   * Name servers that the gateway asks in place of its clients: they are told to use the gateway's own inside address.
   * With `egress.mode: sockets` only. @defaultValue []
   */
  readonly forward?: readonly string[] | undefined
  /** Domains appended to short names. @defaultValue [] */
  readonly searchDomains?: readonly string[] | undefined
  /** Domains resolved through the tunnel while others are not; empty means no split. @defaultValue [] */
  readonly splitDomains?: readonly string[] | undefined
}

export interface RoutesOptions {
  /** Prefixes that go through the tunnel; empty means everything. @defaultValue [] */
  readonly include?: readonly string[] | undefined
  /** Prefixes that stay outside. @defaultValue [] */
  readonly exclude?: readonly string[] | undefined
  /** Most rules, include and exclude together; a configuration with more is refused. @defaultValue 500 */
  readonly maxRules?: number | undefined
}

/** How packets leave to the corporate network. */
export interface EgressOptions {
  /**
   * `sockets`: ordinary sockets of the process, no rights needed; `translate`: our own translator over a TUN device;
   * `kernel`: masquerade of the kernel. @defaultValue 'sockets'
   */
  readonly mode?: 'sockets' | 'translate' | 'kernel' | undefined
  /**
   * Destinations that clients may reach although the rules refuse them: loopback, link-local, the host's own addresses.
   * The longest prefix decides, so an own address must be named itself. @defaultValue []
   */
  readonly allow?: readonly string[] | undefined
  /** Outside ports that clients' flows are given, first to last. @defaultValue '20000-60999' */
  readonly ports?: string | undefined
  /** Outside addresses of their own, routed to this host; empty means the host's own address, by port. @defaultValue [] */
  readonly addresses?: readonly string[] | undefined
  /** Inner addresses of the translator, rewritten to the host's own; change them only when they are taken. */
  readonly transit?: { readonly ipv4?: string | undefined; readonly ipv6?: string | undefined } | undefined
}

/** Who may log in; at least one of `users` and `clientCa`. */
export interface AuthOptions {
  /** Path of the users file, written by `twinbore user add`. */
  readonly users?: string | undefined
  /** PEM of the authority that issues client certificates: a path, or the text itself. */
  readonly clientCa?: string | undefined
  /** The part of a client certificate that names its user. @defaultValue 'cn' */
  readonly certificateUser?: 'cn' | 'uid' | 'email' | undefined
  /** With both `users` and `clientCa`: whether `any` of the two is enough, or `all` are asked for. @defaultValue 'any' */
  readonly require?: 'any' | 'all' | undefined
}

export interface SessionOptions {
  /** The longest a session lives, over all its reconnects. @defaultValue 3600 */
  readonly maxSeconds?: number | undefined
  /** Ends a session that carried no user data for so long; 0 means never. @defaultValue 0 */
  readonly idleSeconds?: number | undefined
  /** Silence after which a peer is probed; 0 means never. @defaultValue 30 */
  readonly dpdSeconds?: number | undefined
  /** How long a session without a channel is kept for its client to come back. @defaultValue 300 */
  readonly cookieSeconds?: number | undefined
  /** How often clients are to renew the keys of both channels, by a new tunnel; 0 means never. @defaultValue 86400 */
  readonly rekeySeconds?: number | undefined
  /** Most sessions at once; a login beyond it is refused and says so. @defaultValue 4096 */
  readonly maxSessions?: number | undefined
  /** Most sessions of one user at once. @defaultValue 16 */
  readonly maxSessionsPerUser?: number | undefined
  /** What one session may send (`upload`) and get (`download`), such as `50 Mbit/s`; `none` is no limit. @defaultValue none */
  readonly rate?: { readonly upload?: string | undefined; readonly download?: string | undefined } | undefined
}

export interface DatagramOptions {
  /** Whether clients get a DTLS channel beside the TLS one. @defaultValue true */
  readonly enabled?: boolean | undefined
  /** Silence on the DTLS channel after which a client probes it; twice as long, and it moves to TLS. @defaultValue 5 */
  readonly dpdSeconds?: number | undefined
}

export interface DataPlaneOptions {
  /**
   * What runs the data plane: `worker` is a thread of its own (Linux, egress modes `translate` and `kernel`), `loop` the event
   * loop of the thread that starts the gateway, `portable` the same without system calls of a certain system. `auto` takes
   * `worker` in the program where it can be had, and `loop` otherwise. @defaultValue 'auto'
   */
  readonly driver?: 'auto' | 'worker' | 'loop' | 'portable' | undefined
  /** How many threads share the work, 1 to 64; more than one needs `driver: 'worker'`. @defaultValue 1 */
  readonly workers?: number | undefined
  /** What the kernel is asked for. What it can't do is left out without being asked; this is for kernels that do it wrong. */
  readonly offload?: OffloadOptions | undefined
  /** How records are protected: `auto` is libcrypto where it passes a self-test, `node` is node:crypto. @defaultValue 'auto' */
  readonly records?: 'auto' | 'node' | undefined
  /** Who makes the TLS records of stream channels: the gateway's `own` record layer where it can, or `node`, Node's TLS. @defaultValue 'own' */
  readonly streams?: 'own' | 'node' | undefined
}

export interface OffloadOptions {
  /**
   * With egress modes `translate` and `kernel`, how much the TUN interface is asked for: `all`; `tcp` is no super-packets of UDP;
   * `write` is packets read one by one; `plain` is no virtio headers at all. @defaultValue 'all'
   */
  readonly tun?: 'all' | 'tcp' | 'write' | 'plain' | undefined
  /** Whether trains of equal datagrams are sent in one piece (UDP_SEGMENT). @defaultValue true */
  readonly gso?: boolean | undefined
  /** Whether they are received in one piece (UDP_GRO). @defaultValue true */
  readonly gro?: boolean | undefined
}

export interface LogOptions {
  /** The least severe lines that are written. @defaultValue 'info' */
  readonly level?: 'debug' | 'info' | 'warn' | 'error' | 'silent' | undefined
  /** `auto`: text on a terminal, JSON otherwise. @defaultValue 'auto' */
  readonly format?: 'auto' | 'json' | 'text' | undefined
}
