/** What `openTun` takes. */
export interface TunOptions {
  /** The interface name, 1 to 15 characters; `%d` counts. @defaultValue 'tun%d': the kernel chooses */
  readonly name?: string
  /** Longest packet, in bytes, 1280 (68 without IPv6) to 65535. @defaultValue 1400 */
  readonly mtu?: number
  /** Addresses of the interface, such as `['192.168.77.1/24', 'fd77:77::1/64']`. @defaultValue [] */
  readonly addresses?: readonly string[]
  /** Whether the interface outlives the process. @defaultValue false */
  readonly persist?: boolean
  /** Whether the kernel gives the interface a link-local IPv6 address and speaks MLD and router solicitation into it. @defaultValue false */
  readonly linkLocal?: boolean
}

/** What `openDatagramSocket` takes. */
export interface DatagramSocketOptions {
  /** The address to bind. `::` takes IPv4 too. @defaultValue '::' or, without IPv6, '0.0.0.0' */
  readonly address?: string
  /** 0 lets the system choose. @defaultValue 0 */
  readonly port?: number
  /** Size asked for the system's receive buffer; the system may give less (`net.core.rmem_max`). @defaultValue 4 MiB */
  readonly recvBufferBytes?: number
  /** Size asked for the system's send buffer. @defaultValue 4 MiB */
  readonly sendBufferBytes?: number
  /** Whether another socket may be bound to the same address and port. @defaultValue false */
  readonly reuseAddr?: boolean
  /** With `::`: refuse IPv4. @defaultValue false */
  readonly ipv6Only?: boolean
  /** Datagrams that wait for the reader; the next is dropped and counted. One costs its length. @defaultValue 1024 */
  readonly receiveQueue?: number
  /** Bytes that may wait to be sent; a datagram beyond is dropped as `queueFull`. @defaultValue 8 MiB */
  readonly sendQueueBytes?: number
  /** Endpoints known at once (see EndpointTable). @defaultValue 65_536 */
  readonly endpoints?: number
}

export const defaultTunMtu = 1400
export const defaultDatagramBufferBytes: number = 4 * 1024 * 1024
export const defaultReceiveQueue = 1024
export const defaultSendQueueBytes: number = 8 * 1024 * 1024
