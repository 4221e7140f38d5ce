// Whole IP packets with right lengths and checksums, from fields that are easy to write in a test.
import { IpAddress } from '../address/ip-address.ts'
import { writeIpv4HeaderChecksum, writeTransportChecksum } from '../packet/checksum.ts'
import { ICMP_HEADER_BYTES, IcmpField, IcmpType, Icmpv6Type } from '../packet/icmp.ts'
import { IpProtocol } from '../packet/ip-protocol.ts'
import { IPV4_HEADER_BYTES, Ipv4Field } from '../packet/ipv4.ts'
import { IPV6_HEADER_BYTES, Ipv6Field } from '../packet/ipv6.ts'
import { TCP_HEADER_BYTES, TcpField, TcpFlag } from '../packet/tcp.ts'
import { UDP_HEADER_BYTES, UdpField } from '../packet/udp.ts'

/** The IP header of a packet. Both addresses are of one family, which decides the family of the packet. */
export interface IpHeaderFields {
  readonly source: IpAddress | string
  readonly destination: IpAddress | string
  /** TTL or hop limit. @defaultValue 64 */
  readonly hopLimit?: number
  /** DSCP and ECN, 8 bits. @defaultValue 0 */
  readonly trafficClass?: number
  /** IPv4 only. @defaultValue 0 */
  readonly identification?: number
  /** IPv4 only. @defaultValue false */
  readonly dontFragment?: boolean
  /** IPv4 options; padded with zeros to whole words. */
  readonly options?: Uint8Array
  /** IPv6 flow label, 20 bits. @defaultValue 0 */
  readonly flowLabel?: number
  /** IPv6 extension headers in order; `body` is what follows their first two bytes, padded to whole 8 bytes. */
  readonly extensionHeaders?: readonly { readonly type: number; readonly body: Uint8Array }[]
}

export interface PortFields {
  readonly sourcePort: number
  readonly destinationPort: number
}

export interface TcpFields extends IpHeaderFields, PortFields {
  /** A sum of `TcpFlag` values. @defaultValue TcpFlag.ack */
  readonly flags?: number
  readonly sequenceNumber?: number
  readonly acknowledgmentNumber?: number
  /** @defaultValue 65535 */
  readonly window?: number
  /** TCP options; padded with zeros ("end of options") to whole words. */
  readonly tcpOptions?: Uint8Array
  readonly payload?: Uint8Array
}

export interface EchoFields extends IpHeaderFields {
  readonly identifier: number
  readonly sequenceNumber?: number
  /** Whether this is a reply. @defaultValue false */
  readonly reply?: boolean
  readonly payload?: Uint8Array
}

export interface IcmpErrorFields extends IpHeaderFields {
  readonly type: number
  readonly code: number
  /** The 32 bits behind the checksum (MTU, pointer, length field). @defaultValue 0 */
  readonly parameter?: number
  /** The packet that the error is about, or the piece of it that the error carries. */
  readonly about: Uint8Array
}

const nothing = new Uint8Array(0)

/** A view of a whole packet, for the field accessors of `core/packet`. */
export function packetView(packet: Uint8Array): DataView {
  return new DataView(packet.buffer, packet.byteOffset, packet.byteLength)
}

/** An IP packet with any payload, which stays as it is. */
export function ipPacket(fields: IpHeaderFields & { protocol: number; payload: Uint8Array }): Uint8Array {
  const source = addressOf(fields.source)
  const destination = addressOf(fields.destination)
  if (source.family !== destination.family) throw new RangeError('source and destination must be of one family')
  return source.family === 4 ? ipv4Packet(fields, source, destination) : ipv6Packet(fields, source, destination)
}

/** A UDP packet. Without `payload` it is empty; `checksum: 'none'` leaves the checksum 0. */
export function udpPacket(
  fields: IpHeaderFields & PortFields & { readonly payload?: Uint8Array; readonly checksum?: 'none' },
): Uint8Array {
  const payload = fields.payload ?? nothing
  const message = new Uint8Array(UDP_HEADER_BYTES + payload.length)
  const view = packetView(message)
  view.setUint16(0, fields.sourcePort)
  view.setUint16(UdpField.destinationPort, fields.destinationPort)
  view.setUint16(UdpField.length, message.length)
  message.set(payload, UDP_HEADER_BYTES)
  const packet = ipPacket({ ...fields, protocol: IpProtocol.udp, payload: message })
  if (fields.checksum !== 'none') finishTransport(packet, message.length, IpProtocol.udp)
  return packet
}

/** A TCP segment. */
export function tcpPacket(fields: TcpFields): Uint8Array {
  const options = fields.tcpOptions ?? nothing
  const payload = fields.payload ?? nothing
  const headerLength = TCP_HEADER_BYTES + roundUp(options.length, 4)
  const message = new Uint8Array(headerLength + payload.length)
  const view = packetView(message)
  view.setUint16(0, fields.sourcePort)
  view.setUint16(TcpField.destinationPort, fields.destinationPort)
  view.setUint32(TcpField.sequenceNumber, fields.sequenceNumber ?? 0)
  view.setUint32(TcpField.acknowledgmentNumber, fields.acknowledgmentNumber ?? 0)
  view.setUint8(TcpField.dataOffset, (headerLength >>> 2) << 4)
  view.setUint8(TcpField.flags, fields.flags ?? TcpFlag.ack)
  view.setUint16(TcpField.window, fields.window ?? 65535)
  message.set(options, TCP_HEADER_BYTES)
  message.set(payload, headerLength)
  const packet = ipPacket({ ...fields, protocol: IpProtocol.tcp, payload: message })
  return finishTransport(packet, message.length, IpProtocol.tcp)
}

