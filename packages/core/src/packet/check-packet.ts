// The door of the data path: what passed `checkPacket` may be read with the field accessors without further checks.
import { verifyIpv4HeaderChecksum } from './checksum.ts'
import { DropReason } from './drop-reason.ts'
import { ICMP_HEADER_BYTES } from './icmp.ts'
import { IpProtocol, ipVersion } from './ip-protocol.ts'
import { IPV4_HEADER_BYTES, ipv4FragmentOffset, ipv4TotalLength } from './ipv4.ts'
import { IPV6_HEADER_BYTES, ipv6FragmentHeader, ipv6FragmentOffset, ipv6PayloadLength } from './ipv6.ts'
import { type PacketBatch, Verdict } from './packet-batch.ts'
import { TCP_HEADER_BYTES, tcpHeaderLength } from './tcp.ts'
import { isFragment, isLaterFragment, locateTransport, transportOffset, transportProtocol } from './transport.ts'
import { UDP_HEADER_BYTES, udpChecksum, udpLength } from './udp.ts'

const maxDatagramBytes = 65535

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
  if (length < IPV4_HEADER_BYTES) return DropReason.malformed
  const version = ipVersion(view, offset)
  const location = locateTransport(view, offset, length)
  if (location === -1 || packetLength(view, offset, length) !== length) return DropReason.malformed
  if (version === 4 && !verifyIpv4HeaderChecksum(view, offset)) return DropReason.badChecksum
  const distance = transportOffset(location)
  const protocol = transportProtocol(location)
  if (isLaterFragment(location)) {
    const position =
      version === 4
        ? ipv4FragmentOffset(view, offset)
        : ipv6FragmentOffset(view, ipv6FragmentHeader(view, offset, length))
    if (position + length - distance > maxDatagramBytes) return DropReason.malformed
    return protocol === IpProtocol.tcp && position === 8 ? DropReason.malformed : 0
  }
  return checkTransport(view, offset + distance, length - distance, protocol, isFragment(location), version)
}

function checkTransport(
  view: DataView,
  at: number,
  length: number,
  protocol: number,
  fragment: boolean,
  version: number,
): 0 | DropReason {
  switch (protocol) {
    case IpProtocol.tcp: {
      if (length < TCP_HEADER_BYTES) return DropReason.malformed
      const headerLength = tcpHeaderLength(view, at)
      return headerLength < TCP_HEADER_BYTES || headerLength > length ? DropReason.malformed : 0
    }
    case IpProtocol.udp: {
      if (length < UDP_HEADER_BYTES) return DropReason.malformed
      const stated = udpLength(view, at)
      // The length of a first fragment is that of the whole datagram.
      if (stated < UDP_HEADER_BYTES || (!fragment && stated > length)) return DropReason.malformed
      return version === 6 && udpChecksum(view, at) === 0 ? DropReason.badChecksum : 0
    }
    case IpProtocol.icmp:
    case IpProtocol.icmpv6:
      return length < ICMP_HEADER_BYTES ? DropReason.malformed : 0
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

/** A stage: drops every packet of a batch that `checkPacket` refuses. */
export function checkPackets(batch: PacketBatch): void {
  for (let slot = 0; slot < batch.count; slot++) {
    if (batch.verdicts[slot] !== Verdict.forward) continue
    const reason = checkPacket(batch.view, batch.offsets[slot]!, batch.lengths[slot]!)
    if (reason !== 0) batch.drop(slot, reason)
  }
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
