// Finds the transport header of a packet of either family: one number, no object, so that it fits the data path.
import { IpProtocol, ipVersion } from './ip-protocol.ts'
import { IPV4_HEADER_BYTES, Ipv4Field, ipv4HeaderLength, ipv4Protocol } from './ipv4.ts'
import { IPV6_HEADER_BYTES, IPV6_MAX_EXTENSION_HEADERS, ipv6NextHeader, isIpv6ExtensionHeader } from './ipv6.ts'

// Bits of a location: 0-7 protocol, 8-23 distance from the start of the packet, then these.
const fragmentBit = 1 << 24
const laterFragmentBit = 1 << 25
const routingHeaderBit = 1 << 26

/**
 * Where the transport header of the packet at `offset` is and what it is, packed into one number for
 * `transportProtocol`, `transportOffset`, `isFragment`, `isLaterFragment` and `hasRoutingHeader`; -1 when the headers
 * before it are truncated, out of order or more than `IPV6_MAX_EXTENSION_HEADERS`.
 *
 * `length` is how many bytes there are; the packet may say that it is longer, as one embedded in an ICMP error does.
 * The transport header itself may lie beyond them. Of a later fragment the location is that of its data. AH and ESP
 * count as transport protocols: nothing behind them can be rewritten.
 */
export function locateTransport(view: DataView, offset: number, length: number): number {
  if (length < IPV4_HEADER_BYTES) return -1
  switch (ipVersion(view, offset)) {
    case 4: {
      const headerLength = ipv4HeaderLength(view, offset)
      if (headerLength < IPV4_HEADER_BYTES || headerLength > length) return -1
      const fragment = view.getUint16(offset + Ipv4Field.flagsAndFragmentOffset)
      const later = (fragment & 0x1fff) !== 0 ? fragmentBit | laterFragmentBit : 0
      const first = (fragment & 0x2000) !== 0 ? fragmentBit : 0
      return ipv4Protocol(view, offset) | (headerLength << 8) | later | first
    }
    case 6:
      return length < IPV6_HEADER_BYTES ? -1 : walkExtensionHeaders(view, offset, length)
    default:
      return -1
  }
}

function walkExtensionHeaders(view: DataView, offset: number, length: number): number {
  let nextHeader = ipv6NextHeader(view, offset)
  let distance = IPV6_HEADER_BYTES
  let bits = 0
  let fragmentSeen = false
  for (let headers = 0; isIpv6ExtensionHeader(nextHeader); headers++) {
    if (headers === IPV6_MAX_EXTENSION_HEADERS || distance + 8 > length) return -1
    const at = offset + distance
    if (nextHeader === IpProtocol.fragment) {
      if (fragmentSeen) return -1
      fragmentSeen = true
      const field = view.getUint16(at + 2)
      distance += 8
      nextHeader = view.getUint8(at)
      if ((field & 0xfff8) !== 0) return nextHeader | (distance << 8) | bits | fragmentBit | laterFragmentBit
      // Offset 0 without "more" is an atomic fragment: a whole datagram (RFC 6946).
      if ((field & 1) !== 0) bits |= fragmentBit
      continue
    }
    // Hop-by-hop options come first or not at all (RFC 8200 §4.1).
    if (nextHeader === IpProtocol.hopByHopOptions && headers !== 0) return -1
    if (nextHeader === IpProtocol.routing) bits |= routingHeaderBit
    distance += (view.getUint8(at + 1) + 1) << 3
    if (distance > length) return -1
    nextHeader = view.getUint8(at)
  }
  return nextHeader | (distance << 8) | bits
}

/** The transport protocol of a location. */
export function transportProtocol(location: number): number {
  return location & 0xff
}

/** How far behind the start of the packet the transport header of a location begins. */
export function transportOffset(location: number): number {
  return (location >>> 8) & 0xffff
}

/** Whether the packet is a piece of a larger datagram, the first one included. */
export function isFragment(location: number): boolean {
  return (location & fragmentBit) !== 0
}

/** Whether the packet is a piece other than the first, so that it has no transport header. */
export function isLaterFragment(location: number): boolean {
  return (location & laterFragmentBit) !== 0
}

/** Whether an IPv6 routing header was walked over. Type 0 is deprecated (RFC 5095), a border may refuse all of them. */
export function hasRoutingHeader(location: number): boolean {
  return (location & routingHeaderBit) !== 0
}
