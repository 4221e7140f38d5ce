import { IcmpType, Icmpv6Type, UnreachableCode, Unreachablev6Code } from '@twinbore/core/packet'
import type { RefuseReason } from '../outputs.ts'

/** What an ICMP error of ours says, for both families. */
export interface Complaint {
  readonly type4: number
  readonly code4: number
  readonly type6: number
  readonly code6: number
  /** Whether the destination itself says so, rather than a router before it. */
  readonly isByDestination: boolean
}

const unreachable = (code4: number, code6: number, isByDestination = false): Complaint => ({
  type4: IcmpType.destinationUnreachable,
  code4,
  type6: Icmpv6Type.destinationUnreachable,
  code6,
  isByDestination,
})

const portUnreachable = unreachable(UnreachableCode.port, Unreachablev6Code.port, true)
const hostUnreachable = unreachable(UnreachableCode.host, Unreachablev6Code.address)

/** What a refusal tells; `undefined`: nothing. A datagram can't be answered with a reset. */
export const complaintOf: Readonly<Record<RefuseReason, Complaint | undefined>> = {
  reset: portUnreachable,
  'port-unreachable': portUnreachable,
  'host-unreachable': hostUnreachable,
  'net-unreachable': unreachable(UnreachableCode.network, Unreachablev6Code.noRoute),
  // ICMPv6 knows it as a parameter problem: unrecognized next header (RFC 4443 §3.4).
  'protocol-unreachable': {
    type4: IcmpType.destinationUnreachable,
    code4: UnreachableCode.protocol,
    type6: Icmpv6Type.parameterProblem,
    code6: 1,
    isByDestination: true,
  },
  'admin-prohibited': unreachable(UnreachableCode.communicationProhibited, Unreachablev6Code.communicationProhibited),
  silent: undefined,
}

/** A soft error that an established connection survives (RFC 6888 REQ-11). */
export const limitReached: Complaint = hostUnreachable

/** 11/0 and 3/0. */
export const hopLimitExceeded: Complaint = {
  type4: IcmpType.timeExceeded,
  code4: 0,
  type6: Icmpv6Type.timeExceeded,
  code6: 0,
  isByDestination: false,
}

/** 11/1 and 3/1: fragments that never came (RFC 792, RFC 4443 §3.3). */
export const reassemblyTimeExceeded: Complaint = {
  type4: IcmpType.timeExceeded,
  code4: 1,
  type6: Icmpv6Type.timeExceeded,
  code6: 1,
  isByDestination: true,
}
