import type { PacketBatch } from '@twinbore/core/packet'
import type { TcpSegment } from './segment.ts'
import type { TcpConfig, TcpPath } from './tcp-config.ts'
import type { FlowEnd, IcmpErrorKind, TcpOutput, TcpState } from './tcp-events.ts'

/** Signatures first; the machine follows. */
export declare class TcpConnection {
  readonly local: FlowEnd
  readonly remote: FlowEnd

  /** Active: a SYN goes out with the next `emit`. */
  static open(config: TcpConfig, path: TcpPath, local: FlowEnd, remote: FlowEnd, now: number): TcpConnection
  /** Passive: a SYN was seen (SYN set, ACK and RST clear). Nothing is sent until `confirm` or `refuse`. */
  static accept(config: TcpConfig, path: TcpPath, syn: TcpSegment, now: number): TcpConnection
  confirm(now: number): void
  /** RST for the SYN. `silently` sends nothing (an ICMP error is the caller's). */
  refuse(now: number, silently?: boolean): void

  /** Whether this SYN begins a new connection in place of this one; the caller then forgets this one (RFC 9293 §3.10.7.4, RFC 6191). */
  isReplacedBy(segment: TcpSegment, now: number): boolean
  /** Call for segments of this flow; the segment is only read during the call. */
  handleSegment(segment: TcpSegment, now: number): void
  /** A batch that had segments for this connection ended: what is to be acknowledged is, with the next `emit`. */
  handleBatchEnd(now: number): void

  /** Copies what fits and returns how many bytes that was. 'writable' follows when it was less than all. 0 after shutdown or the end. */
  write(bytes: Uint8Array, now: number): number
  /** In-order bytes, a copy; `undefined` when there are none. Opens the window. */
  read(maxBytes?: number, now?: number): Uint8Array | undefined
  readInto(target: Uint8Array, now?: number): number
  /** FIN behind what was written. */
  shutdown(now: number): void
  /** RST, and all is forgotten. */
  abort(now: number): void
  /** Gives all memory back. After 'closed', when nobody wants to read any more. */
  release(): void

  /** The path to the peer carries only `mtu` bytes; `sequenceNumber` is that of the packet the error is about. */
  handlePathMtu(mtu: number, sequenceNumber: number | undefined, now: number): void
  handleIcmpError(kind: IcmpErrorKind, sequenceNumber: number, now: number): void

  /** Absolute; undefined when nothing is pending. */
  readonly deadline: number | undefined
  handleDeadline(now: number): void
  /** Whether `emit` has something to send now. */
  readonly wantsToSend: boolean
  /** Writes segments into free slots of the batch and returns how many. Call again with a fresh batch while `wantsToSend`. */
  emit(batch: PacketBatch, now: number): number

  readonly state: TcpState
  readonly readableBytes: number
  readonly writableBytes: number
  /** The peer's FIN arrived, and all before it. */
  readonly peerEnded: boolean
  /** Over; `time-wait` counts as not closed. */
  readonly closed: boolean
  poll(): TcpOutput | undefined
}
