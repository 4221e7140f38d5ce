import type { IpAddress, Prefix, RouteTable } from '@twinbore/core/address'
import type { PacketDevice, TunOffload } from '@twinbore/tun'
import type { RelayServices, TunHandle } from '@twinbore/tun/io'
import type { EgressConfig } from '../config/gateway-config.ts'
import type { Logger } from '../log/logger.ts'

/**
 * A way out to the corporate network. `start` opens the device and arms the host: rules that drop what must not leave are
 * in place before anything is forwarded. `stop` takes everything back. If the process dies, the device goes with it, and
 * what stays of the rules lets nothing of the pool through; the next start with the same instance name clears it up.
 */
export interface Egress {
  /** How packets leave. */
  readonly mode: EgressConfig['mode']
  /** Where the data plane writes packets that leave and reads packets that come. Throws before `start` has resolved. */
  readonly device: PacketDevice
  /**
   * What other threads need to read and write the device in its place, one for each of its queues; only where it can. Throws as
   * `device` does.
   */
  readonly handovers?: readonly DeviceHandover[]
  /**
   * What a translator in front of the device must keep to; `undefined` when there is none. Throws before `start` has
   * resolved.
   */
  readonly translation: Translation | undefined
  /** @throws GatewayError `ERR_GATEWAY_HOST` when the host lacks a right, a device or nftables; everything is taken back then */
  start(): Promise<void>
  /** Closes the device and removes addresses, routes, rules and settings. Can be called more than once. */
  stop(): Promise<void>
  /** A client's address is free again: what is kept of its flows goes. */
  removeClient?(address: IpAddress): void
}

/** A device for another thread: plain values. The descriptor stays the egress's. */
export interface DeviceHandover {
  readonly tun: TunHandle
  /** Addresses of the host and those that stand for them on the device, as text; see `HostAddressDevice`. */
  readonly addressPairs: readonly { readonly host: string; readonly transit: string }[]
}

/** Bounds of a translator, in the terms of `@twinbore/pat`. */
export interface Translation {
  /** The addresses that packets on the device carry: transit addresses, or outside addresses of their own. */
  readonly outsideAddresses: readonly IpAddress[]
  /** Sources of ICMP errors to clients: the gateway's addresses in the pool. */
  readonly gatewayAddresses: readonly IpAddress[]
  readonly portRange: { readonly first: number; readonly last: number }
  /** Ports of the range that a program of the host already uses. */
  readonly excludedPorts: readonly number[]
  /** False: the host's kernel forwards the packets too and takes one off itself. */
  readonly decrementTtl: boolean
}

export interface EgressSettings {
  /** Tells gateways of one host apart; goes into names of rules. Letters, digits, `-`, `_`, at most 32. */
  readonly instance: string
  readonly config: EgressConfig
  readonly pool: { readonly ipv4: Prefix | undefined; readonly ipv6: Prefix | undefined }
  /** The gateway's own addresses inside the pool. */
  readonly gatewayAddresses: { readonly ipv4: IpAddress | undefined; readonly ipv6: IpAddress | undefined }
  /** Longest packet of the tunnel. The device may have a longer one: make batches with `slotBytes >= device.mtu`. */
  readonly mtu: number
  /** TCP and UDP ports that the gateway listens on. Never given to clients. */
  readonly listenPorts: readonly number[]
  /** What clients are meant to reach, for finding the interface that leads there. @defaultValue only the default route */
  readonly destinations?: readonly Prefix[]
  /** How much the TUN interface asks of the kernel. @defaultValue 'all' */
  readonly offload?: TunOffload
  /** How many queues the device has, each for a thread of its own. @defaultValue 1 */
  readonly queues?: number
  /** Interface name of the device. @defaultValue 'tb%d': the kernel counts */
  readonly deviceName?: string
  /** Which of its own addresses the host leaves with, where an interface has several. @defaultValue the one that the kernel prefers */
  readonly hostAddresses?: { readonly ipv4?: IpAddress; readonly ipv6?: IpAddress }
  /** What clients may not reach, as of now. Only `sockets` asks: its sockets are the host's own. */
  readonly refused: () => RouteTable
  /** Name servers that are asked in place of clients; `sockets` only. @defaultValue none */
  readonly forward?: readonly IpAddress[]
  /** Where flows to a destination go in its place; `sockets` only. @defaultValue there */
  readonly redirect?: RelayServices['redirect']
  readonly log: Logger
}
