// The door of the data path: what passed `checkPacket` may be read with the field accessors without further checks.
import { verifyIpv4HeaderChecksum } from './checksum.ts'
import { DropReason } from './drop-reason.ts'
import { ICMP_HEADER_BYTES } from './icmp.ts'
import { IpProtocol, ipVersion } from './ip-protocol.ts'
import { IPV4_HEADER_BYTES, Ipv4Field, ipv4FragmentOffset, ipv4Protocol, ipv4TotalLength } from './ipv4.ts'
import { IPV6_HEADER_BYTES, ipv6FragmentHeader, ipv6FragmentOffset, ipv6PayloadLength } from './ipv6.ts'
import { type PacketBatch, Verdict } from './packet-batch.ts'
import { TCP_HEADER_BYTES, tcpHeaderLength } from './tcp.ts'
import { isFragment, isLaterFragment, locateTransport, transportOffset, transportProtocol } from './transport.ts'
import { UDP_HEADER_BYTES, udpChecksum, udpLength } from './udp.ts'

const maxDatagramBytes = 65535
/** Version 4 and a header of 20 bytes. */
const plainIpv4 = 0x45
/** "More fragments" and the fragment offset. */
const fragmentMask = 0x3fff
/** An IPv4 header and the whole of what is shortest behind it. */
const leastHeaders = IPV4_HEADER_BYTES + UDP_HEADER_BYTES

/**
 * Checks that the bytes at `offset` are one whole IP packet: version, header length, the length field equal to `length`,
 * the IPv4 header checksum, the chain of extension headers, and the whole header of TCP, UDP or ICMP unless it is a
 * later fragment. Checksums of the transport are not verified.
 *
 * Refused on purpose: first fragments too short for the transport header and TCP fragments at offset 8 (RFC 1858,
 * RFC 3128, RFC 7112), fragments that end beyond 65535 bytes, IPv6 jumbograms, and UDP without checksum over IPv6.
 *
 * Returns 0 for a good packet, otherwise `DropReason.malformed` or `DropReason.badChecksum`.
 */
export function checkPacket(view: DataView, offset: number, length: number): 0 | DropReason {
  const location = examine(view, offset, length, length)
  return location > 0 ? 0 : (-location as DropReason)
}

/**
 * The location of the transport header of a good packet, or minus the reason why it is none.
 *
 * @param here - how many of the bytes lie at `offset`: all, or the headers and the first piece of a super-packet
 */
function examine(view: DataView, offset: number, length: number, here: number): number {
  // Most packets have a header of 20 bytes, or one of 40, and TCP or UDP right behind it.
  if (here >= leastHeaders && view.getUint8(offset) === plainIpv4) {
    const protocol = ipv4Protocol(view, offset)
    const whole = (view.getUint16(offset + Ipv4Field.flagsAndFragmentOffset) & fragmentMask) === 0
    if (whole && (protocol === IpProtocol.tcp || protocol === IpProtocol.udp)) {
      if (ipv4TotalLength(view, offset) !== length) return -DropReason.malformed
      if (!plainHeaderIsRight(view, offset)) return -DropReason.badChecksum
      const at = offset + IPV4_HEADER_BYTES
      const reason = checkTransport(view, at, length - IPV4_HEADER_BYTES, here - IPV4_HEADER_BYTES, protocol, false, 4)
      return reason === 0 ? protocol | (IPV4_HEADER_BYTES << 8) : -reason
    }
  }
  return examineAny(view, offset, length, here)
}

function examineAny(view: DataView, offset: number, length: number, here: number): number {
  if (here < IPV4_HEADER_BYTES) return -DropReason.malformed
  const version = ipVersion(view, offset)
  const location = locateTransport(view, offset, here)
  if (location === -1 || packetLength(view, offset, here) !== length) return -DropReason.malformed
  if (version === 4 && !verifyIpv4HeaderChecksum(view, offset)) return -DropReason.badChecksum
  const distance = transportOffset(location)
  const protocol = transportProtocol(location)
  if (isLaterFragment(location)) {
    const position =
      version === 4
        ? ipv4FragmentOffset(view, offset)
        : ipv6FragmentOffset(view, ipv6FragmentHeader(view, offset, here))
    if (position + length - distance > maxDatagramBytes) return -DropReason.malformed
    return protocol === IpProtocol.tcp && position === 8 ? -DropReason.malformed : location
  }
  const fragment = isFragment(location)
  const reason = checkTransport(
    view,
    offset + distance,
    length - distance,
    here - distance,
    protocol,
    fragment,
    version,
  )
  return reason === 0 ? location : -reason
}

