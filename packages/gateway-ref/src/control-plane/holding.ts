import type { ActiveChannel, SessionRecord } from '@twinbore/core'
import type { AccessTerms } from '../access/access-policy.ts'
import type { DataPlane } from '../data-plane/data-plane.ts'
import type { PlanePermission } from '../data-plane/permitted-destinations.ts'
import type { SessionRate } from '../data-plane/rate-limits.ts'
import { Carrier } from '../data-plane/session-table.ts'
import type { LeasedAddresses } from './address-leases.ts'
import type { SessionFacts } from './session-facts.ts'

/** What is known of a session that is at work. */
export interface LivePlace {
  /** Its number in the data plane. */
  readonly index: number
  readonly activeChannel: ActiveChannel
}

/** What a session keeps besides its cookie, from its first CONNECT to its end. */
export interface Holding<Live extends LivePlace> {
  readonly addresses: LeasedAddresses
  /** Absent before the first stream, and after a drain. */
  live: Live | undefined
  /** Whether the world has heard of it. */
  announced: boolean
  remoteAddress: string
  userAgent: string | undefined
  /** The App-ID and key of the newest stream's datagram channel; no App-ID when it has none. */
  appId: Uint8Array | undefined
  pskKey: Uint8Array
  /** What the policy gives it. */
  terms: AccessTerms
  /** What the data plane lets it reach; `undefined`: whatever any session may. */
  permissions: readonly PlanePermission[] | undefined
  /** What the data plane lets it carry. */
  rate: SessionRate
  /** Family of the addresses that client and gateway talk with, and the link MTU between them. */
  outerFamily: 4 | 6
  linkMtu: number
  /** Traffic of live sessions before this one. */
  bytesOutbound: number
  bytesInbound: number
}

/** The holding of a session that comes for the first time; the rest follows when its stream is accepted. */
export function newHolding<Live extends LivePlace>(
  addresses: LeasedAddresses,
  { remoteAddress, userAgent, pskKey }: Pick<Holding<Live>, 'remoteAddress' | 'userAgent' | 'pskKey'>,
): Holding<Live> {
  return {
    addresses,
    live: undefined,
    announced: false,
    remoteAddress,
    userAgent,
    appId: undefined,
    pskKey,
    terms: {},
    permissions: undefined,
    rate: {},
    outerFamily: 4,
    linkMtu: 0,
    bytesOutbound: 0,
    bytesInbound: 0,
  }
}

/** Bytes of packets, so far, including those of the live session. */
export function bytesOf(holding: Holding<LivePlace>, plane: DataPlane): { outbound: number; inbound: number } {
  let { bytesOutbound: outbound, bytesInbound: inbound } = holding
  if (holding.live) {
    for (const carrier of [Carrier.stream, Carrier.datagram] as const) {
      const traffic = plane.traffic(holding.live.index, carrier)
      outbound += traffic.bytesReceived
      inbound += traffic.bytesSent
    }
  }
  return { outbound, inbound }
}

/** What the outside may know of a session. */
export function factsOf(record: SessionRecord<Holding<LivePlace>>, plane: DataPlane): SessionFacts {
  const { id, identity, lease } = record
  const bytes = lease ? bytesOf(lease, plane) : { outbound: 0, inbound: 0 }
  return {
    id,
    identity,
    remoteAddress: lease?.remoteAddress ?? '',
    ...(lease?.userAgent !== undefined && { userAgent: lease.userAgent }),
    ...(lease?.addresses.ipv4 && { ipv4: lease.addresses.ipv4.toString() }),
    ...(lease?.addresses.ipv6 && { ipv6: lease.addresses.ipv6.toString() }),
    activeChannel: lease?.live?.activeChannel ?? 'none',
    bytesOutbound: bytes.outbound,
    bytesInbound: bytes.inbound,
  }
}
