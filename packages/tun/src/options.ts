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
  /**
   * Whether the kernel hands out super-packets (TCP, and UDP where it can) and packets with partial checksums. Then batches need
   * slots of `device.maxPacketBytes`, 65,535. Without it, and with kernels that can't, each slot is one whole packet. True is
   * `all`, false is `write`. @defaultValue false
   */
  readonly offload?: boolean | TunOffload
  /** Whether other descriptors may open further queues of the interface (`openTunQueues` always does). @defaultValue false */
  readonly multiQueue?: boolean
  /** Packets and super-packets that wait in the interface for a reader (txqueuelen). @defaultValue the kernel's: 500 */
  readonly queueLength?: number
  /**
   * The longest super-packet that the kernel gives the interface. Programs on this host then send no longer ones, but a longer
   * one that is forwarded from another interface is cut into single packets. @defaultValue the kernel's: 65,536
   */
  readonly gsoMaxBytes?: number
}

/** How much of the kernel's offload is asked for. Each level includes the ones before it. */
export type TunOffload =
  /** No virtio headers: one packet a call, as every TUN can. */
  | 'plain'
  /** The kernel takes super-packets and gives none. */
  | 'write'
  /** Super-packets of TCP both ways. */
  | 'tcp'
  /** Of UDP too. */
  | 'all'

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
  /**
   * Whether several sockets share the address and port, and the system spreads peers over them. Not for the portable
   * implementation. @defaultValue false
   */
  readonly reusePort?: boolean
  /** With `::`: refuse IPv4. @defaultValue false */
  readonly ipv6Only?: boolean
  /**
   * Datagrams that wait for the reader; the next is dropped and counted. One costs its length. Only for the portable
   * implementation: elsewhere they wait in the system's buffer. @defaultValue 1024
   */
  readonly receiveQueue?: number
  /** Bytes that may wait to be sent; a datagram beyond is dropped as `queueFull`. Only for the portable one, likewise. @defaultValue 8 MiB */
  readonly sendQueueBytes?: number
  /** Endpoints known at once (see EndpointTable). @defaultValue 65_536 */
  readonly endpoints?: number
  /** False takes the portable implementation (`node:dgram`) even where there is a faster one. @defaultValue true */
  readonly native?: boolean
  /** False sends each datagram by itself, even where the system takes trains of equal ones in one piece. @defaultValue true */
  readonly gso?: boolean
  /** False receives each datagram by itself, even where the system can put trains of equal ones together. @defaultValue true */
  readonly gro?: boolean
  /** Called when the system does less than was asked, once for each code. */
  readonly onNotice?: (notice: DatagramNotice) => void
}

/** What `adoptDatagramSocket` takes. */
export interface AdoptedSocketOptions extends Pick<DatagramSocketOptions, 'endpoints' | 'gso' | 'onNotice'> {
  /** The number of a bound UDP socket of this process. */
  readonly descriptor: number
  /** Whether `close` closes the descriptor too. @defaultValue false */
  readonly closeDescriptor?: boolean
}

/** The system does less than was asked; the socket works all the same. */
export interface DatagramNotice {
  readonly code: 'receive-buffer-small' | 'send-buffer-small' | 'gso-off' | 'gro-off'
  /** For logs. */
  readonly message: string
}

/** What the datagram sockets of this process can do. */
export interface DatagramSupport {
  /** Whether sockets work by batched system calls; the portable implementation is taken otherwise. */
  readonly native: boolean
  /** Whether trains of equal datagrams are sent in one piece (UDP_SEGMENT). */
  readonly gso: boolean
  /** Whether trains are received in one piece (UDP_GRO). */
  readonly gro: boolean
  /** Why something is missing, for people. */
  readonly reason?: string
}

export const defaultTunMtu = 1400
export const defaultDatagramBufferBytes: number = 4 * 1024 * 1024
export const defaultReceiveQueue = 1024
export const defaultSendQueueBytes: number = 8 * 1024 * 1024
