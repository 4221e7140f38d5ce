// Which packets may be in a super-packet together. Positions: `at` is where a packet begins, `transport` how far behind it
// the transport header is (20 or 40).
import {
  IPV4_HEADER_BYTES,
  IPV6_HEADER_BYTES,
  IpProtocol,
  Ipv4Field,
  Ipv6Field,
  isIpv6ExtensionHeader,
  type PacketBatch,
  pseudoHeaderSum,
  TCP_HEADER_BYTES,
  TcpField,
  TcpFlag,
  tcpHeaderLength,
  UDP_HEADER_BYTES,
  UdpField,
  verifyIpv4HeaderChecksum,
} from '@twinbore/core/packet'

/** Of a packet that may be of any flow between its addresses, as ports can't be told or the header isn't plain. */
export const ANY_FLOW = -1

const plainIpv4 = 0x45
/** All of flags and fragment offset but "don't fragment". */
const fragmentMask = 0xbfff
const portsBytes = 8

/**
 * How far behind `at` the header of TCP or UDP begins: 20 or 40. `ANY_FLOW` for what has options, extension headers or is a
 * fragment, 0 for other protocols and for what is not IP.
 *
 * @param own - how many of the packet's bytes lie at `at`
 */
export function plainTransport(view: DataView, at: number, length: number, own: number): number {
  if (own < IPV4_HEADER_BYTES + portsBytes) return 0
  const first = view.getUint8(at)
  if (first >>> 4 === 4) {
    if (first !== plainIpv4 || view.getUint16(at + Ipv4Field.totalLength) !== length) return ANY_FLOW
    if ((view.getUint16(at + Ipv4Field.flagsAndFragmentOffset) & fragmentMask) !== 0) return ANY_FLOW
    return hasPorts(view.getUint8(at + Ipv4Field.protocol)) ? IPV4_HEADER_BYTES : 0
  }
  if (first >>> 4 !== 6 || own < IPV6_HEADER_BYTES + portsBytes) return 0
  if (view.getUint16(at + Ipv6Field.payloadLength) + IPV6_HEADER_BYTES !== length) return ANY_FLOW
  const nextHeader = view.getUint8(at + Ipv6Field.nextHeader)
  if (hasPorts(nextHeader)) return IPV6_HEADER_BYTES
  return isIpv6ExtensionHeader(nextHeader) ? ANY_FLOW : 0
}

function hasPorts(protocol: number): boolean {
  return protocol === IpProtocol.tcp || protocol === IpProtocol.udp
}

/** Whether a packet may be the first of a super-packet. */
export function canBegin(view: DataView, at: number, length: number, transport: number, protocol: number): boolean {
  const header = at + transport
  const room = length - transport
  if (protocol === IpProtocol.udp) {
    return (
      room > UDP_HEADER_BYTES &&
      view.getUint16(header + UdpField.length) === room &&
      view.getUint16(header + UdpField.checksum) !== 0
    )
  }
  if (room <= TCP_HEADER_BYTES || (view.getUint8(header + TcpField.flags) & ~TcpFlag.ece) !== TcpFlag.ack) return false
  const headerLength = tcpHeaderLength(view, header)
  return headerLength >= TCP_HEADER_BYTES && headerLength < room
}

/** The payload bytes of a packet that may follow those in the super-packet of `head`, 0 for one that may not. */
export function continues(
  batch: PacketBatch,
  head: number,
  at: number,
  length: number,
  transport: number,
  protocol: number,
): number {
  const { view } = batch
  const first = batch.offsets[head]!
  if (transport === IPV4_HEADER_BYTES) {
    // Version, DSCP and ECN; "don't fragment"; TTL.
    if (view.getUint16(at) !== view.getUint16(first)) return 0
    if (view.getUint16(at + 6) !== view.getUint16(first + 6)) return 0
    if (view.getUint8(at + Ipv4Field.timeToLive) !== view.getUint8(first + Ipv4Field.timeToLive)) return 0
  } else {
    // Version, traffic class and flow label; hop limit.
    if (view.getUint32(at) !== view.getUint32(first)) return 0
    if (view.getUint8(at + Ipv6Field.hopLimit) !== view.getUint8(first + Ipv6Field.hopLimit)) return 0
  }
  const isTcp = protocol === IpProtocol.tcp
  const headerLength = isTcp ? tcpHeaderLength(view, first + transport) : UDP_HEADER_BYTES
  const payload = length - transport - headerLength
  const before = batch.lengths[head]! - transport - headerLength
  if (payload <= 0 || payload > (batch.segments[head] === 1 ? before : batch.segmentBytes[head]!)) return 0
  const goesOn = isTcp
    ? tcpContinues(view, first + transport, at + transport, headerLength, before)
    : udpContinues(view, at + transport, length - transport)
  return goesOn ? payload : 0
}

function tcpContinues(view: DataView, head: number, next: number, headerLength: number, before: number): boolean {
  if (view.getInt32(next + 4) !== ((view.getInt32(head + 4) + before) | 0)) return false
  if (view.getInt32(next + TcpField.acknowledgmentNumber) !== view.getInt32(head + TcpField.acknowledgmentNumber)) {
    return false
  }
  // Header length and flags, of which PSH may be new.
  if ((view.getUint16(next + TcpField.dataOffset) & ~TcpFlag.psh) !== view.getUint16(head + TcpField.dataOffset)) {
    return false
  }
  if (view.getUint16(next + TcpField.window) !== view.getUint16(head + TcpField.window)) return false
  if (view.getUint16(next + TcpField.urgentPointer) !== view.getUint16(head + TcpField.urgentPointer)) return false
  for (let i = TCP_HEADER_BYTES; i < headerLength; i += 4) {
    if (view.getInt32(next + i) !== view.getInt32(head + i)) return false
  }
  return true
}

function udpContinues(view: DataView, next: number, length: number): boolean {
  return view.getUint16(next + UdpField.length) === length && view.getUint16(next + UdpField.checksum) !== 0
}

/** Whether all checksums of the packet in a slot, which lies in one piece, are right. */
export function isIntact(batch: PacketBatch, slot: number, transport: number, protocol: number): boolean {
  const { view } = batch
  const at = batch.offsets[slot]!
  // That of the IP header is known to be right where `checkPackets` has noted a location.
  if (transport === IPV4_HEADER_BYTES && batch.locations[slot] === 0 && !verifyIpv4HeaderChecksum(view, at))
    return false
  // "None" is no valid checksum here: `canBegin` and `continues` have refused it.
  const length = batch.lengths[slot]! - transport
  return batch.sumAt(at + transport, length, pseudoHeaderSum(view, at, protocol, length)) === 0xffff
}
