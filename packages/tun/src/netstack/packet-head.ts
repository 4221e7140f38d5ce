import {
  checkPacket,
  DropReason,
  hasRoutingHeader,
  IPV6_HEADER_BYTES,
  IpProtocol,
  Ipv4Field,
  Ipv6Field,
  ipVersion,
  ipv4HeaderLength,
  ipv4TimeToLive,
  ipv6HopLimit,
  isFragment,
  locateTransport,
  transportOffset,
  transportProtocol,
} from '@twinbore/core/packet'
import { isMartianSource, isV4, readV4, readV6, sameWords } from './address-words.ts'

const looseSourceRoute = 131
const strictSourceRoute = 137

/** What the stack needs to know of one packet that came in. One object serves all packets; nothing of it outlives the call. */
export class PacketHead {
  view: DataView = new DataView(new ArrayBuffer(0))
  bytes: Uint8Array = new Uint8Array(0)
  /** Where the packet begins in `view` and `bytes`, where its transport header does, and where it ends. */
  offset = 0
  at = 0
  end = 0
  version = 4
  /** An `IpProtocol`; of a later fragment that of the whole datagram (IPv4) or of the fragment header (IPv6). */
  protocol = 0
  hopLimit = 0
  isFragment = false
  readonly source: Int32Array = new Int32Array(4)
  readonly destination: Int32Array = new Int32Array(4)

  /** How many bytes follow from the transport header on. */
  get transportLength(): number {
    return this.end - this.at
  }

  /** Reads and checks a packet. Returns 0, or why it is dropped. */
  read(bytes: Uint8Array, view: DataView, offset: number, length: number): 0 | DropReason {
    const reason = checkPacket(view, offset, length)
    if (reason !== 0) return reason
    const location = locateTransport(view, offset, length)
    this.view = view
    this.bytes = bytes
    this.offset = offset
    this.end = offset + length
    this.at = offset + transportOffset(location)
    this.protocol = transportProtocol(location)
    this.isFragment = isFragment(location)
    this.version = ipVersion(view, offset)
    if (this.version === 4) {
      readV4(view, offset + Ipv4Field.source, this.source)
      readV4(view, offset + Ipv4Field.destination, this.destination)
      this.hopLimit = ipv4TimeToLive(view, offset)
      if (hasSourceRoute(view, offset)) return DropReason.refusedOptions
    } else {
      readV6(view, offset + Ipv6Field.source, this.source)
      readV6(view, offset + Ipv6Field.destination, this.destination)
      this.hopLimit = ipv6HopLimit(view, offset)
      if (isV4(this.source) || isV4(this.destination)) return DropReason.deniedDestination
      if (hasRoutingHeader(location) || hasDiscardedOption(view, offset, this.at)) return DropReason.refusedOptions
    }
    if (isMartianSource(this.source) || sameWords(this.source, this.destination)) return DropReason.spoofedSource
    return 0
  }
}

/** A packet that wants to be routed onward by its options isn't for the end of its route. */
function hasSourceRoute(view: DataView, offset: number): boolean {
  const end = offset + ipv4HeaderLength(view, offset)
  for (let at = offset + 20; at < end; ) {
    const type = view.getUint8(at)
    if (type === 0) return false
    if (type === looseSourceRoute || type === strictSourceRoute) return true
    if (type === 1) at++
    else {
      const length = at + 1 < end ? view.getUint8(at + 1) : 0
      if (length < 2) return false
      at += length
    }
  }
  return false
}

/** Whether a hop-by-hop or destination option that isn't known here wants the packet dropped (RFC 8200 §4.2). */
function hasDiscardedOption(view: DataView, offset: number, transport: number): boolean {
  let nextHeader = view.getUint8(offset + Ipv6Field.nextHeader)
  let at = offset + IPV6_HEADER_BYTES
  while (at < transport) {
    const length = nextHeader === IpProtocol.fragment ? 8 : (view.getUint8(at + 1) + 1) << 3
    if (nextHeader === IpProtocol.hopByHopOptions || nextHeader === IpProtocol.destinationOptions) {
      for (let option = at + 2; option + 1 < at + length; ) {
        const type = view.getUint8(option)
        // The two highest bits say what a host does that doesn't know the option; 00 skips it, and so is all padding.
        if (type >>> 6 !== 0) return true
        option += type === 0 ? 1 : 2 + view.getUint8(option + 1)
      }
    }
    nextHeader = view.getUint8(at)
    at += length
  }
  return false
}
