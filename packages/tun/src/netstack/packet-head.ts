import {
  checkPacket,
  checkSlot,
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
  type PacketBatch,
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
  /** How many of the packet's bytes lie at `offset`: not all of a super-packet's may. */
  bytesHere = 0
  /** The slot that holds the packet, of a batch; no batch when the packet was put together from fragments. */
  batch: PacketBatch | undefined
  slot = -1
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
    this.batch = undefined
    this.bytes = bytes
    this.view = view
    this.bytesHere = length
    return this.take(offset, length, locateTransport(view, offset, length))
  }

  /** The same of a slot, which may hold a super-packet of TCP. What `checkPackets` has found good isn't checked again. */
  readSlot(batch: PacketBatch, slot: number): 0 | DropReason {
    const reason = batch.locations[slot] === 0 ? checkSlot(batch, slot) : 0
    if (reason !== 0) return reason
    const length = batch.lengths[slot]!
    const location = batch.locations[slot]!
    const isChained = batch.next[slot] !== -1
    if ((isChained || batch.segments[slot]! > 1) && transportProtocol(location) !== IpProtocol.tcp) {
      return DropReason.unsupportedProtocol
    }
    this.batch = batch
    this.slot = slot
    this.bytes = batch.bytes
    this.view = batch.view
    this.bytesHere = isChained ? batch.ownLengths[slot]! : length
    return this.take(batch.offsets[slot]!, length, location)
  }

  private take(offset: number, length: number, location: number): 0 | DropReason {
    const { view } = this
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
