import {
  checksumAdd,
  checksumFinish,
  IPV4_HEADER_BYTES,
  IPV6_HEADER_BYTES,
  IpProtocol,
  Ipv4Field,
  Ipv6Field,
  type PacketBatch,
  pseudoHeaderSum,
  TCP_HEADER_BYTES,
  TcpField,
  writeIpv4HeaderChecksum,
} from '@twinbore/core/packet'
import type { FlowEnd } from './tcp-events.ts'

const hopLimit = 64
const dontFragment = 0x4000

/** Writes the segments of one flow: everything that never changes is prepared once. */
export class SegmentWriter {
  /** IP and TCP header without options. */
  readonly headerBytes: number
  private readonly ipBytes: number
  private readonly template: Uint8Array
  /** Sum of the pseudo header for a segment of no length. */
  private readonly pseudoSum: number

  constructor(local: FlowEnd, remote: FlowEnd) {
    const v4 = local.address.length === 4
    this.ipBytes = v4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES
    this.headerBytes = this.ipBytes + TCP_HEADER_BYTES
    this.template = new Uint8Array(this.headerBytes)
    const view = new DataView(this.template.buffer)
    if (v4) {
      view.setUint8(Ipv4Field.versionAndHeaderLength, 0x45)
      // Atomic datagrams need no identification (RFC 6864 §4.1).
      view.setUint16(Ipv4Field.flagsAndFragmentOffset, dontFragment)
      view.setUint8(Ipv4Field.timeToLive, hopLimit)
      view.setUint8(Ipv4Field.protocol, IpProtocol.tcp)
    } else {
      view.setUint32(0, 0x6000_0000)
      view.setUint8(Ipv6Field.nextHeader, IpProtocol.tcp)
      view.setUint8(Ipv6Field.hopLimit, hopLimit)
    }
    this.template.set(local.address, v4 ? Ipv4Field.source : Ipv6Field.source)
    this.template.set(remote.address, v4 ? Ipv4Field.destination : Ipv6Field.destination)
    view.setUint16(this.ipBytes + TcpField.sourcePort, local.port)
    view.setUint16(this.ipBytes + TcpField.destinationPort, remote.port)
    this.pseudoSum = pseudoHeaderSum(view, 0, IpProtocol.tcp, 0)
  }

  /** Takes a slot and writes the fixed part. Returns where the TCP options begin, or -1 when the batch is full. */
  begin(batch: PacketBatch): number {
    const slot = batch.reserve()
    if (slot === -1) return -1
    const offset = batch.offsets[slot]!
    batch.bytes.set(this.template, offset)
    return offset + this.headerBytes
  }

  /**
   * Completes the segment in the last slot. `optionsEnd` is where its options end; `payloadLength` bytes follow them. The
   * checksum of a super-packet stays partial.
   */
  finish(
    batch: PacketBatch,
    flags: number,
    sequenceNumber: number,
    acknowledgmentNumber: number,
    window: number,
    optionsEnd: number,
    payloadLength: number,
  ): void {
    const slot = batch.count - 1
    const offset = batch.offsets[slot]!
    const at = offset + this.ipBytes
    const view = batch.view
    const segmentLength = optionsEnd + payloadLength - at
    view.setUint32(at + TcpField.sequenceNumber, sequenceNumber)
    view.setUint32(at + TcpField.acknowledgmentNumber, acknowledgmentNumber)
    view.setUint16(at + TcpField.dataOffset, (((optionsEnd - at) >>> 2) << 12) | flags)
    view.setUint16(at + TcpField.window, window)
    // The template left the checksum and the urgent pointer 0.
    const isSuper = batch.segments[slot]! > 1
    const sum = checksumAdd(view, at, isSuper ? 0 : segmentLength, this.pseudoSum + segmentLength)
    view.setUint16(at + TcpField.checksum, isSuper ? sum : checksumFinish(sum))
    batch.partialChecksums[slot] = isSuper ? 1 : 0
    batch.lengths[slot] = this.ipBytes + segmentLength
    if (this.ipBytes === IPV4_HEADER_BYTES) {
      view.setUint16(offset + Ipv4Field.totalLength, this.ipBytes + segmentLength)
      writeIpv4HeaderChecksum(view, offset)
    } else view.setUint16(offset + Ipv6Field.payloadLength, segmentLength)
  }
}
