// Super-packets as single packets, and checksums that are complete only when a packet leaves.
import { checksumFieldOffset, pseudoHeaderSum, writeIpv4HeaderChecksum, writeTransportChecksum } from './checksum.ts'
import { IpProtocol, ipVersion } from './ip-protocol.ts'
import { Ipv4Field, ipv4Identification } from './ipv4.ts'
import { IPV6_HEADER_BYTES, Ipv6Field } from './ipv6.ts'
import type { PacketBatch } from './packet-batch.ts'
import { TcpField, TcpFlag, tcpFlags, tcpHeaderLength, tcpSequenceNumber } from './tcp.ts'
import { locateTransport, transportOffset, transportProtocol } from './transport.ts'
import { UDP_HEADER_BYTES, UdpField } from './udp.ts'

/** All flags of a TCP segment that a piece in the middle of a super-packet does not have. */
const onlyOnLast = TcpFlag.fin | TcpFlag.psh

/**
 * The packets that a slot stands for, as copies, each whole and with its checksums complete: one, or those of a super-packet
 * as segmentation makes them (IPv4 identifications count up, FIN and PSH are only on the last, CWR only on the first). For
 * cold paths, it allocates; the slot holds a packet that passed `checkPackets`.
 *
 * @param limit - cuts no more than so many
 */
export function cutPackets(batch: PacketBatch, slot: number, limit: number = Number.POSITIVE_INFINITY): Uint8Array[] {
  const whole = batch.packet(slot)
  const view = new DataView(whole.buffer, whole.byteOffset, whole.length)
  const location = locateTransport(view, 0, whole.length)
  const at = transportOffset(location)
  const protocol = transportProtocol(location)
  const size = batch.segmentBytes[slot]!
  if (batch.segments[slot] === 1 || size === 0) {
    const single = whole.slice()
    if (batch.partialChecksums[slot] === 1)
      writeTransportChecksum(new DataView(single.buffer), 0, at, single.length - at, protocol)
    return [single]
  }
  const headers = at + transportHeaderBytes(view, at, protocol)
  const packets: Uint8Array[] = []
  for (let from = headers; from < whole.length && packets.length < limit; from += size) {
    const to = Math.min(from + size, whole.length)
    const packet = new Uint8Array(headers + to - from)
    packet.set(whole.subarray(0, headers))
    packet.set(whole.subarray(from, to), headers)
    finishPiece(packet, at, protocol, packets.length, from - headers, to === whole.length)
    packets.push(packet)
  }
  return packets
}

/**
 * How long the headers are that each packet of a super-packet has: those of IP and of TCP or UDP. The slot passed
 * `checkPackets`.
 */
export function superPacketHeaderBytes(batch: PacketBatch, slot: number): number {
  const { view } = batch
  const offset = batch.offsets[slot]!
  const location = batch.locations[slot] || locateTransport(view, offset, batch.lengths[slot]!)
  const distance = transportOffset(location)
  return distance + transportHeaderBytes(view, offset + distance, transportProtocol(location))
}

/** The bytes of all packets that a slot stands for, each with headers of its own. The slot passed `checkPackets`. */
export function wholePacketBytes(batch: PacketBatch, slot: number): number {
  const more = batch.segments[slot]! - 1
  return more > 0 ? batch.lengths[slot]! + more * superPacketHeaderBytes(batch, slot) : batch.lengths[slot]!
}

function transportHeaderBytes(view: DataView, at: number, protocol: number): number {
  return protocol === IpProtocol.tcp ? tcpHeaderLength(view, at) : UDP_HEADER_BYTES
}

function finishPiece(
  packet: Uint8Array,
  at: number,
  protocol: number,
  index: number,
  before: number,
  last: boolean,
): void {
  const view = new DataView(packet.buffer)
  if (ipVersion(view, 0) === 4) {
    view.setUint16(Ipv4Field.totalLength, packet.length)
    view.setUint16(Ipv4Field.identification, ipv4Identification(view, 0) + index)
    writeIpv4HeaderChecksum(view, 0)
  } else {
    view.setUint16(Ipv6Field.payloadLength, packet.length - IPV6_HEADER_BYTES)
  }
  if (protocol === IpProtocol.tcp) {
    view.setUint32(at + TcpField.sequenceNumber, tcpSequenceNumber(view, at) + before)
    const withoutEnd = last ? 0xff : ~onlyOnLast
    const withoutStart = index === 0 ? 0xff : ~TcpFlag.cwr
    view.setUint8(at + TcpField.flags, tcpFlags(view, at) & withoutEnd & withoutStart)
  } else {
    view.setUint16(at + UdpField.length, packet.length - at)
  }
  writeTransportChecksum(view, 0, at, packet.length - at, protocol)
}

/**
 * Writes what the checksum field of TCP or UDP holds as long as it is partial: the sum of the pseudo header, not inverted.
 * Parameters as of `transportChecksum`.
 */
export function writePartialChecksum(
  view: DataView,
  offset: number,
  at: number,
  length: number,
  protocol: number,
): void {
  view.setUint16(at + checksumFieldOffset(protocol), pseudoHeaderSum(view, offset, protocol, length))
}
