import {
  checkEmbeddedPacket,
  embeddedLength,
  embeddedOffset,
  IcmpType,
  Icmpv6Type,
  IpProtocol,
  Ipv4Field,
  Ipv6Field,
  icmpCode,
  icmpNextHopMtu,
  icmpType,
  icmpv6Mtu,
  ipVersion,
  isLaterFragment,
  locateTransport,
  tcpSequenceNumber,
  transportOffset,
  transportProtocol,
} from '@twinbore/core/packet'
import { readV4, readV6, sameWords } from '../address-words.ts'
import type { IcmpErrorKind } from '../outputs.ts'
import type { PacketHead } from '../packet-head.ts'

/** RFC 791 §3.2 and RFC 8200 §5: no link has a smaller MTU. */
const leastMtuV4 = 68
const leastMtuV6 = 1280
/** What routers from before RFC 1191, which don't say their MTU, are assumed to have. */
const assumedMtu = 576

/** An ICMP error about a packet that the stack, it seems, sent. One object serves all errors. */
export class IncomingError {
  kind: IcmpErrorKind = 'host-unreachable'
  /** Of `packet-too-big`. */
  mtu = 0
  protocol = 0
  /** Ends of the packet that the error is about: it went from `local` to `remote`. */
  readonly local: Int32Array = new Int32Array(4)
  readonly remote: Int32Array = new Int32Array(4)
  localPort = 0
  remotePort = 0
  /** TCP: the sequence number of the segment, which proves that the sender has seen it (RFC 5927 §4.1). */
  sequenceNumber = 0

  /** Reads the error in `head`, whose checksum is right. False when it says nothing that could be used. */
  read(head: PacketHead): boolean {
    const { view, at, version } = head
    const kind =
      version === 4 ? kindV4(icmpType(view, at), icmpCode(view, at)) : kindV6(icmpType(view, at), icmpCode(view, at))
    if (kind === undefined) return false
    this.kind = kind
    const embedded = embeddedOffset(at)
    const length = embeddedLength(view, at, head.transportLength, version)
    if (length < 20 || checkEmbeddedPacket(view, embedded, length) !== 0) return false
    if (ipVersion(view, embedded) !== version) return false
    const location = locateTransport(view, embedded, length)
    if (isLaterFragment(location)) return false
    this.protocol = transportProtocol(location)
    if (this.protocol !== IpProtocol.tcp && this.protocol !== IpProtocol.udp) return false
    if (version === 4) {
      readV4(view, embedded + Ipv4Field.source, this.local)
      readV4(view, embedded + Ipv4Field.destination, this.remote)
    } else {
      readV6(view, embedded + Ipv6Field.source, this.local)
      readV6(view, embedded + Ipv6Field.destination, this.remote)
    }
    const transport = embedded + transportOffset(location)
    this.localPort = view.getUint16(transport)
    this.remotePort = view.getUint16(transport + 2)
    this.sequenceNumber = this.protocol === IpProtocol.tcp ? tcpSequenceNumber(view, transport) : 0
    return kind !== 'packet-too-big' || this.readMtu(head)
  }

  /** Whether the sender of the error is one that may speak about the packet. */
  isFromPath(head: PacketHead, isGateway: boolean): boolean {
    // A client speaks only for itself; towards a client any router on the way may (RFC 5508 §4.2).
    return isGateway ? sameWords(this.remote, head.source) : sameWords(this.local, head.destination)
  }

  private readMtu(head: PacketHead): boolean {
    const { view, at, version } = head
    const stated = version === 4 ? icmpNextHopMtu(view, at) : icmpv6Mtu(view, at)
    this.mtu = version === 4 && stated === 0 ? assumedMtu : stated
    return this.mtu >= (version === 4 ? leastMtuV4 : leastMtuV6)
  }
}

function kindV4(type: number, code: number): IcmpErrorKind | undefined {
  if (type === IcmpType.timeExceeded) return 'time-exceeded'
  if (type === IcmpType.parameterProblem) return 'parameter-problem'
  if (type !== IcmpType.destinationUnreachable) return undefined
  switch (code) {
    case 0:
    case 6:
    case 11:
      return 'net-unreachable'
    case 1:
    case 5:
    case 7:
    case 8:
    case 12:
      return 'host-unreachable'
    case 2:
      return 'protocol-unreachable'
    case 3:
      return 'port-unreachable'
    case 4:
      return 'packet-too-big'
    case 9:
    case 10:
    case 13:
    case 14:
    case 15:
      return 'admin-prohibited'
    default:
      return undefined
  }
}

function kindV6(type: number, code: number): IcmpErrorKind | undefined {
  if (type === Icmpv6Type.packetTooBig) return 'packet-too-big'
  if (type === Icmpv6Type.timeExceeded) return 'time-exceeded'
  if (type === Icmpv6Type.parameterProblem) return code === 1 ? 'protocol-unreachable' : 'parameter-problem'
  if (type !== Icmpv6Type.destinationUnreachable) return undefined
  switch (code) {
    case 0:
    case 2:
      return 'net-unreachable'
    case 1:
    case 5:
    case 6:
      return 'admin-prohibited'
    case 3:
      return 'host-unreachable'
    case 4:
      return 'port-unreachable'
    default:
      return undefined
  }
}
