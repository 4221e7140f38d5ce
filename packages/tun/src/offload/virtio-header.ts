// The header before each packet of a TUN with IFF_VNET_HDR: what the kernel left to do, or is asked to do (OASIS virtio 1.2
// §5.1.6, linux/virtio_net.h). Little endian on the hosts that this package knows.
//
//   0 flags | 1 kind | 2 header length | 4 segment bytes | 6 checksum start | 8 checksum offset | 10 buffers

import {
  checksumAdd,
  checksumFieldOffset,
  checksumFinish,
  IpProtocol,
  ipVersion,
  isFragment,
  locateTransport,
  type PacketBatch,
  TCP_HEADER_BYTES,
  TcpFlag,
  tcpFlags,
  tcpHeaderLength,
  transportOffset,
  transportProtocol,
  UDP_HEADER_BYTES,
} from '@twinbore/core/packet'

/** The header with its count of buffers, which TUN leaves 0: keeps the IP header behind it on a word boundary. */
export const VIRTIO_HEADER_BYTES = 12

const Field = { flags: 0, kind: 1, headerLength: 2, segmentBytes: 4, checksumStart: 6, checksumOffset: 8 } as const
const needsChecksum = 1
const Kind = { none: 0, tcpIpv4: 1, tcpIpv6: 4, udp: 5 } as const
/** Added to a kind: the first packet has CWR, the others not. */
const congestionBit = 0x80

/**
 * Fills the columns of a slot from the header at `at` of the slab; the packet is in place already. Returns false for
 * what can't be (headers that are not whole, a kind that nobody asked for).
 *
 * A partial checksum that is not the one of TCP or UDP behind the IP headers is completed here, since no later stage would
 * look there.
 */
export function decodeVirtioHeader(batch: PacketBatch, slot: number, at: number): boolean {
  const { view } = batch
  const flags = view.getUint8(at + Field.flags)
  const kind = view.getUint8(at + Field.kind) & ~congestionBit
  if ((flags & needsChecksum) === 0 && kind === Kind.none) return true
  const offset = batch.offsets[slot]!
  const length = batch.lengths[slot]!
  const location = locateTransport(view, offset, length)
  const start = view.getUint16(at + Field.checksumStart, true)
  const field = view.getUint16(at + Field.checksumOffset, true)
  const isKnown =
    location !== -1 &&
    !isFragment(location) &&
    transportOffset(location) === start &&
    hasPartialChecksum(transportProtocol(location)) &&
    checksumFieldOffset(transportProtocol(location)) === field
  if (kind === Kind.none) {
    if (isKnown) batch.partialChecksums[slot] = 1
    else return completeAnywhere(view, offset, length, start, field)
    return true
  }
  if (!isKnown || (flags & needsChecksum) === 0 || kind !== kindOf(view, offset, transportProtocol(location)))
    return false
  const headerBytes = headerLength(view, offset, length, location)
  const segmentBytes = view.getUint16(at + Field.segmentBytes, true)
  if (headerBytes === -1 || segmentBytes === 0) return false
  batch.partialChecksums[slot] = 1
  const segments = Math.ceil((length - headerBytes) / segmentBytes)
  if (segments > 1) {
    batch.segments[slot] = segments
    batch.segmentBytes[slot] = segmentBytes
  }
  return true
}

/**
 * Writes the header of a slot to `at` of `into`. Returns false, having written nothing of use, for a super-packet that is
 * none: headers that are not whole, neither TCP nor UDP, or a whole checksum.
 */
export function encodeVirtioHeader(batch: PacketBatch, slot: number, into: DataView, at: number): boolean {
  for (let i = 0; i < VIRTIO_HEADER_BYTES; i += 4) into.setUint32(at + i, 0)
  const isSuper = batch.segments[slot]! > 1
  if (batch.partialChecksums[slot] === 0) return !isSuper
  const { view } = batch
  const offset = batch.offsets[slot]!
  const own = batch.next[slot] === -1 ? batch.lengths[slot]! : batch.ownLengths[slot]!
  const location = locateTransport(view, offset, own)
  if (location === -1 || isFragment(location)) return false
  const protocol = transportProtocol(location)
  const headerBytes = hasPartialChecksum(protocol) ? headerLength(view, offset, own, location) : -1
  if (headerBytes === -1) return false
  const transport = transportOffset(location)
  into.setUint8(at + Field.flags, needsChecksum)
  into.setUint16(at + Field.checksumStart, transport, true)
  into.setUint16(at + Field.checksumOffset, checksumFieldOffset(protocol), true)
  into.setUint16(at + Field.headerLength, headerBytes, true)
  if (!isSuper) return true
  const congestion =
    protocol === IpProtocol.tcp && (tcpFlags(view, offset + transport) & TcpFlag.cwr) !== 0 ? congestionBit : 0
  into.setUint8(at + Field.kind, kindOf(view, offset, protocol) | congestion)
  into.setUint16(at + Field.segmentBytes, batch.segmentBytes[slot]!, true)
  return batch.segmentBytes[slot] !== 0
}

function hasPartialChecksum(protocol: number): boolean {
  return protocol === IpProtocol.tcp || protocol === IpProtocol.udp
}

function kindOf(view: DataView, offset: number, protocol: number): number {
  if (protocol === IpProtocol.udp) return Kind.udp
  return ipVersion(view, offset) === 4 ? Kind.tcpIpv4 : Kind.tcpIpv6
}

/** IP and transport headers together, -1 when the transport header is not whole. The kernel's own figure is only a hint. */
function headerLength(view: DataView, offset: number, length: number, location: number): number {
  const distance = transportOffset(location)
  const room = length - distance
  if (transportProtocol(location) === IpProtocol.udp) return room < UDP_HEADER_BYTES ? -1 : distance + UDP_HEADER_BYTES
  if (room < TCP_HEADER_BYTES) return -1
  const bytes = tcpHeaderLength(view, offset + distance)
  return bytes < TCP_HEADER_BYTES || bytes > room ? -1 : distance + bytes
}

/** What virtio says to do, whatever the protocol: the field holds the sum of all that the covered bytes don't. */
function completeAnywhere(view: DataView, offset: number, length: number, start: number, field: number): boolean {
  if (start + field + 2 > length) return false
  view.setUint16(offset + start + field, checksumFinish(checksumAdd(view, offset + start, length - start)))
  return true
}
