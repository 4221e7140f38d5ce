import {
  IPV4_HEADER_BYTES,
  IPV6_HEADER_BYTES,
  IpProtocol,
  Ipv4Field,
  Ipv6Field,
  TCP_HEADER_BYTES,
  TcpField,
  TcpFlag,
  tcpAcknowledgmentNumber,
  tcpFlags,
  tcpHeaderLength,
  tcpSequenceNumber,
  writeIpv4HeaderChecksum,
  writeTransportChecksum,
} from '@twinbore/core/packet'
import type { PacketFacts } from './packet-facts.ts'

const hopLimit = 64

/**
 * The RST that a host without the connection would answer a segment with (RFC 9293 §3.5.2), from the segment's destination
 * to its source. `undefined` for a RST, which is never answered.
 */
export function buildReset(view: DataView, offset: number, facts: PacketFacts): Uint8Array | undefined {
  const { at, end, version } = facts
  const flags = tcpFlags(view, at)
  if ((flags & TcpFlag.rst) !== 0) return undefined
  const header = version === 4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES
  const bytes = new Uint8Array(header + TCP_HEADER_BYTES)
  const reset = new DataView(bytes.buffer)
  if (version === 4) {
    reset.setUint8(0, 0x45)
    reset.setUint16(Ipv4Field.totalLength, bytes.length)
    reset.setUint16(Ipv4Field.flagsAndFragmentOffset, 0x4000)
    reset.setUint8(Ipv4Field.timeToLive, hopLimit)
    reset.setUint8(Ipv4Field.protocol, IpProtocol.tcp)
    reset.setUint32(Ipv4Field.source, view.getUint32(offset + Ipv4Field.destination))
    reset.setUint32(Ipv4Field.destination, view.getUint32(offset + Ipv4Field.source))
    writeIpv4HeaderChecksum(reset, 0)
  } else {
    reset.setUint8(0, 0x60)
    reset.setUint16(Ipv6Field.payloadLength, TCP_HEADER_BYTES)
    reset.setUint8(Ipv6Field.nextHeader, IpProtocol.tcp)
    reset.setUint8(Ipv6Field.hopLimit, hopLimit)
    const packet = new Uint8Array(view.buffer, view.byteOffset + offset, IPV6_HEADER_BYTES)
    bytes.set(packet.subarray(Ipv6Field.destination, Ipv6Field.destination + 16), Ipv6Field.source)
    bytes.set(packet.subarray(Ipv6Field.source, Ipv6Field.source + 16), Ipv6Field.destination)
  }
  reset.setUint16(header, facts.destinationPort)
  reset.setUint16(header + TcpField.destinationPort, facts.sourcePort)
  if ((flags & TcpFlag.ack) !== 0) {
    reset.setUint32(header + TcpField.sequenceNumber, tcpAcknowledgmentNumber(view, at))
    reset.setUint8(header + TcpField.flags, TcpFlag.rst)
  } else {
    const controls = ((flags & TcpFlag.syn) !== 0 ? 1 : 0) + ((flags & TcpFlag.fin) !== 0 ? 1 : 0)
    const length = end - at - tcpHeaderLength(view, at) + controls
    reset.setUint32(header + TcpField.acknowledgmentNumber, tcpSequenceNumber(view, at) + length)
    reset.setUint8(header + TcpField.flags, TcpFlag.rst | TcpFlag.ack)
  }
  reset.setUint8(header + TcpField.dataOffset, (TCP_HEADER_BYTES / 4) << 4)
  writeTransportChecksum(reset, 0, header, TCP_HEADER_BYTES, IpProtocol.tcp)
  return bytes
}
