import {
  DropReason,
  IpProtocol,
  Ipv4Field,
  Ipv6Field,
  ipVersion,
  type PacketBatch,
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
 * A TCP segment that arrived, or a super-packet of them, as numbers and a place in the slab that holds it. One object is read into again and
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
  /** How many packets it came in, and the payload of each of them, of the last one at most. */
  packets = 1
  packetBytes = 0
  /** How much of the payload lies at `payloadOffset`, and the slot of `batch` that holds the next piece of it, or -1. */
  bytesHere = 0
  nextPiece = -1
  batch: PacketBatch | undefined
  readonly options: TcpOptionValues = new TcpOptionValues()

  /**
   * Reads the segment whose TCP header begins `headerOffset` bytes behind `packetOffset`, in a packet of `length` bytes
   * that passed `checkPacket`. Verifies the checksum (RFC 9293 MUST-3). Returns 0, or why it must be dropped.
   */
  read(bytes: Uint8Array, view: DataView, packetOffset: number, length: number, headerOffset: number): 0 | DropReason {
    const at = packetOffset + headerOffset
    const segmentLength = length - headerOffset
    if (!verifyTransportChecksum(view, packetOffset, at, segmentLength, IpProtocol.tcp)) return DropReason.badChecksum
    this.parse(bytes, view, packetOffset, at, segmentLength)
    return 0
  }

  /**
   * The same of a slot, which may hold a super-packet. A partial checksum is none to verify: whoever made it has seen that of
   * each packet.
   */
  readSlot(batch: PacketBatch, slot: number, headerOffset: number): 0 | DropReason {
    const { bytes, view } = batch
    const offset = batch.offsets[slot]!
    const length = batch.lengths[slot]!
    const piece = batch.next[slot]!
    if (batch.partialChecksums[slot] === 0) {
      return piece === -1 ? this.read(bytes, view, offset, length, headerOffset) : DropReason.badChecksum
    }
    this.parse(bytes, view, offset, offset + headerOffset, length - headerOffset)
    if (batch.segments[slot]! > 1) {
      this.packets = batch.segments[slot]!
      this.packetBytes = batch.segmentBytes[slot]!
    }
    if (piece !== -1) {
      this.bytesHere = offset + batch.ownLengths[slot]! - this.payloadOffset
      this.nextPiece = piece
      this.batch = batch
    }
    return 0
  }

  private parse(bytes: Uint8Array, view: DataView, packetOffset: number, at: number, segmentLength: number): void {
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
    this.packets = 1
    this.packetBytes = this.payloadLength
    this.bytesHere = this.payloadLength
    this.nextPiece = -1
    this.batch = undefined
    this.options.read(view, at + TCP_HEADER_BYTES, this.payloadOffset)
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
