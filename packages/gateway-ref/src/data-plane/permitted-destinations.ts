import { Prefix, RouteTable } from '@twinbore/core/address'
import {
  IcmpField,
  IcmpType,
  Icmpv6Type,
  IpProtocol,
  isLaterFragment,
  transportOffset,
  transportProtocol,
} from '@twinbore/core/packet'

/** Destinations of one kind, as text: a plain value that survives a structured clone. */
export interface PlanePermission {
  readonly to: string
  /** Absent: every protocol. */
  readonly protocol?: 'tcp' | 'udp' | 'icmp' | undefined
  /** Ports of TCP and UDP at the far end; absent: every port. */
  readonly ports?: readonly { readonly first: number; readonly last: number }[] | undefined
}

/** A protocol and a range of ports in `spans`: three numbers. */
const SPAN = 3
const ANY_PROTOCOL = -1
const EVERY_PORT = 65_536
const protocols = { tcp: [IpProtocol.tcp], udp: [IpProtocol.udp], icmp: [IpProtocol.icmp, IpProtocol.icmpv6] } as const

/** Errors about packets, by family: they come from routers on the way, not from the far end. */
const errors4: readonly number[] = [IcmpType.destinationUnreachable, IcmpType.timeExceeded, IcmpType.parameterProblem]
const errors6: readonly number[] = [
  Icmpv6Type.destinationUnreachable,
  Icmpv6Type.packetTooBig,
  Icmpv6Type.timeExceeded,
  Icmpv6Type.parameterProblem,
]

/**
 * What some sessions may reach: permissions compiled for the data path. A lookup is one binary search for the prefix, and a
 * walk along the few protocols and ports that are permitted there; it allocates nothing.
 *
 * A later fragment has no ports, so it passes only where every port of its protocol is permitted.
 */
export class PermittedDestinations {
  private readonly table: RouteTable
  /** For each value of the table: where its spans begin; one more entry at the end. */
  private readonly begins: Int32Array
  private readonly spans: Int32Array

  constructor(permissions: readonly PlanePermission[]) {
    const read = permissions.map(permission => ({ ...permission, prefix: Prefix.of(permission.to) }))
    const prefixes = new Map(read.map(({ prefix }) => [prefix.toString(), prefix]))
    const spans: number[] = []
    const begins: number[] = [0]
    // The longest prefix is found; whatever is permitted around it is permitted there too.
    for (const prefix of prefixes.values()) {
      for (const permission of read) if (permission.prefix.covers(prefix)) spans.push(...spansOf(permission))
      begins.push(spans.length)
    }
    this.table = RouteTable.compile([...prefixes.values()].map((prefix, value) => ({ prefix, value })))
    this.begins = Int32Array.from(begins)
    this.spans = Int32Array.from(spans)
  }

  /** Whether a packet from a client may go where it wants to go. Well-formed, with its transport at `location`. */
  permitsOutbound(view: DataView, offset: number, location: number): boolean {
    const v4 = view.getUint8(offset) >> 4 === 4
    const value = v4 ? this.table.lookup(view, offset + 16, 4) : this.table.lookup(view, offset + 24, 6)
    return value !== -1 && this.permits(value, view, offset, location, 2)
  }

  /** Whether a packet to a client comes from where it may go, or is an error about such a packet. */
  permitsInbound(view: DataView, offset: number, location: number): boolean {
    const v4 = view.getUint8(offset) >> 4 === 4
    if (isError(view, offset, location, v4)) return true
    const value = v4 ? this.table.lookup(view, offset + 12, 4) : this.table.lookup(view, offset + 8, 6)
    return value !== -1 && this.permits(value, view, offset, location, 0)
  }

  /** @param portAt - of the far end's port in a header of TCP or UDP */
  private permits(value: number, view: DataView, offset: number, location: number, portAt: number): boolean {
    const { begins, spans } = this
    const protocol = transportProtocol(location)
    const hasPorts = protocol === IpProtocol.tcp || protocol === IpProtocol.udp
    const port =
      hasPorts && !isLaterFragment(location) ? view.getUint16(offset + transportOffset(location) + portAt) : -1
    const end = begins[value + 1]!
    for (let at = begins[value]!; at < end; at += SPAN) {
      const permitted = spans[at]!
      if (permitted !== ANY_PROTOCOL && permitted !== protocol) continue
      const last = spans[at + 2]!
      if (last === EVERY_PORT || (port >= spans[at + 1]! && port <= last)) return true
    }
    return false
  }
}

function isError(view: DataView, offset: number, location: number, v4: boolean): boolean {
  const protocol = transportProtocol(location)
  if (protocol !== (v4 ? IpProtocol.icmp : IpProtocol.icmpv6) || isLaterFragment(location)) return false
  return (v4 ? errors4 : errors6).includes(view.getUint8(offset + transportOffset(location) + IcmpField.type))
}

function spansOf({ protocol, ports }: PlanePermission): number[] {
  if (protocol === undefined) return [ANY_PROTOCOL, 0, EVERY_PORT]
  return protocols[protocol].flatMap(number =>
    ports ? ports.flatMap(({ first, last }) => [number, first, last]) : [number, 0, EVERY_PORT],
  )
}