/** Whether the checksum of an IPv4 header without options is right: its ten words, added at once. */
function plainHeaderIsRight(view: DataView, offset: number): boolean {
  const sum =
    view.getUint16(offset) +
    view.getUint16(offset + 2) +
    view.getUint16(offset + 4) +
    view.getUint16(offset + 6) +
    view.getUint16(offset + 8) +
    view.getUint16(offset + 10) +
    view.getUint16(offset + 12) +
    view.getUint16(offset + 14) +
    view.getUint16(offset + 16) +
    view.getUint16(offset + 18)
  const folded = (sum & 0xffff) + (sum >>> 16)
  // Once more for the carry; eleven words never carry twice.
  return (folded & 0xffff) + (folded >>> 16) === 0xffff
}

function checkTransport(
  view: DataView,
  at: number,
  length: number,
  here: number,
  protocol: number,
  fragment: boolean,
  version: number,
): 0 | DropReason {
  switch (protocol) {
    case IpProtocol.tcp: {
      if (here < TCP_HEADER_BYTES) return DropReason.malformed
      const headerLength = tcpHeaderLength(view, at)
      return headerLength < TCP_HEADER_BYTES || headerLength > here ? DropReason.malformed : 0
    }
    case IpProtocol.udp: {
      if (here < UDP_HEADER_BYTES) return DropReason.malformed
      const stated = udpLength(view, at)
      // The length of a first fragment is that of the whole datagram.
      if (stated < UDP_HEADER_BYTES || (!fragment && stated > length)) return DropReason.malformed
      return version === 6 && udpChecksum(view, at) === 0 ? DropReason.badChecksum : 0
    }
    case IpProtocol.icmp:
    case IpProtocol.icmpv6:
      return here < ICMP_HEADER_BYTES ? DropReason.malformed : 0
    default:
      return 0
  }
}

/**
 * The length that the packet at `offset` says it has, or -1 when its header is not there. A stage that tolerates padding
 * of a link layer cuts the slot to it before `checkPacket`.
 */
export function packetLength(view: DataView, offset: number, length: number): number {
  if (length < IPV4_HEADER_BYTES) return -1
  switch (ipVersion(view, offset)) {
    case 4:
      return ipv4TotalLength(view, offset)
    case 6:
      return length < IPV6_HEADER_BYTES ? -1 : IPV6_HEADER_BYTES + ipv6PayloadLength(view, offset)
    default:
      return -1
  }
}

/** A stage: drops every packet of a batch that `checkPacket` refuses, and notes the `locations` of the others. */
export function checkPackets(batch: PacketBatch): void {
  for (let slot = 0; slot < batch.count; slot++) {
    if (batch.verdicts[slot] !== Verdict.forward) continue
    const reason = checkSlot(batch, slot)
    if (reason !== 0) batch.drop(slot, reason)
  }
}

/** What `checkPackets` does with one slot, but for the verdict: returns the reason to drop it, or 0. */
export function checkSlot(batch: PacketBatch, slot: number): 0 | DropReason {
  const length = batch.lengths[slot]!
  const here = batch.next[slot] === -1 ? length : batch.ownLengths[slot]!
  const location = examine(batch.view, batch.offsets[slot]!, length, here)
  if (location < 0) return -location as DropReason
  batch.locations[slot] = location
  return 0
}

/**
 * Checks the packet at `offset` that an ICMP error carries: its IP headers are whole, an IPv4 header checksum is right
 * (RFC 5508 §4.2), and at least 8 bytes of the transport header are there (RFC 792; enough for ports and identifiers).
 * Its length field may exceed `length`, and its transport checksum is not looked at.
 */
export function checkEmbeddedPacket(view: DataView, offset: number, length: number): 0 | DropReason {
  const location = locateTransport(view, offset, length)
  if (location === -1 || transportOffset(location) + 8 > length) return DropReason.malformed
  return ipVersion(view, offset) === 4 && !verifyIpv4HeaderChecksum(view, offset) ? DropReason.badChecksum : 0
}
