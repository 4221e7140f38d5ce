// ICMP errors about a packet: when one may be sent, and what it looks like.
import { writeIpv4HeaderChecksum, writeTransportChecksum } from './checksum.ts'
import { ICMP_HEADER_BYTES, IcmpField, Icmpv6Type, icmpType, isIcmpError, isIcmpv6Error } from './icmp.ts'
import { IpProtocol, ipVersion } from './ip-protocol.ts'
import { IPV4_HEADER_BYTES, Ipv4Field, ipv4Destination, ipv4DscpAndEcn, ipv4Source } from './ipv4.ts'
import { IPV6_HEADER_BYTES, Ipv6Field, ipv6TrafficClass } from './ipv6.ts'
import type { PacketBatch } from './packet-batch.ts'
import { cutPackets } from './super-packet.ts'
import { isLaterFragment, locateTransport, transportOffset, transportProtocol } from './transport.ts'

export interface IcmpErrorOptions {
  /** A value of `IcmpType` or `Icmpv6Type`, by the family of the packet. */
  readonly type: number
  readonly code: number
  /** Who reports the error: 4 or 16 bytes, by the family of the packet. */
  readonly source: Uint8Array
  /** The next-hop MTU of "fragmentation needed" (RFC 1191 §4) and "packet too big" (RFC 4443 §3.2). */
  readonly mtu?: number
  /** The faulty byte of a "parameter problem", counted from the start of the packet. */
  readonly pointer?: number
}

// No longer than what every host can take whole (RFC 1812 §4.3.2.3, RFC 4443 §2.4 (c)).
const maxErrorBytesV4 = 576
const maxErrorBytesV6 = 1280
const hopLimit = 64

/**
 * Builds the ICMP or ICMPv6 error about the packet at `offset`, which passed `checkPacket`, addressed to its source. It
 * carries as much of the packet as fits 576 (IPv4) or 1280 (IPv6) bytes, and the packet's DSCP.
 *
 * Returns `undefined` when the packet must not be answered (`mayAnswerWithIcmpError`). Limiting the rate of errors
 * (RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f)) is the caller's duty.
 *
 * @throws RangeError when the length of `source` is not that of the packet's family
 */
export function buildIcmpError(
  view: DataView,
  offset: number,
  length: number,
  options: IcmpErrorOptions,
): Uint8Array | undefined {
  if (!mayAnswerWithIcmpError(view, offset, length, options)) return undefined
  const v4 = ipVersion(view, offset) === 4
  if (options.source.length !== (v4 ? 4 : 16)) throw new RangeError('source must be of the family of the packet')
  const header = v4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES
  const limit = v4 ? maxErrorBytesV4 : maxErrorBytesV6
  const carried = Math.min(length, limit - header - ICMP_HEADER_BYTES)
  const bytes = new Uint8Array(header + ICMP_HEADER_BYTES + carried)
  const error = new DataView(bytes.buffer)
  const messageLength = bytes.length - header
  const triggerBytes = new Uint8Array(view.buffer, view.byteOffset + offset, length)
  if (v4) writeIpv4Header(error, bytes, ipv4DscpAndEcn(view, offset), options.source, triggerBytes)
  else writeIpv6Header(error, bytes, ipv6TrafficClass(view, offset), options.source, triggerBytes)
  error.setUint8(header, options.type)
  error.setUint8(header + IcmpField.code, options.code)
  if (v4) {
    if (options.pointer !== undefined) error.setUint8(header + IcmpField.parameter, options.pointer)
    if (options.mtu !== undefined) error.setUint16(header + IcmpField.nextHopMtu, Math.min(options.mtu, 0xffff))
  } else {
    error.setUint32(header + IcmpField.parameter, options.mtu ?? options.pointer ?? 0)
  }
  bytes.set(triggerBytes.subarray(0, carried), header + ICMP_HEADER_BYTES)
  writeTransportChecksum(error, 0, header, messageLength, v4 ? IpProtocol.icmp : IpProtocol.icmpv6)
  return bytes
}

/**
 * Builds the error about the packet in a slot. About a super-packet it is the error about its first packet, and a partial
 * checksum is completed: who gets it, and a translator on the way, finds a packet that was on a wire, however it travelled
 * here. (Kernels quote such a packet as it lies in memory, with the length of all and half a checksum; nobody has to
 * verify that, but the quoted length would tell a sender of 1400 bytes about 60,000.)
 */
export function buildIcmpErrorAbout(
  batch: PacketBatch,
  slot: number,
  options: IcmpErrorOptions,
): Uint8Array | undefined {
  const { view } = batch
  if (batch.segments[slot] === 1 && batch.partialChecksums[slot] === 0)
    return buildIcmpError(view, batch.offsets[slot]!, batch.lengths[slot]!, options)
  const first = cutPackets(batch, slot, 1)[0]!
  return buildIcmpError(new DataView(first.buffer), 0, first.length, options)
}

