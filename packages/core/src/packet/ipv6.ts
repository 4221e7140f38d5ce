// The IPv6 header (RFC 8200 §3), read and written in place. `offset` is where the packet begins in the view.
//
//   0 version, traffic class, flow label
//   4 payload length | 6 next header | 7 hop limit
//   8 source | 24 destination | 40 extension headers
//
// Extension headers are walked by `locateTransport`.
import { IpProtocol } from './ip-protocol.ts'

/** The fixed part of an IPv6 header. */
export const IPV6_HEADER_BYTES = 40

/** How many extension headers are walked before a packet counts as malformed. */
export const IPV6_MAX_EXTENSION_HEADERS = 8

/** Where each field of the header begins. */
export const Ipv6Field = {
  versionClassAndFlow: 0,
  payloadLength: 4,
  nextHeader: 6,
  hopLimit: 7,
  source: 8,
  destination: 24,
} as const

/** DSCP and ECN. */
export function ipv6TrafficClass(view: DataView, offset: number): number {
  return (view.getUint16(offset) >>> 4) & 0xff
}

export function ipv6FlowLabel(view: DataView, offset: number): number {
  return view.getUint32(offset) & 0xfffff
}

/** The length behind the fixed header, in bytes. */
export function ipv6PayloadLength(view: DataView, offset: number): number {
  return view.getUint16(offset + Ipv6Field.payloadLength)
}

/** What follows the fixed header: an extension header or the transport protocol. */
export function ipv6NextHeader(view: DataView, offset: number): number {
  return view.getUint8(offset + Ipv6Field.nextHeader)
}

export function ipv6HopLimit(view: DataView, offset: number): number {
  return view.getUint8(offset + Ipv6Field.hopLimit)
}

/** Whether a next-header value names an extension header that `locateTransport` walks over. */
export function isIpv6ExtensionHeader(nextHeader: number): boolean {
  switch (nextHeader) {
    case IpProtocol.hopByHopOptions:
    case IpProtocol.routing:
    case IpProtocol.fragment:
    case IpProtocol.destinationOptions:
    case IpProtocol.mobility:
    case IpProtocol.hostIdentity:
    case IpProtocol.shim6:
      return true
    default:
      return false
  }
}

/**
 * Finds the fragment header (RFC 8200 §4.5) of a packet that passed `checkPacket`. Returns its position in the view, or
 * -1 when there is none. Its fields are read with the `ipv6Fragment...` functions.
 */
export function ipv6FragmentHeader(view: DataView, offset: number, length: number): number {
  let nextHeader = ipv6NextHeader(view, offset)
  let at = offset + IPV6_HEADER_BYTES
  const end = offset + length
  for (let headers = 0; headers < IPV6_MAX_EXTENSION_HEADERS; headers++) {
    if (!isIpv6ExtensionHeader(nextHeader) || at + 8 > end) return -1
    if (nextHeader === IpProtocol.fragment) return at
    nextHeader = view.getUint8(at)
    at += (view.getUint8(at + 1) + 1) << 3
  }
  return -1
}

/** What follows a fragment header at `at`. */
export function ipv6FragmentNextHeader(view: DataView, at: number): number {
  return view.getUint8(at)
}

/** Where the data behind the fragment header at `at` belongs in the whole datagram, in bytes. */
export function ipv6FragmentOffset(view: DataView, at: number): number {
  return view.getUint16(at + 2) & 0xfff8
}

export function ipv6MoreFragments(view: DataView, at: number): boolean {
  return (view.getUint16(at + 2) & 1) !== 0
}

export function ipv6FragmentIdentification(view: DataView, at: number): number {
  return view.getUint32(at + 4)
}
