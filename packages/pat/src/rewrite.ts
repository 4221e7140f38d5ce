// Changes headers in place and keeps their checksums right by RFC 1624 §3, equation 3: HC' = ~(~HC + ~m + m'). A *delta*
// is the folded sum of ~m + m' over all words that changed; it is computed once and applied to every checksum that
// covers them.
import { Ipv4Field, Ipv6Field, TcpField, UdpField } from '@twinbore/core/packet'
import type { AddressWords } from './address.ts'
import { Protocol } from './packet-facts.ts'

/** Which address and port of a packet are replaced. */
export const Side = { source: 0, destination: 1 } as const

/** `rewriteIpv4` leaves the identification as it is. */
export const keepIdentification = -1

/**
 * Replaces an address of an IPv4 header, its identification unless `keepIdentification`, and takes `hops` off the TTL.
 * Returns the delta of the address, for checksums with a pseudo header.
 */
export function rewriteIpv4(
  view: DataView,
  offset: number,
  side: number,
  address: number,
  identification: number,
  hops: number,
): number {
  const field = offset + (side === Side.source ? Ipv4Field.source : Ipv4Field.destination)
  const addressDelta = delta32(view.getInt32(field), address)
  view.setInt32(field, address)
  let delta = addressDelta
  if (identification !== keepIdentification) {
    delta += delta16(view.getUint16(offset + Ipv4Field.identification), identification)
    view.setUint16(offset + Ipv4Field.identification, identification)
  }
  if (hops !== 0) {
    const word = view.getUint16(offset + Ipv4Field.timeToLive)
    delta += delta16(word, word - (hops << 8))
    view.setUint16(offset + Ipv4Field.timeToLive, word - (hops << 8))
  }
  const checksum = offset + Ipv4Field.checksum
  view.setUint16(checksum, patched(view.getUint16(checksum), delta))
  return addressDelta
}

/** Replaces an address of an IPv6 header and takes `hops` off the hop limit. Returns the delta of the address. */
export function rewriteIpv6(
  view: DataView,
  offset: number,
  side: number,
  words: AddressWords,
  at: number,
  hops: number,
): number {
  const field = offset + (side === Side.source ? Ipv6Field.source : Ipv6Field.destination)
  let delta = 0
  for (let i = 0; i < 4; i++) {
    delta += delta32(view.getInt32(field + i * 4), words[at + i]!)
    view.setInt32(field + i * 4, words[at + i]!)
  }
  if (hops !== 0) view.setUint8(offset + Ipv6Field.hopLimit, view.getUint8(offset + Ipv6Field.hopLimit) - hops)
  return delta
}

/** Clears the flow label: it tells one client's flows from another's (RFC 6437 §6.1). */
export function clearFlowLabel(view: DataView, offset: number): void {
  view.setUint32(offset, view.getUint32(offset) & 0xfff0_0000)
}

/**
 * Replaces a port or echo identifier and patches the transport checksum, where as much of the header is there.
 *
 * @param addressDelta - of the address that was replaced
 * @param partialChecksum - whether the checksum of TCP or UDP is partial, see `PacketBatch.partialChecksums`
 * @param end - behind the packet: embedded packets may be cut
 */
export function rewriteTransport(
  view: DataView,
  at: number,
  end: number,
  protocol: number,
  version: number,
  side: number,
  port: number,
  addressDelta: number,
  partialChecksum = false,
): void {
  const portField = protocol === Protocol.icmp ? at + 4 : side === Side.source ? at : at + 2
  const portDelta = delta16(view.getUint16(portField), port)
  view.setUint16(portField, port)
  if (partialChecksum) {
    // The sum of the pseudo header, not inverted: there are no ports in it.
    const field = at + (protocol === Protocol.tcp ? TcpField.checksum : UdpField.checksum)
    view.setUint16(field, fold(view.getUint16(field) + addressDelta))
    return
  }
  switch (protocol) {
    case Protocol.tcp:
      patch(view, at + TcpField.checksum, end, portDelta + addressDelta)
      break
    case Protocol.udp: {
      const field = at + UdpField.checksum
      if (field + 2 > end) break
      const checksum = view.getUint16(field)
      // "No checksum" stays; a computed zero is written as 0xffff (RFC 768, RFC 3022 §4.1).
      if (checksum !== 0) view.setUint16(field, patched(checksum, portDelta + addressDelta) || 0xffff)
      break
    }
    default:
      // Only ICMPv6 covers a pseudo header (RFC 4443 §2.3).
      patch(view, at + 2, end, version === 6 ? portDelta + addressDelta : portDelta)
  }
}

function patch(view: DataView, field: number, end: number, delta: number): void {
  if (field + 2 <= end) view.setUint16(field, patched(view.getUint16(field), delta))
}

function delta16(before: number, after: number): number {
  return (~before & 0xffff) + after
}

function delta32(before: number, after: number): number {
  return (~before & 0xffff) + (~before >>> 16) + (after & 0xffff) + (after >>> 16)
}

function patched(checksum: number, delta: number): number {
  return ~fold((~checksum & 0xffff) + delta) & 0xffff
}

/** Adds the carries of a sum, or of deltas, until 16 bits are left. */
export function fold(sum: number): number {
  sum = (sum & 0xffff) + (sum >>> 16)
  return (sum & 0xffff) + (sum >>> 16)
}
