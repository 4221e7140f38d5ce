// Packets that the stack makes itself: UDP and ICMP, cut to pieces where they are longer than the MTU.
import {
  IPV4_HEADER_BYTES,
  IPV6_HEADER_BYTES,
  IpProtocol,
  Ipv4Field,
  Ipv6Field,
  KeyedHash,
  writeIpv4HeaderChecksum,
  writeTransportChecksum,
} from '@twinbore/core/packet'
import { isV4, writeAddress } from './address-words.ts'
import type { NetStackConfig } from './options.ts'

const fragmentHeaderBytes = 8
const identificationCounters = 1024

export class PacketWriter {
  private readonly hopLimit: number
  private readonly hash: KeyedHash
  /** Next identifications, by hash of the ends and the protocol, so that one path's says nothing about another's (RFC 7739 §5.3). */
  private readonly identifications: Uint32Array = new Uint32Array(identificationCounters)
  private readonly key: Int32Array = new Int32Array(9)

  constructor(config: NetStackConfig) {
    this.hopLimit = config.hopLimit
    this.hash = new KeyedHash(config.random)
    for (let i = 0; i < identificationCounters; i++) this.identifications[i] = config.random.uint32()
  }

  /**
   * Makes a packet around a transport message whose checksum is filled in here, or its fragments when it is longer than
   * `mtu`. Together with its headers the message fits an IP packet.
   */
  packets(
    source: Int32Array,
    destination: Int32Array,
    protocol: number,
    message: Uint8Array,
    mtu: number,
  ): Uint8Array[] {
    const v4 = isV4(destination)
    const header = v4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES
    const packet = new Uint8Array(header + message.length)
    const view = new DataView(packet.buffer)
    packet.set(message, header)
    const identification = v4 || packet.length > mtu ? this.identify(source, destination, protocol) : 0
    if (v4) this.writeV4(view, source, destination, protocol, identification)
    else this.writeV6(view, source, destination, protocol)
    writeTransportChecksum(view, 0, header, message.length, protocol)
    if (packet.length <= mtu) return [packet]
    return v4 ? fragmentV4(packet, mtu) : fragmentV6(packet, mtu, identification)
  }

  private identify(source: Int32Array, destination: Int32Array, protocol: number): number {
    this.key.set(source)
    this.key.set(destination, 4)
    this.key[8] = protocol
    const counter = this.hash.words(this.key, 0, 9) & (identificationCounters - 1)
    return this.identifications[counter]!++
  }

  private writeV4(
    view: DataView,
    source: Int32Array,
    destination: Int32Array,
    protocol: number,
    identification: number,
  ): void {
    view.setUint8(0, 0x45)
    view.setUint16(Ipv4Field.totalLength, view.byteLength)
    view.setUint16(Ipv4Field.identification, identification & 0xffff)
    view.setUint8(Ipv4Field.timeToLive, this.hopLimit)
    view.setUint8(Ipv4Field.protocol, protocol)
    writeAddress(view, Ipv4Field.source, source)
    writeAddress(view, Ipv4Field.destination, destination)
    writeIpv4HeaderChecksum(view, 0)
  }

  private writeV6(view: DataView, source: Int32Array, destination: Int32Array, protocol: number): void {
    view.setUint8(0, 0x60)
    view.setUint16(Ipv6Field.payloadLength, view.byteLength - IPV6_HEADER_BYTES)
    view.setUint8(Ipv6Field.nextHeader, protocol)
    view.setUint8(Ipv6Field.hopLimit, this.hopLimit)
    writeAddress(view, Ipv6Field.source, source)
    writeAddress(view, Ipv6Field.destination, destination)
  }
}

/** RFC 791 §3.2: every piece but the last carries a multiple of 8 bytes. */
function fragmentV4(packet: Uint8Array, mtu: number): Uint8Array[] {
  const step = (mtu - IPV4_HEADER_BYTES) & ~7
  const fragments: Uint8Array[] = []
  const dataBytes = packet.length - IPV4_HEADER_BYTES
  for (let position = 0; position < dataBytes; position += step) {
    const length = Math.min(step, dataBytes - position)
    const fragment = new Uint8Array(IPV4_HEADER_BYTES + length)
    const start = IPV4_HEADER_BYTES + position
    fragment.set(packet.subarray(0, IPV4_HEADER_BYTES))
    fragment.set(packet.subarray(start, start + length), IPV4_HEADER_BYTES)
    const view = new DataView(fragment.buffer)
    const more = position + length < dataBytes ? 0x2000 : 0
    view.setUint16(Ipv4Field.totalLength, fragment.length)
    view.setUint16(Ipv4Field.flagsAndFragmentOffset, more | (position >>> 3))
    view.setUint16(Ipv4Field.checksum, 0)
    writeIpv4HeaderChecksum(view, 0)
    fragments.push(fragment)
  }
  return fragments
}

/** RFC 8200 §4.5. */
function fragmentV6(packet: Uint8Array, mtu: number, identification: number): Uint8Array[] {
  const step = (mtu - IPV6_HEADER_BYTES - fragmentHeaderBytes) & ~7
  const fragments: Uint8Array[] = []
  const dataBytes = packet.length - IPV6_HEADER_BYTES
  for (let position = 0; position < dataBytes; position += step) {
    const length = Math.min(step, dataBytes - position)
    const dataStart = IPV6_HEADER_BYTES + fragmentHeaderBytes
    const fragment = new Uint8Array(dataStart + length)
    const start = IPV6_HEADER_BYTES + position
    fragment.set(packet.subarray(0, IPV6_HEADER_BYTES))
    fragment.set(packet.subarray(start, start + length), dataStart)
    const view = new DataView(fragment.buffer)
    view.setUint16(Ipv6Field.payloadLength, fragmentHeaderBytes + length)
    view.setUint8(Ipv6Field.nextHeader, IpProtocol.fragment)
    view.setUint8(IPV6_HEADER_BYTES, packet[Ipv6Field.nextHeader]!)
    view.setUint16(IPV6_HEADER_BYTES + 2, position | (position + length < dataBytes ? 1 : 0))
    view.setUint32(IPV6_HEADER_BYTES + 4, identification)
    fragments.push(fragment)
  }
  return fragments
}
