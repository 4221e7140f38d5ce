import type { PacketBatch, PacketBatchOptions } from '@twinbore/core/packet'
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
   * The layout of the batches that `receive` fills without copying: with a shared part where the system hands over many
   * datagrams in one piece. Other batches work too.
   */
  readonly batch: PacketBatchOptions
  /** The system's number of the socket, for those who wait for it by themselves; undefined where there is none to have. */
  readonly descriptor: number | undefined
  /** Whether the last `receive` left nothing waiting. As long as it is false, another `receive` is due. */
  readonly drained: boolean
  /**
   * Appends waiting datagrams to `batch` until none waits or the batch has no room (slots, or bytes of its shared part).
   * Returns how many slots it added; their owners are endpoint indices. A datagram longer than `slotBytes` takes no slot
   * and is counted, unless it lies in the shared part.
   */
  receive(batch: PacketBatch): number
  /**
   * Sends every slot whose verdict is `forward` to the endpoint that its owner names. Returns how many were handed to the
   * system; the others get the verdict `drop` with `unknownPeer`, `tooBig`, `queueFull` or `deviceError`. An error that
   * comes later is counted and told to `onSendError`.
   *
   * @param keeps - what the system has no room for stays `forward` and is not counted: the slots from `blockedAt` on.
   * @defaultValue false
   */
  send(batch: PacketBatch, keeps?: boolean): number
  /** The first slot of the last `send` that the system had no room for, or -1. Nothing behind it was sent. */
  readonly blockedAt: number
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
  /** Calls of the system that brought datagrams. */
  readonly receiveCalls: number
  /** What they brought: one message is one datagram, or a train of equal ones that the system put together. */
  readonly messagesReceived: number
  /** Failures of receiving, other than that nothing waits. */
  readonly receiveErrors: number
  /** Calls of the system that took datagrams or refused them. */
  readonly sendCalls: number
  /** Trains of two or more datagrams that the system took in one piece, and how many datagrams they were. */
  readonly trainsSent: number
  readonly trainDatagramsSent: number
  /** Trains that the system refused; their datagrams went out one by one. */
  readonly trainsRefused: number
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
  receiveCalls = 0
  messagesReceived = 0
  receiveErrors = 0
  sendCalls = 0
  trainsSent = 0
  trainDatagramsSent = 0
  trainsRefused = 0

  snapshot(): DatagramSocketStats {
    return { ...this }
  }
}
