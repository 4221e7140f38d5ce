import type { ActiveChannel, CloseReason, FailoverReason, TunnelParameters } from '@twinbore/core'
import type { ControlClientOptions, LoginCredentials } from '@twinbore/core/io'
import type { DatagramSocket, DatagramSocketOptions, PacketDevice } from '@twinbore/tun'
import type { Logger } from '../log/logger.ts'
import type { TunnelNetwork } from './network/io/tunnel-network.ts'

/** Where a tunnel's packets come from and go to. */
export interface ClientInterface {
  readonly device: PacketDevice
  /** What `connect`, `lookup`, `fetch`, `agent` and `createUdpSocket` of the tunnel use; only `stackInterface` has it. */
  readonly network?: TunnelNetwork
  /** The gateway grants other parameters (after a reconnection), or the MTU has changed. */
  update?(parameters: TunnelParameters, mtu: number): void
  /** The tunnel ended; `reason`: not as this side wished. */
  close(reason?: Error): void
}

/** Makes the interface of a tunnel, once the gateway has granted it. `gateway` is the address of its TCP side. */
export type ClientInterfaceFactory = (
  parameters: TunnelParameters,
  gateway: string,
) => ClientInterface | Promise<ClientInterface>

/** Opens the UDP socket of one attempt at a datagram channel, bound as asked. */
export type DatagramSocketFactory = (options: DatagramSocketOptions) => Promise<DatagramSocket>

/** What `connect` takes: whom to trust and who to be, and what to do with the packets. */
export interface ConnectOptions extends ControlClientOptions {
  /** Answers to the gateway's login forms. */
  readonly credentials?: LoginCredentials
  /** A cookie from an earlier login, in place of credentials. */
  readonly cookie?: string
  /** @defaultValue a kernel TUN with the granted addresses and routes; needs CAP_NET_ADMIN */
  readonly interface?: ClientInterfaceFactory
  /** Whether to use the datagram channel where the gateway offers one. @defaultValue true */
  readonly datagram?: boolean
  /** Gives the datagram channel other sockets: wrapped ones, or those of another library. @defaultValue `openDatagramSocket` of `@twinbore/tun/io` */
  readonly openDatagramSocket?: DatagramSocketFactory
  /** How long to try to bring a lost tunnel back, in seconds. @defaultValue 300 */
  readonly reconnectSeconds?: number
  /** @defaultValue a logger that says nothing */
  readonly log?: Logger
}

/** Events of a `TunnelClient`. */
export interface TunnelClientEvents {
  /** Data moves to another channel; `from` is `none` for the first. */
  'channel-changed': (event: {
    readonly from: ActiveChannel
    readonly to: ActiveChannel
    readonly reason: FailoverReason
  }) => void
  /** The longest packet of the tunnel changed. */
  'mtu-changed': (event: { readonly mtu: number }) => void
  /** A stream connection was brought back or renewed. */
  'stream-renewed': (event: { readonly parameters: TunnelParameters }) => void
  /** The end. `text` is what the gateway said, if anything. */
  closed: (event: { readonly reason: CloseReason; readonly text: string }) => void
}
