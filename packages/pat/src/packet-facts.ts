import {
  DropReason,
  IcmpType,
  Icmpv6Type,
  IpProtocol,
  Ipv4Field,
  Ipv6Field,
  icmpIdentifier,
  icmpType,
  ipVersion,
  ipv4DontFragment,
  ipv4FragmentOffset,
  ipv4HeaderLength,
  ipv4Identification,
  ipv4MoreFragments,
  ipv6FragmentHeader,
  ipv6FragmentIdentification,
  ipv6FragmentOffset,
  ipv6MoreFragments,
  isFragment,
  isLaterFragment,
  locateTransport,
  type PacketBatch,
  transportOffset,
  transportProtocol,
  udpDestinationPort,
  udpSourcePort,
} from '@twinbore/core/packet'
import { V4_MAPPED } from './address.ts'

/** The protocols of the tables. */
export const Protocol = { tcp: 0, udp: 1, icmp: 2, none: -1 } as const

/** What kind of ICMP message a packet is. */
export const IcmpKind = { none: 0, query: 1, reply: 2, error: 3, other: 4 } as const

/**
 * What the translator wants to know about one packet, read once and used again for the next one, so that nothing is
 * allocated. Addresses are words as in `address.ts`; positions count from the start of the view.
 */
export class PacketFacts {
  version = 4
  /** Behind the packet. */
  end = 0
  /** Of the transport header, or of the data of a later fragment. */
  at = 0
  ipProtocol = 0
  /** A value of `Protocol`; `none` for what has no ports, ICMP errors and later fragments included. */
  protocol: number = Protocol.none
  icmp: number = IcmpKind.none
  hopLimit = 0
  sourceA = 0
  sourceB = 0
  sourceC = 0
  sourceD = 0
  destinationA = 0
  destinationB = 0
  destinationC = 0
  destinationD = 0
  /** Ports; of an echo message the identifier, in both. */
  sourcePort = 0
  destinationPort = 0
  isFragment = false
  isLaterFragment = false
  /** An IPv4 packet that can't be and is not fragmented (RFC 6864 §4). */
  isAtomic = false
  /** The IPv6 fragment header, or -1. */
  fragmentHeader = -1
  fragmentId = 0
  /** Where the data of a fragment begins in the whole datagram. */
  fragmentOffset = 0
  moreFragments = false

  /** What `locateTransport` says. */
  location = 0
  /** How many packets it stands for. */
  segments = 1
  /** Whether its checksum is partial, see `PacketBatch.partialChecksums`. */
  partialChecksum = false
  /** Where it is a slot of, or nothing for a packet that lies alone. */
  batch: PacketBatch | undefined
  slot = 0

  /** Reads the packet of a slot that passed `checkSlot`. Returns 0 or why it must be dropped. */
  readSlot(batch: PacketBatch, slot: number): 0 | DropReason {
    const reason = this.readHeaders(batch.view, batch.offsets[slot]!, batch.lengths[slot]!, batch.locations[slot]!)
    this.batch = batch
    this.slot = slot
    this.segments = batch.segments[slot]!
    this.partialChecksum = batch.partialChecksums[slot] === 1
    return reason
  }

  /** Reads a packet whose headers were checked and that lies alone, such as one embedded in an ICMP error. */
  readHeaders(
    view: DataView,
    offset: number,
    length: number,
    location: number = locateTransport(view, offset, length),
  ): 0 | DropReason {
    this.batch = undefined
    this.segments = 1
    this.partialChecksum = false
    this.location = location
    this.version = ipVersion(view, offset)
    this.end = offset + length
    this.at = offset + transportOffset(location)
    this.ipProtocol = transportProtocol(location)
    this.isFragment = isFragment(location)
    this.isLaterFragment = isLaterFragment(location)
    if (this.version === 4) this.readIpv4(view, offset)
    else this.readIpv6(view, offset, length, transportOffset(location))
    this.readTransport(view)
    return this.version === 6 && this.hidesIpv4() ? DropReason.malformed : 0
  }

  private readIpv4(view: DataView, offset: number): void {
    this.hopLimit = view.getUint8(offset + Ipv4Field.timeToLive)
    this.sourceA = 0
    this.sourceB = 0
    this.sourceC = V4_MAPPED
    this.sourceD = view.getInt32(offset + Ipv4Field.source)
    this.destinationA = 0
    this.destinationB = 0
    this.destinationC = V4_MAPPED
    this.destinationD = view.getInt32(offset + Ipv4Field.destination)
    this.fragmentHeader = -1
    this.isAtomic = !this.isFragment && ipv4DontFragment(view, offset)
    if (!this.isFragment) return
    this.fragmentId = ipv4Identification(view, offset)
    this.fragmentOffset = ipv4FragmentOffset(view, offset)
    this.moreFragments = ipv4MoreFragments(view, offset)
  }

