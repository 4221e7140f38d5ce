import type { IpAddress } from '@twinbore/core/address'
import {
  embeddedOffset,
  ICMP_HEADER_BYTES,
  IcmpField,
  IPV4_HEADER_BYTES,
  IPV6_HEADER_BYTES,
  IpProtocol,
  Ipv4Field,
  Ipv6Field,
  icmpChecksum,
  icmpType,
  ipVersion,
  ipv4FragmentOffset,
  ipv4HeaderLength,
  isIcmpError,
  isIcmpv6Error,
  TcpField,
  UdpField,
  updateChecksum16,
  updateChecksum32,
  updateChecksum128,
  updateUdpChecksum32,
  updateUdpChecksum128,
} from '@twinbore/core/packet'

/** Exchanges one address for another inside the packet that an ICMP error carries. */
export interface AddressSwap {
  readonly from: IpAddress
  readonly to: IpAddress
}

/** Which address of the embedded packet. */
export type EmbeddedField = 'source' | 'destination'

/**
 * If the packet at `offset` is an ICMP error about a packet whose `field` is `swap.from`, writes `swap.to` there and
 * corrects every checksum over it: that of the embedded IPv4 header, that of the embedded TCP or UDP header as far as it
 * is there, and that of the ICMP message. Anything else stays as it is. Returns whether it changed something.
 */
export function swapEmbeddedAddress(
  view: DataView,
  offset: number,
  length: number,
  field: EmbeddedField,
  swap: AddressSwap,
): boolean {
  return swap.from.family === 4
    ? swapIpv4(view, offset, length, field, swap)
    : swapIpv6(view, offset, length, field, swap)
}

function swapIpv4(view: DataView, offset: number, length: number, field: EmbeddedField, swap: AddressSwap): boolean {
  if (length < IPV4_HEADER_BYTES + ICMP_HEADER_BYTES + IPV4_HEADER_BYTES || ipVersion(view, offset) !== 4) return false
  if (view.getUint8(offset + Ipv4Field.protocol) !== IpProtocol.icmp || ipv4FragmentOffset(view, offset) !== 0)
    return false
  const icmp = offset + ipv4HeaderLength(view, offset)
  const embedded = embeddedOffset(icmp)
  const end = offset + length
  if (embedded + IPV4_HEADER_BYTES > end || !isIcmpError(icmpType(view, icmp))) return false
  const at = embedded + (field === 'source' ? Ipv4Field.source : Ipv4Field.destination)
  const before = view.getUint32(at)
  if (ipVersion(view, embedded) !== 4 || before !== word(swap.from)) return false

  const after = word(swap.to)
  let checksum = updateChecksum32(icmpChecksum(view, icmp), before, after)
  view.setUint32(at, after)
  checksum = replace16(view, embedded + Ipv4Field.checksum, checksum, old => updateChecksum32(old, before, after))
  if (ipv4FragmentOffset(view, embedded) === 0) {
    const transport = embedded + ipv4HeaderLength(view, embedded)
    checksum = replaceTransport(view, transport, end, view.getUint8(embedded + Ipv4Field.protocol), checksum, {
      tcp: old => updateChecksum32(old, before, after),
      udp: old => updateUdpChecksum32(old, before, after),
    })
  }
  view.setUint16(icmp + IcmpField.checksum, checksum)
  return true
}

function swapIpv6(view: DataView, offset: number, length: number, field: EmbeddedField, swap: AddressSwap): boolean {
  if (length < IPV6_HEADER_BYTES + ICMP_HEADER_BYTES + IPV6_HEADER_BYTES || ipVersion(view, offset) !== 6) return false
  const icmp = offset + IPV6_HEADER_BYTES
  if (view.getUint8(offset + Ipv6Field.nextHeader) !== IpProtocol.icmpv6 || !isIcmpv6Error(icmpType(view, icmp))) {
    return false
  }
  const embedded = embeddedOffset(icmp)
  const at = embedded + (field === 'source' ? Ipv6Field.source : Ipv6Field.destination)
  if (ipVersion(view, embedded) !== 6) return false
  for (let i = 0; i < 16; i++) if (view.getUint8(at + i) !== swap.from.bytes[i]) return false

  const from = viewOf(swap.from)
  const to = viewOf(swap.to)
  let checksum = updateChecksum128(icmpChecksum(view, icmp), from, 0, to, 0)
  for (let i = 0; i < 16; i++) view.setUint8(at + i, swap.to.bytes[i]!)
  const protocol = view.getUint8(embedded + Ipv6Field.nextHeader)
  const transport = embedded + IPV6_HEADER_BYTES
  checksum = replaceTransport(view, transport, offset + length, protocol, checksum, {
    tcp: old => updateChecksum128(old, from, 0, to, 0),
    udp: old => updateUdpChecksum128(old, from, 0, to, 0),
  })
  view.setUint16(icmp + IcmpField.checksum, checksum)
  return true
}

interface TransportUpdate {
  readonly tcp: (checksum: number) => number
  readonly udp: (checksum: number) => number
}

/** Corrects the checksum of an embedded TCP or UDP header if the error carries that much of it. */
function replaceTransport(
  view: DataView,
  transport: number,
  end: number,
  protocol: number,
  outer: number,
  update: TransportUpdate,
): number {
  const field = protocol === IpProtocol.udp ? UdpField.checksum : protocol === IpProtocol.tcp ? TcpField.checksum : -1
  if (field === -1 || transport + field + 2 > end) return outer
  return replace16(view, transport + field, outer, protocol === IpProtocol.udp ? update.udp : update.tcp)
}

/** Changes a word at an even distance and returns what the checksum over it becomes. */
function replace16(view: DataView, at: number, outer: number, change: (before: number) => number): number {
  const before = view.getUint16(at)
  const after = change(before)
  view.setUint16(at, after)
  return updateChecksum16(outer, before, after)
}

function word(address: IpAddress): number {
  return viewOf(address).getUint32(0)
}

function viewOf(address: IpAddress): DataView {
  return new DataView(address.bytes.buffer, address.bytes.byteOffset, address.bytes.length)
}
