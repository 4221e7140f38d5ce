// ICMP for both families (RFC 792, RFC 4443). `at` is where the ICMP header begins in the view.
//
//   0 type | 1 code | 2 checksum
//   4 identifier, sequence number (echo) | pointer, MTU, length of the original datagram (errors)
//   8 data; of an error: the packet that it is about

/** An ICMP header with its four type-specific bytes. */
export const ICMP_HEADER_BYTES = 8

/** Where each field of the header begins. */
export const IcmpField = {
  type: 0,
  code: 1,
  checksum: 2,
  identifier: 4,
  sequenceNumber: 6,
  /** Next-hop MTU of a v4 "fragmentation needed" (RFC 1191 §4). */
  nextHopMtu: 6,
  /** The 32 bits behind the checksum: MTU or pointer of a v6 error. */
  parameter: 4,
} as const

/** Types of ICMP for IPv4. */
export const IcmpType = {
  echoReply: 0,
  destinationUnreachable: 3,
  sourceQuench: 4,
  redirect: 5,
  echoRequest: 8,
  timeExceeded: 11,
  parameterProblem: 12,
  timestampRequest: 13,
  timestampReply: 14,
} as const

/** Types of ICMP for IPv6. */
export const Icmpv6Type = {
  destinationUnreachable: 1,
  packetTooBig: 2,
  timeExceeded: 3,
  parameterProblem: 4,
  echoRequest: 128,
  echoReply: 129,
  multicastListenerQuery: 130,
  multicastListenerReport: 131,
  multicastListenerDone: 132,
  routerSolicitation: 133,
  routerAdvertisement: 134,
  neighborSolicitation: 135,
  neighborAdvertisement: 136,
  redirect: 137,
  multicastListenerReportV2: 143,
} as const

/** Codes of a v4 "destination unreachable". */
export const UnreachableCode = {
  network: 0,
  host: 1,
  protocol: 2,
  port: 3,
  fragmentationNeeded: 4,
  sourceRouteFailed: 5,
  networkProhibited: 9,
  hostProhibited: 10,
  communicationProhibited: 13,
} as const

/** Codes of a v6 "destination unreachable". */
export const Unreachablev6Code = {
  noRoute: 0,
  communicationProhibited: 1,
  address: 3,
  port: 4,
  sourceAddressFailed: 5,
  routeRejected: 6,
} as const

export function icmpType(view: DataView, at: number): number {
  return view.getUint8(at)
}

export function icmpCode(view: DataView, at: number): number {
  return view.getUint8(at + IcmpField.code)
}

export function icmpChecksum(view: DataView, at: number): number {
  return view.getUint16(at + IcmpField.checksum)
}

/** The identifier of an echo message: what a port is to TCP and UDP. */
export function icmpIdentifier(view: DataView, at: number): number {
  return view.getUint16(at + IcmpField.identifier)
}

export function icmpSequenceNumber(view: DataView, at: number): number {
  return view.getUint16(at + IcmpField.sequenceNumber)
}

/** The next-hop MTU of a v4 "fragmentation needed" (RFC 1191 §4); 0 from routers that predate it. */
export function icmpNextHopMtu(view: DataView, at: number): number {
  return view.getUint16(at + IcmpField.nextHopMtu)
}

/** The MTU of a v6 "packet too big" (RFC 4443 §3.2). */
export function icmpv6Mtu(view: DataView, at: number): number {
  return view.getUint32(at + IcmpField.parameter)
}

/** Whether a type of ICMP for IPv4 reports an error about the packet that it carries (RFC 1122 §3.2.2). */
export function isIcmpError(type: number): boolean {
  switch (type) {
    case IcmpType.destinationUnreachable:
    case IcmpType.sourceQuench:
    case IcmpType.redirect:
    case IcmpType.timeExceeded:
    case IcmpType.parameterProblem:
      return true
    default:
      return false
  }
}

/** Whether a type of ICMP for IPv6 reports an error about the packet that it carries (RFC 4443 §2.1). */
export function isIcmpv6Error(type: number): boolean {
  return type < 128
}

/** Where the packet begins that an ICMP error at `at` is about. */
export function embeddedOffset(at: number): number {
  return at + ICMP_HEADER_BYTES
}

/**
 * How many bytes of the original packet an ICMP error carries, without the extensions of RFC 4884 behind them.
 *
 * @param length - the bytes of the ICMP message from `at`
 * @param version - 4 or 6: the length field is counted in 32-bit words at byte 5, or in 64-bit words at byte 4
 */
export function embeddedLength(view: DataView, at: number, length: number, version: number): number {
  const available = length - ICMP_HEADER_BYTES
  const type = icmpType(view, at)
  const extensible =
    version === 4
      ? type === IcmpType.destinationUnreachable || type === IcmpType.timeExceeded || type === IcmpType.parameterProblem
      : type === Icmpv6Type.destinationUnreachable || type === Icmpv6Type.timeExceeded
  if (!extensible) return available
  const stated = version === 4 ? view.getUint8(at + 5) << 2 : view.getUint8(at + 4) << 3
  return stated === 0 || stated > available ? available : stated
}
