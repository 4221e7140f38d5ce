// The Internet checksum (RFC 1071), whole and incremental (RFC 1624). A *sum* is folded to 16 bits and not inverted, so
// that sums can be chained; a *checksum* is its complement, as it stands in a packet.

import { IcmpField } from './icmp.ts'
import { IpProtocol, ipVersion } from './ip-protocol.ts'
import { Ipv4Field, ipv4HeaderLength } from './ipv4.ts'
import { Ipv6Field } from './ipv6.ts'
import { TcpField } from './tcp.ts'
import { UdpField } from './udp.ts'

/**
 * Adds `length` bytes to a sum, at most 65575 of them (the longest packet). A piece of odd length counts as padded with one
 * zero byte, so it must be the last.
 */
export function checksumAdd(view: DataView, offset: number, length: number, sum = 0): number {
  let at = offset
  const end = offset + length
  // Little-endian words of 32 bits, 32 bytes a turn: the order of bytes is made good at the end (RFC 1071 §2 B), and a
  // number holds such a total exactly. Four sums, so that no addition waits for the one before.
  let a = 0
  let b = 0
  let c = 0
  let d = 0
  for (; at + 32 <= end; at += 32) {
    a += view.getUint32(at, true) + view.getUint32(at + 4, true)
    b += view.getUint32(at + 8, true) + view.getUint32(at + 12, true)
    c += view.getUint32(at + 16, true) + view.getUint32(at + 20, true)
    d += view.getUint32(at + 24, true) + view.getUint32(at + 28, true)
  }
  let total = a + b + c + d
  for (; at + 4 <= end; at += 4) total += view.getUint32(at, true)
  if (at + 2 <= end) {
    total += view.getUint16(at, true)
    at += 2
  }
  if (at < end) total += view.getUint8(at)
  const swapped = checksumFold((total & 0xffff) + ((total >>> 16) & 0xffff) + Math.floor(total / 2 ** 32))
  return checksumFold(sum + (swapped >>> 8) + ((swapped & 0xff) << 8))
}

/** Folds a total of sums and 16-bit words, below 2^32, to a sum. */
export function checksumFold(total: number): number {
  total = (total & 0xffff) + (total >>> 16)
  return (total & 0xffff) + (total >>> 16)
}

/** Turns a sum into the checksum that belongs into a packet. */
export function checksumFinish(sum: number): number {
  return ~sum & 0xffff
}

/** The sum of the pseudo header (RFC 9293 §3.1, RFC 8200 §8.1) of the packet at `offset`, either family. */
export function pseudoHeaderSum(view: DataView, offset: number, protocol: number, transportLength: number): number {
  // The upper half of the length is added by folding; a packet is never longer than 65575 bytes.
  const start = protocol + (transportLength >>> 16) + (transportLength & 0xffff)
  return ipVersion(view, offset) === 4
    ? checksumAdd(view, offset + Ipv4Field.source, 8, start)
    : checksumAdd(view, offset + Ipv6Field.source, 32, start)
}

/** The header checksum that the IPv4 packet at `offset` should have. */
export function ipv4HeaderChecksum(view: DataView, offset: number): number {
  const sum = checksumAdd(view, offset, Ipv4Field.checksum)
  const behind = Ipv4Field.checksum + 2
  return checksumFinish(checksumAdd(view, offset + behind, ipv4HeaderLength(view, offset) - behind, sum))
}

/** Computes and writes the header checksum of the IPv4 packet at `offset`. */
export function writeIpv4HeaderChecksum(view: DataView, offset: number): void {
  view.setUint16(offset + Ipv4Field.checksum, ipv4HeaderChecksum(view, offset))
}

/** Whether the header checksum of the IPv4 packet at `offset` is right. */
export function verifyIpv4HeaderChecksum(view: DataView, offset: number): boolean {
  return checksumAdd(view, offset, ipv4HeaderLength(view, offset)) === 0xffff
}

/** Where a transport protocol keeps its checksum, counted from its header; -1 when it has none that is known here. */
export function checksumFieldOffset(protocol: number): number {
  switch (protocol) {
    case IpProtocol.tcp:
      return TcpField.checksum
    case IpProtocol.udp:
      return UdpField.checksum
    case IpProtocol.icmp:
    case IpProtocol.icmpv6:
      return IcmpField.checksum
    default:
      return -1
  }
}