/**
 * Whether an ICMP error may be sent about the packet at `offset` (RFC 1812 §4.3.2.7, RFC 4443 §2.4 (e)). Never about
 * ICMP errors and redirects, later fragments, packets to multicast or broadcast (IPv6 allows "packet too big" and the
 * unrecognized option that asks for it), and packets whose source doesn't name one host.
 */
export function mayAnswerWithIcmpError(
  view: DataView,
  offset: number,
  length: number,
  about: Pick<IcmpErrorOptions, 'type' | 'code' | 'pointer'>,
): boolean {
  const location = locateTransport(view, offset, length)
  // RFC 4443 doesn't name later fragments, but no receiver could tell which flow such an error belongs to.
  if (location === -1 || isLaterFragment(location)) return false
  const at = offset + transportOffset(location)
  const protocol = transportProtocol(location)
  const typeIsThere = at < offset + length
  if (ipVersion(view, offset) === 4) {
    if (protocol === IpProtocol.icmp && (!typeIsThere || isIcmpError(icmpType(view, at)))) return false
    return namesOneHostV4(ipv4Source(view, offset)) && ipv4Destination(view, offset) >>> 28 < 0xe
  }
  if (protocol === IpProtocol.icmpv6) {
    if (!typeIsThere || isIcmpv6Error(icmpType(view, at)) || icmpType(view, at) === Icmpv6Type.redirect) return false
  }
  if (!namesOneHostV6(view, offset + Ipv6Field.source)) return false
  const toMulticast = view.getUint8(offset + Ipv6Field.destination) === 0xff
  return !toMulticast || about.type === Icmpv6Type.packetTooBig || asksForAnswer(view, offset, length, about)
}

/** Not "this network" (0/8), loopback, multicast, reserved or broadcast. */
function namesOneHostV4(address: number): boolean {
  const first = address >>> 24
  return first !== 0 && first !== 127 && first < 224
}

/** Not unspecified, loopback or multicast. */
function namesOneHostV6(view: DataView, at: number): boolean {
  if (view.getUint8(at) === 0xff) return false
  const upper = view.getUint32(at) | view.getUint32(at + 4) | view.getUint32(at + 8)
  return upper !== 0 || view.getUint32(at + 12) > 1
}

/** An unrecognized option whose highest bits are 10 wants an error also from multicast receivers (RFC 8200 §4.2). */
function asksForAnswer(
  view: DataView,
  offset: number,
  length: number,
  about: Pick<IcmpErrorOptions, 'type' | 'code' | 'pointer'>,
): boolean {
  if (about.type !== Icmpv6Type.parameterProblem || about.code !== 2) return false
  const pointer = about.pointer ?? 0
  return pointer >= IPV6_HEADER_BYTES && pointer < length && view.getUint8(offset + pointer) >>> 6 === 2
}

function writeIpv4Header(
  error: DataView,
  bytes: Uint8Array,
  dscpAndEcn: number,
  source: Uint8Array,
  trigger: Uint8Array,
): void {
  error.setUint8(0, 0x45)
  error.setUint8(Ipv4Field.dscpAndEcn, dscpAndEcn & 0xfc)
  error.setUint16(Ipv4Field.totalLength, bytes.length)
  // "Don't fragment" makes it atomic, so that it needs no identification (RFC 6864 §4.1).
  error.setUint16(Ipv4Field.flagsAndFragmentOffset, 0x4000)
  error.setUint8(Ipv4Field.timeToLive, hopLimit)
  error.setUint8(Ipv4Field.protocol, IpProtocol.icmp)
  bytes.set(source, Ipv4Field.source)
  bytes.set(trigger.subarray(Ipv4Field.source, Ipv4Field.source + 4), Ipv4Field.destination)
  writeIpv4HeaderChecksum(error, 0)
}

function writeIpv6Header(
  error: DataView,
  bytes: Uint8Array,
  trafficClass: number,
  source: Uint8Array,
  trigger: Uint8Array,
): void {
  error.setUint32(0, 0x6000_0000 | ((trafficClass & 0xfc) << 20))
  error.setUint16(Ipv6Field.payloadLength, bytes.length - IPV6_HEADER_BYTES)
  error.setUint8(Ipv6Field.nextHeader, IpProtocol.icmpv6)
  error.setUint8(Ipv6Field.hopLimit, hopLimit)
  bytes.set(source, Ipv6Field.source)
  bytes.set(trigger.subarray(Ipv6Field.source, Ipv6Field.source + 16), Ipv6Field.destination)
}
