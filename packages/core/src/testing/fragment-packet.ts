// Splits packets as a router (IPv4) or a sending host (IPv6) does.
import { writeIpv4HeaderChecksum } from '../packet/checksum.ts'
import { IpProtocol, ipVersion } from '../packet/ip-protocol.ts'
import { Ipv4Field, ipv4HeaderLength } from '../packet/ipv4.ts'
import { IPV6_HEADER_BYTES, Ipv6Field } from '../packet/ipv6.ts'
import { packetView } from './packet-builder.ts'

/**
 * Splits a packet that isn't a fragment into fragments of at most `mtu` bytes, in order. IPv4 keeps the packet's
 * identification and copies its options into every fragment; IPv6 puts a fragment header with `identification` right
 * behind the fixed header, so that extension headers count as data. A packet that fits comes back alone, unchanged.
 *
 * @throws RangeError when `mtu` has no room for 8 bytes of data
 */
export function fragmentPacket(packet: Uint8Array, mtu: number, identification = 1): Uint8Array[] {
  if (packet.length <= mtu) return [packet]
  return ipVersion(packetView(packet), 0) === 4 ? fragmentIpv4(packet, mtu) : fragmentIpv6(packet, mtu, identification)
}

function fragmentIpv4(packet: Uint8Array, mtu: number): Uint8Array[] {
  const headerLength = ipv4HeaderLength(packetView(packet), 0)
  const header = packet.subarray(0, headerLength)
  return pieces(packet.subarray(headerLength), mtu - headerLength).map(({ data, position, more }) => {
    const fragment = new Uint8Array(headerLength + data.length)
    fragment.set(header)
    fragment.set(data, headerLength)
    const view = packetView(fragment)
    view.setUint16(Ipv4Field.totalLength, fragment.length)
    view.setUint16(Ipv4Field.flagsAndFragmentOffset, (more ? 0x2000 : 0) | (position >>> 3))
    writeIpv4HeaderChecksum(view, 0)
    return fragment
  })
}

function fragmentIpv6(packet: Uint8Array, mtu: number, identification: number): Uint8Array[] {
  const dataStart = IPV6_HEADER_BYTES + 8
  const nextHeader = packet[Ipv6Field.nextHeader]!
  return pieces(packet.subarray(IPV6_HEADER_BYTES), mtu - dataStart).map(({ data, position, more }) => {
    const fragment = new Uint8Array(dataStart + data.length)
    fragment.set(packet.subarray(0, IPV6_HEADER_BYTES))
    fragment.set(data, dataStart)
    const view = packetView(fragment)
    view.setUint16(Ipv6Field.payloadLength, fragment.length - IPV6_HEADER_BYTES)
    view.setUint8(Ipv6Field.nextHeader, IpProtocol.fragment)
    view.setUint8(IPV6_HEADER_BYTES, nextHeader)
    view.setUint16(IPV6_HEADER_BYTES + 2, position | (more ? 1 : 0))
    view.setUint32(IPV6_HEADER_BYTES + 4, identification)
    return fragment
  })
}

function pieces(data: Uint8Array, room: number): { data: Uint8Array; position: number; more: boolean }[] {
  const step = room & ~7
  if (step < 8) throw new RangeError('mtu must have room for 8 bytes of data')
  const result: { data: Uint8Array; position: number; more: boolean }[] = []
  for (let position = 0; position < data.length; position += step) {
    result.push({ data: data.subarray(position, position + step), position, more: position + step < data.length })
  }
  return result
}