/**
 * The checksum that a TCP, UDP, ICMP or ICMPv6 message of `length` bytes at `at` should have, in the packet at
 * `offset`. The checksum field counts as zero. For UDP a computed 0 is 0xffff (RFC 768).
 */
export function transportChecksum(
  view: DataView,
  offset: number,
  at: number,
  length: number,
  protocol: number,
): number {
  const field = checksumFieldOffset(protocol)
  let sum = protocol === IpProtocol.icmp ? 0 : pseudoHeaderSum(view, offset, protocol, length)
  sum = checksumAdd(view, at, field, sum)
  sum = checksumAdd(view, at + field + 2, length - field - 2, sum)
  const checksum = checksumFinish(sum)
  return checksum === 0 && protocol === IpProtocol.udp ? 0xffff : checksum
}

/** Computes and writes the checksum of the message at `at`; parameters as of `transportChecksum`. */
export function writeTransportChecksum(
  view: DataView,
  offset: number,
  at: number,
  length: number,
  protocol: number,
): void {
  view.setUint16(at + checksumFieldOffset(protocol), transportChecksum(view, offset, at, length, protocol))
}

/**
 * Whether the checksum of the message at `at` is right; parameters as of `transportChecksum`. A UDP checksum of 0 is
 * right in IPv4 ("none") and wrong in IPv6 (RFC 8200 §8.1).
 */
export function verifyTransportChecksum(
  view: DataView,
  offset: number,
  at: number,
  length: number,
  protocol: number,
): boolean {
  if (protocol === IpProtocol.udp && view.getUint16(at + UdpField.checksum) === 0) return ipVersion(view, offset) === 4
  const start = protocol === IpProtocol.icmp ? 0 : pseudoHeaderSum(view, offset, protocol, length)
  return checksumAdd(view, at, length, start) === 0xffff
}

/** The checksum after a 16-bit word changed: HC' = ~(~HC + ~m + m') (RFC 1624 §3, equation 3). */
export function updateChecksum16(checksum: number, before: number, after: number): number {
  return ~checksumFold((~checksum & 0xffff) + (~before & 0xffff) + after) & 0xffff
}

/** The checksum after a 32-bit word at an even distance changed. */
export function updateChecksum32(checksum: number, before: number, after: number): number {
  const sum =
    (~checksum & 0xffff) +
    (~before & 0xffff) +
    ((~before >>> 16) & 0xffff) +
    (after & 0xffff) +
    ((after >>> 16) & 0xffff)
  return ~checksumFold(sum) & 0xffff
}

/** The checksum after the 16 bytes of an IPv6 address changed from those at `before` to those at `after` in `afterView`. */
export function updateChecksum128(
  checksum: number,
  view: DataView,
  before: number,
  afterView: DataView,
  after: number,
): number {
  // Subtracting a sum is adding its complement, for eight words as for one.
  const removed = checksumAdd(view, before, 16)
  return ~checksumFold((~checksum & 0xffff) + (~removed & 0xffff) + checksumAdd(afterView, after, 16)) & 0xffff
}

/**
 * `updateChecksum16` for the checksum of UDP: "none" (0) stays 0, a computed 0 becomes 0xffff (RFC 768, RFC 3022 §4.1).
 */
export function updateUdpChecksum16(checksum: number, before: number, after: number): number {
  return checksum === 0 ? 0 : updateChecksum16(checksum, before, after) || 0xffff
}

/** `updateChecksum32` with the zero rules of UDP. */
export function updateUdpChecksum32(checksum: number, before: number, after: number): number {
  return checksum === 0 ? 0 : updateChecksum32(checksum, before, after) || 0xffff
}

/** `updateChecksum128` with the zero rules of UDP. */
export function updateUdpChecksum128(
  checksum: number,
  view: DataView,
  before: number,
  afterView: DataView,
  after: number,
): number {
  return checksum === 0 ? 0 : updateChecksum128(checksum, view, before, afterView, after) || 0xffff
}
