import {
  IcmpType,
  Icmpv6Type,
  IpProtocol,
  icmpIdentifier,
  icmpType,
  ipVersion,
  ipv4Identification,
  ipv6FragmentHeader,
  ipv6FragmentIdentification,
  isFragment,
  isLaterFragment,
  locateTransport,
  type PacketBatch,
  transportOffset,
  transportProtocol,
  udpDestinationPort,
  udpSourcePort,
} from '@twinbore/core/packet'
import type { FragmentPlaces } from './fragment-places.ts'
import type { PortSlices } from './port-slices.ts'

/** What `Steering` says of a later fragment that came before the first one. */
export const EVERYBODY = -2

/**
 * Tells whose translator knows the flow of a packet from outside: by its destination port, by the identifier of an echo, by the
 * source port of the packet that an ICMP error quotes. Later fragments go where the first one went; those that come before it,
 * perhaps through another queue, to all, where translators hold them for a while.
 */
export class Steering {
  private readonly slices: PortSlices
  private readonly fragments: FragmentPlaces

  constructor(slices: PortSlices, fragments: FragmentPlaces) {
    this.slices = slices
    this.fragments = fragments
  }

  /** The worker of the packet of a slot that `checkPackets` found good; -1 when nobody's; or `EVERYBODY`. */
  workerOf(batch: PacketBatch, slot: number): number {
    const { view } = batch
    const offset = batch.offsets[slot]!
    const location = batch.locations[slot]!
    if (!isFragment(location)) return this.workerOfTransport(view, offset, batch.lengths[slot]!, location)
    const hash = datagramHash(view, offset, batch.lengths[slot]!, transportProtocol(location))
    if (isLaterFragment(location)) {
      const worker = this.fragments.find(hash)
      return worker === -1 ? EVERYBODY : worker
    }
    const worker = this.workerOfTransport(view, offset, batch.lengths[slot]!, location)
    if (worker !== -1) this.fragments.set(hash, worker)
    return worker
  }

  private workerOfTransport(view: DataView, offset: number, length: number, location: number): number {
    const at = offset + transportOffset(location)
    const protocol = transportProtocol(location)
    // TCP and UDP keep their ports in the same place.
    if (protocol === IpProtocol.tcp || protocol === IpProtocol.udp) {
      return this.slices.workerOf(udpDestinationPort(view, at))
    }
    if (protocol !== IpProtocol.icmp && protocol !== IpProtocol.icmpv6) return -1
    if (isEcho(view, at, protocol)) return this.slices.workerOf(icmpIdentifier(view, at))
    return isError(view, at, protocol) ? this.workerOfQuoted(view, at + 8, offset + length - at - 8) : -1
  }

  private workerOfQuoted(view: DataView, offset: number, length: number): number {
    const location = locateTransport(view, offset, length)
    if (location === -1 || isLaterFragment(location) || transportOffset(location) + 8 > length) return -1
    const at = offset + transportOffset(location)
    const protocol = transportProtocol(location)
    if (protocol === IpProtocol.tcp || protocol === IpProtocol.udp) {
      return this.slices.workerOf(udpSourcePort(view, at))
    }
    const isIcmp = protocol === IpProtocol.icmp || protocol === IpProtocol.icmpv6
    return isIcmp && isEcho(view, at, protocol) ? this.slices.workerOf(icmpIdentifier(view, at)) : -1
  }
}

function isEcho(view: DataView, at: number, protocol: number): boolean {
  const type = icmpType(view, at)
  return protocol === IpProtocol.icmp
    ? type === IcmpType.echoRequest || type === IcmpType.echoReply
    : type === Icmpv6Type.echoRequest || type === Icmpv6Type.echoReply
}

function isError(view: DataView, at: number, protocol: number): boolean {
  const type = icmpType(view, at)
  // ICMPv6 errors are the types below 128 (RFC 4443 §2.1).
  if (protocol === IpProtocol.icmpv6) return type < 128
  return (
    type === IcmpType.destinationUnreachable || type === IcmpType.timeExceeded || type === IcmpType.parameterProblem
  )
}

/** Source, destination, identification and protocol in one number. */
function datagramHash(view: DataView, offset: number, length: number, protocol: number): number {
  const isV4 = ipVersion(view, offset) === 4
  const end = offset + (isV4 ? 20 : 40)
  let hash = isV4
    ? ipv4Identification(view, offset)
    : ipv6FragmentIdentification(view, ipv6FragmentHeader(view, offset, length))
  hash = Math.imul(hash ^ protocol, 0x9e3779b1)
  for (let at = offset + (isV4 ? 12 : 8); at < end; at += 4) {
    hash = Math.imul(hash ^ view.getInt32(at), 0x85ebca77)
    hash ^= hash >>> 15
  }
  return hash
}