  private readIpv6(view: DataView, offset: number, length: number, headers: number): void {
    this.hopLimit = view.getUint8(offset + Ipv6Field.hopLimit)
    this.sourceA = view.getInt32(offset + Ipv6Field.source)
    this.sourceB = view.getInt32(offset + Ipv6Field.source + 4)
    this.sourceC = view.getInt32(offset + Ipv6Field.source + 8)
    this.sourceD = view.getInt32(offset + Ipv6Field.source + 12)
    this.destinationA = view.getInt32(offset + Ipv6Field.destination)
    this.destinationB = view.getInt32(offset + Ipv6Field.destination + 4)
    this.destinationC = view.getInt32(offset + Ipv6Field.destination + 8)
    this.destinationD = view.getInt32(offset + Ipv6Field.destination + 12)
    this.isAtomic = true
    this.fragmentHeader = headers > 40 ? ipv6FragmentHeader(view, offset, length) : -1
    if (this.fragmentHeader === -1) return
    this.fragmentId = ipv6FragmentIdentification(view, this.fragmentHeader) | 0
    this.fragmentOffset = ipv6FragmentOffset(view, this.fragmentHeader)
    this.moreFragments = ipv6MoreFragments(view, this.fragmentHeader)
  }

  private readTransport(view: DataView): void {
    this.protocol = Protocol.none
    this.icmp = IcmpKind.none
    if (this.isLaterFragment) return
    if (this.ipProtocol === IpProtocol.tcp || this.ipProtocol === IpProtocol.udp) {
      this.protocol = this.ipProtocol === IpProtocol.tcp ? Protocol.tcp : Protocol.udp
      // TCP and UDP keep their ports in the same place.
      this.sourcePort = udpSourcePort(view, this.at)
      this.destinationPort = udpDestinationPort(view, this.at)
    } else if (this.ipProtocol === (this.version === 4 ? IpProtocol.icmp : IpProtocol.icmpv6)) {
      this.icmp = this.version === 4 ? icmpKind(icmpType(view, this.at)) : icmpv6Kind(icmpType(view, this.at))
      if (this.icmp !== IcmpKind.query && this.icmp !== IcmpKind.reply) return
      this.protocol = Protocol.icmp
      this.sourcePort = icmpIdentifier(view, this.at)
      this.destinationPort = this.sourcePort
    }
  }

  /** IPv4-mapped addresses never stand in an IPv6 header on the wire (RFC 4038 §4.2); here they would pass for IPv4. */
  private hidesIpv4(): boolean {
    const source = this.sourceA === 0 && this.sourceB === 0 && this.sourceC === V4_MAPPED
    return source || (this.destinationA === 0 && this.destinationB === 0 && this.destinationC === V4_MAPPED)
  }
}

/**
 * Whether headers hold what a translator must not let through: IPv4 options other than padding (source routes,
 * recorded routes and timestamps would leak addresses), IPv6 routing headers, home addresses, and hop-by-hop options
 * that ask routers to discard the packet (RFC 8200 §4.2). The packet's headers were checked.
 *
 * @param transport - where the transport header begins, counted from the start of the packet
 */
export function hasRefusedOptions(view: DataView, offset: number, transport: number): boolean {
  if (ipVersion(view, offset) === 4) {
    const end = offset + ipv4HeaderLength(view, offset)
    for (let at = offset + 20; at < end; at++) {
      const kind = view.getUint8(at)
      if (kind === 0) break
      if (kind !== 1) return true
    }
    return false
  }
  let nextHeader = view.getUint8(offset + Ipv6Field.nextHeader)
  for (let at = offset + 40; at < offset + transport; ) {
    if (nextHeader === IpProtocol.routing) return true
    const bytes = nextHeader === IpProtocol.fragment ? 8 : (view.getUint8(at + 1) + 1) << 3
    const hopByHop = nextHeader === IpProtocol.hopByHopOptions
    if ((hopByHop || nextHeader === IpProtocol.destinationOptions) && hasRefusedTlv(view, at, bytes, hopByHop))
      return true
    nextHeader = view.getUint8(at)
    at += bytes
  }
  return false
}

const homeAddressOption = 0xc9

function hasRefusedTlv(view: DataView, header: number, bytes: number, hopByHop: boolean): boolean {
  for (let at = header + 2; at < header + bytes; ) {
    const kind = view.getUint8(at)
    if (kind === 0) {
      at++
      continue
    }
    if (kind === homeAddressOption || (hopByHop && kind >>> 6 !== 0)) return true
    if (at + 2 > header + bytes) return true
    at += 2 + view.getUint8(at + 1)
  }
  return false
}

function icmpKind(type: number): number {
  switch (type) {
    case IcmpType.echoRequest:
      return IcmpKind.query
    case IcmpType.echoReply:
      return IcmpKind.reply
    case IcmpType.destinationUnreachable:
    case IcmpType.timeExceeded:
    case IcmpType.parameterProblem:
      return IcmpKind.error
    default:
      // Source quench (RFC 6633) and redirects don't cross a translator, nor do the other queries (RFC 5508 §9).
      return IcmpKind.other
  }
}

function icmpv6Kind(type: number): number {
  switch (type) {
    case Icmpv6Type.echoRequest:
      return IcmpKind.query
    case Icmpv6Type.echoReply:
      return IcmpKind.reply
    case Icmpv6Type.destinationUnreachable:
    case Icmpv6Type.packetTooBig:
    case Icmpv6Type.timeExceeded:
    case Icmpv6Type.parameterProblem:
      return IcmpKind.error
    default:
      // Neighbour and listener discovery belong to a link (RFC 4890 §4.3.4).
      return IcmpKind.other
  }
}