/** An echo request or reply, ICMP or ICMPv6. */
export function icmpEchoPacket(fields: EchoFields): Uint8Array {
  const v4 = addressOf(fields.source).family === 4
  const payload = fields.payload ?? nothing
  const message = new Uint8Array(ICMP_HEADER_BYTES + payload.length)
  const view = packetView(message)
  const types = v4 ? IcmpType : Icmpv6Type
  view.setUint8(0, fields.reply ? types.echoReply : types.echoRequest)
  view.setUint16(IcmpField.identifier, fields.identifier)
  view.setUint16(IcmpField.sequenceNumber, fields.sequenceNumber ?? 0)
  message.set(payload, ICMP_HEADER_BYTES)
  return icmpPacket(fields, v4, message)
}

/** An ICMP or ICMPv6 error as a router on the way would send it, about any bytes. */
export function icmpErrorPacket(fields: IcmpErrorFields): Uint8Array {
  const v4 = addressOf(fields.source).family === 4
  const message = new Uint8Array(ICMP_HEADER_BYTES + fields.about.length)
  const view = packetView(message)
  view.setUint8(0, fields.type)
  view.setUint8(IcmpField.code, fields.code)
  view.setUint32(IcmpField.parameter, fields.parameter ?? 0)
  message.set(fields.about, ICMP_HEADER_BYTES)
  return icmpPacket(fields, v4, message)
}

function icmpPacket(fields: IpHeaderFields, v4: boolean, message: Uint8Array): Uint8Array {
  const protocol = v4 ? IpProtocol.icmp : IpProtocol.icmpv6
  return finishTransport(ipPacket({ ...fields, protocol, payload: message }), message.length, protocol)
}

function ipv4Packet(
  fields: IpHeaderFields & { protocol: number; payload: Uint8Array },
  source: IpAddress,
  destination: IpAddress,
): Uint8Array {
  const options = fields.options ?? nothing
  const headerLength = IPV4_HEADER_BYTES + roundUp(options.length, 4)
  const packet = new Uint8Array(headerLength + fields.payload.length)
  const view = packetView(packet)
  view.setUint8(0, 0x40 | (headerLength >>> 2))
  view.setUint8(Ipv4Field.dscpAndEcn, fields.trafficClass ?? 0)
  view.setUint16(Ipv4Field.totalLength, packet.length)
  view.setUint16(Ipv4Field.identification, fields.identification ?? 0)
  view.setUint16(Ipv4Field.flagsAndFragmentOffset, fields.dontFragment ? 0x4000 : 0)
  view.setUint8(Ipv4Field.timeToLive, fields.hopLimit ?? 64)
  view.setUint8(Ipv4Field.protocol, fields.protocol)
  packet.set(source.bytes, Ipv4Field.source)
  packet.set(destination.bytes, Ipv4Field.destination)
  packet.set(options, IPV4_HEADER_BYTES)
  packet.set(fields.payload, headerLength)
  writeIpv4HeaderChecksum(view, 0)
  return packet
}

function ipv6Packet(
  fields: IpHeaderFields & { protocol: number; payload: Uint8Array },
  source: IpAddress,
  destination: IpAddress,
): Uint8Array {
  const headers = fields.extensionHeaders ?? []
  const extensions = headers.map(({ body }, i) => {
    const bytes = new Uint8Array(roundUp(2 + body.length, 8))
    bytes[0] = headers[i + 1]?.type ?? fields.protocol
    bytes[1] = (bytes.length >>> 3) - 1
    bytes.set(body, 2)
    return bytes
  })
  const payload = concatenate([...extensions, fields.payload])
  const packet = new Uint8Array(IPV6_HEADER_BYTES + payload.length)
  const view = packetView(packet)
  view.setUint32(0, 0x6000_0000 | ((fields.trafficClass ?? 0) << 20) | (fields.flowLabel ?? 0))
  view.setUint16(Ipv6Field.payloadLength, payload.length)
  view.setUint8(Ipv6Field.nextHeader, headers[0]?.type ?? fields.protocol)
  view.setUint8(Ipv6Field.hopLimit, fields.hopLimit ?? 64)
  packet.set(source.bytes, Ipv6Field.source)
  packet.set(destination.bytes, Ipv6Field.destination)
  packet.set(payload, IPV6_HEADER_BYTES)
  return packet
}

/** Fills in the checksum of the last `length` bytes of a packet. */
function finishTransport(packet: Uint8Array, length: number, protocol: number): Uint8Array {
  writeTransportChecksum(packetView(packet), 0, packet.length - length, length, protocol)
  return packet
}

function addressOf(address: IpAddress | string): IpAddress {
  return typeof address === 'string' ? IpAddress.of(address) : address
}

function roundUp(length: number, to: number): number {
  return Math.ceil(length / to) * to
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    result.set(part, at)
    at += part.length
  }
  return result
}
