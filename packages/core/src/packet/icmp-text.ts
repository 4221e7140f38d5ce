import { ipv4Text } from './address-text.ts'
import { checkEmbeddedPacket } from './check-packet.ts'
import {
  embeddedLength,
  embeddedOffset,
  IcmpType,
  Icmpv6Type,
  icmpCode,
  icmpIdentifier,
  icmpNextHopMtu,
  icmpSequenceNumber,
  icmpType,
  icmpv6Mtu,
  UnreachableCode,
} from './icmp.ts'
import { IpProtocol, ipVersion } from './ip-protocol.ts'
import { Ipv4Field } from './ipv4.ts'
import { isLaterFragment, locateTransport, transportOffset, transportProtocol } from './transport.ts'
import { udpDestinationPort } from './udp.ts'

/** The part of a line of `packetText` that tells an ICMP message from `at` to `end`. */
export function icmpText(bytes: Uint8Array, view: DataView, at: number, end: number): string {
  return `ICMP ${icmpMeaning(bytes, view, at, end)}, length ${end - at}`
}

/** The same for ICMPv6. */
export function icmpv6Text(view: DataView, at: number, end: number): string {
  return `ICMP6, ${icmpv6Meaning(view, at)}, length ${end - at}`
}

function icmpMeaning(bytes: Uint8Array, view: DataView, at: number, end: number): string {
  switch (icmpType(view, at)) {
    case IcmpType.echoRequest:
      return `echo request, id ${icmpIdentifier(view, at)}, seq ${icmpSequenceNumber(view, at)}`
    case IcmpType.echoReply:
      return `echo reply, id ${icmpIdentifier(view, at)}, seq ${icmpSequenceNumber(view, at)}`
    case IcmpType.timeExceeded:
      return icmpCode(view, at) === 0 ? 'time exceeded in-transit' : 'ip reassembly time exceeded'
    case IcmpType.destinationUnreachable:
      return unreachableMeaning(bytes, view, at, end)
    default:
      return `type ${icmpType(view, at)}, code ${icmpCode(view, at)}`
  }
}

function unreachableMeaning(bytes: Uint8Array, view: DataView, at: number, end: number): string {
  const embedded = embeddedOffset(at)
  const length = embeddedLength(view, at, end - at, 4)
  const code = icmpCode(view, at)
  if (checkEmbeddedPacket(view, embedded, length) !== 0 || ipVersion(view, embedded) !== 4) {
    return `unreachable, code ${code}`
  }
  const host = ipv4Text(bytes, embedded + Ipv4Field.destination)
  switch (code) {
    case UnreachableCode.network:
      return `net ${host} unreachable`
    case UnreachableCode.host:
      return `host ${host} unreachable`
    case UnreachableCode.protocol: {
      return `${host} protocol ${transportProtocol(locateTransport(view, embedded, length))} unreachable`
    }
    case UnreachableCode.port: {
      const location = locateTransport(view, embedded, length)
      const protocol = transportProtocol(location)
      const name = protocol === IpProtocol.tcp ? 'tcp ' : protocol === IpProtocol.udp ? 'udp ' : ''
      if (name === '' || isLaterFragment(location)) return `${host} port unreachable`
      // TCP and UDP keep their ports in the same places.
      return `${host} ${name}port ${udpDestinationPort(view, embedded + transportOffset(location))} unreachable`
    }
    case UnreachableCode.fragmentationNeeded:
      return `${host} unreachable - need to frag (mtu ${icmpNextHopMtu(view, at)})`
    case UnreachableCode.communicationProhibited:
      return `host ${host} unreachable - admin prohibited filter`
    default:
      return `host ${host} unreachable, code ${code}`
  }
}

function icmpv6Meaning(view: DataView, at: number): string {
  switch (icmpType(view, at)) {
    case Icmpv6Type.echoRequest:
      return `echo request, id ${icmpIdentifier(view, at)}, seq ${icmpSequenceNumber(view, at)}`
    case Icmpv6Type.echoReply:
      return `echo reply, id ${icmpIdentifier(view, at)}, seq ${icmpSequenceNumber(view, at)}`
    case Icmpv6Type.packetTooBig:
      return `packet too big, mtu ${icmpv6Mtu(view, at)}`
    case Icmpv6Type.timeExceeded:
      return icmpCode(view, at) === 0 ? 'time exceeded in-transit' : 'time exceeded in reassembly'
    case Icmpv6Type.destinationUnreachable:
      return `destination unreachable, code ${icmpCode(view, at)}`
    default:
      return `type ${icmpType(view, at)}, code ${icmpCode(view, at)}`
  }
}
