import type { PacketBatch } from '@twinbore/core/packet'
import type { EndpointTable } from './endpoint-table.ts'

/**
 * A UDP socket in the batch contract: whole datagrams in and out, the peer of each named by `owners[slot]`, an index into
 * `endpoints`. It never blocks, and never throws for what the network does.
 */
export interface DatagramSocket {
  /** The address that the socket is bound to, `0.0.0.0` or `::` for all. */
  readonly localAddress: string
  readonly localPort: number
  /** The peers seen or sent to. An index that nobody retained is good until the next `receive`. */
  readonly endpoints: EndpointTable
  /**
   * Appends waiting datagrams to `batch` until none waits or the batch is full. Returns how many slots it added; their
   * owners are endpoint indices. A datagram longer than `slotBytes` takes no slot and is counted.
   */
  receive(batch: PacketBatch): number
  /**
   * Sends every slot whose verdict is `forward` to the endpoint that its owner names. Returns how many were handed to the
   * system; the others get the verdict `drop` with `unknownPeer`, `tooBig` or `queueFull`. An error that comes later is
   * counted and told to `onSendError`.
   */
  send(batch: PacketBatch): number
  /** Sends one datagram. The bytes are copied before it returns. Returns whether it was handed to the system. */
  sendTo(endpoint: number, bytes: Uint8Array): boolean
  /** As `PacketDevice.onReadable`: called when datagrams wait, again until a `receive` has drained the socket. */
  onReadable: (() => void) | undefined
  /**
   * Called when the system refuses a datagram, with what it said: `EMSGSIZE` (larger than the path allows),
   * `ECONNREFUSED`, `ENETUNREACH`, and so on. For path MTU machinery and logs; the counters tell the rest.
   */
  onSendError: ((event: DatagramSendError) => void) | undefined
  /** Closes the socket. It can be called at any time and more than once. */
  close(): void
  /** A copy of the counters. */
  stats(): DatagramSocketStats
}

export interface DatagramSendError {
  /** Whom the datagram was for. */
  readonly endpoint: number
  /** The system's name for the error, such as `EMSGSIZE`. */
  readonly code: string
  /** Bytes of the refused datagram. */
  readonly length: number
}

/** Counters of a socket since it was opened. */
export interface DatagramSocketStats {
  readonly datagramsReceived: number
  readonly bytesReceived: number
  readonly datagramsSent: number
  readonly bytesSent: number
  /** Datagrams dropped because the reader did not keep up. */
  readonly receiveQueueDrops: number
  /** Datagrams dropped because they were longer than a slot. */
  readonly receiveTooBig: number
  /** Datagrams dropped because every entry of the endpoint table is retained. */
  readonly endpointTableDrops: number
  /** Datagrams dropped because too many already wait in the sending system. */
  readonly sendQueueDrops: number
  /** Datagrams that the system refused, or whose endpoint is unknown. */
  readonly sendErrors: number
}

/** The counters of a socket while it counts. */
export class SocketCounters implements DatagramSocketStats {
  datagramsReceived = 0
  bytesReceived = 0
  datagramsSent = 0
  bytesSent = 0
  receiveQueueDrops = 0
  receiveTooBig = 0
  endpointTableDrops = 0
  sendQueueDrops = 0
  sendErrors = 0

  snapshot(): DatagramSocketStats {
    return { ...this }
  }
}
