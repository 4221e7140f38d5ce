import {
  DropReason,
  IpProtocol,
  Ipv4Field,
  Ipv6Field,
  ipVersion,
  TCP_HEADER_BYTES,
  TcpFlag,
  tcpAcknowledgmentNumber,
  tcpDestinationPort,
  tcpFlags,
  tcpHeaderLength,
  tcpSequenceNumber,
  tcpSourcePort,
  tcpWindow,
  verifyTransportChecksum,
} from '@twinbore/core/packet'
import { TcpOptionValues } from './tcp-options.ts'

const nothing = new Uint8Array(0)
const noView = new DataView(nothing.buffer)

/**
 * A TCP segment that arrived, as numbers and a place in the slab that holds it. One object is read into again and
 * again; what it says is valid until the slab changes.
 */
export class TcpSegment {
  /** The slab and where in it the packet begins. */
  bytes: Uint8Array = nothing
  view: DataView = noView
  packetOffset = 0
  /** 4 or 6. */
  version = 4
  sourcePort = 0
  destinationPort = 0
  sequenceNumber = 0
  acknowledgmentNumber = 0
  /** A sum of `TcpFlag` values. */
  flags = 0
  /** As sent, without its scale. */
  window = 0
  payloadOffset = 0
  payloadLength = 0
  readonly options: TcpOptionValues = new TcpOptionValues()

  /**
   * Reads the segment whose TCP header begins `headerOffset` bytes behind `packetOffset`, in a packet of `length` bytes
   * that passed `checkPacket`. Verifies the checksum (RFC 9293 MUST-3). Returns 0, or why it must be dropped.
   */
  read(bytes: Uint8Array, view: DataView, packetOffset: number, length: number, headerOffset: number): 0 | DropReason {
    const at = packetOffset + headerOffset
    const segmentLength = length - headerOffset
    if (!verifyTransportChecksum(view, packetOffset, at, segmentLength, IpProtocol.tcp)) return DropReason.badChecksum
    this.bytes = bytes
    this.view = view
    this.packetOffset = packetOffset
    this.version = ipVersion(view, packetOffset)
    this.sourcePort = tcpSourcePort(view, at)
    this.destinationPort = tcpDestinationPort(view, at)
    this.sequenceNumber = tcpSequenceNumber(view, at)
    this.acknowledgmentNumber = tcpAcknowledgmentNumber(view, at)
    this.flags = tcpFlags(view, at)
    this.window = tcpWindow(view, at)
    const headerLength = tcpHeaderLength(view, at)
    this.payloadOffset = at + headerLength
    this.payloadLength = segmentLength - headerLength
    this.options.read(view, at + TCP_HEADER_BYTES, this.payloadOffset)
    return 0
  }

  has(flag: number): boolean {
    return (this.flags & flag) !== 0
  }

  /** How much of the sequence space the segment takes: its data, SYN and FIN (RFC 9293 §3.4). */
  get sequenceLength(): number {
    return this.payloadLength + (this.flags & TcpFlag.syn ? 1 : 0) + (this.flags & TcpFlag.fin ? 1 : 0)
  }

  /** A copy of the source address, 4 or 16 bytes. */
  sourceAddress(): Uint8Array {
    return this.address(Ipv4Field.source, Ipv6Field.source)
  }

  /** A copy of the destination address, 4 or 16 bytes. */
  destinationAddress(): Uint8Array {
    return this.address(Ipv4Field.destination, Ipv6Field.destination)
  }

  private address(v4: number, v6: number): Uint8Array {
    const at = this.packetOffset + (this.version === 4 ? v4 : v6)
    return this.bytes.slice(at, at + (this.version === 4 ? 4 : 16))
  }
}
