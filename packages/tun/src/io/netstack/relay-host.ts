import type { NetStack } from '../../netstack/net-stack.ts'
import type { SocketRelayLimits } from './relay-limits.ts'

/** What a relay of one flow needs from the whole. */
export interface RelayHost {
  readonly stack: NetStack
  readonly limits: SocketRelayLimits
  readonly counters: RelayCounters
  /** The stack's time. */
  now(): number
  /** Follows each call of the stack that didn't come from one of its outputs. */
  settle(): void
  /** Whether clients may have what is at this address of the host itself. */
  mayReachOwn(address: string): boolean
}

/** What a `SocketRelay` counts. */
export class RelayCounters {
  /** Connects that were begun. */
  dials = 0
  /** Connects that failed or took too long; their clients were told. */
  dialsFailed = 0
  /** Connects that the client gave up. */
  dialsAbandoned = 0
  /** SYNs and datagrams to where clients may not go. */
  destinationsRefused = 0
  /** SYNs beyond a limit of connects under way to a destination. */
  dialLimitHits = 0
  /** Flows that were refused because the process has too many descriptors open. */
  descriptorLimitHits = 0
  /** Resets from outside, those that looked like a clean end among them. */
  resetsOutside = 0
  /** Resets that Node had reported as a clean end. */
  resetsUnmasked = 0
  /** Datagrams from hosts that the inside endpoint had not sent to. */
  datagramsFiltered = 0
  /** Datagrams outwards that found no room, or that the system refused. */
  datagramsFailed = 0
  /** Echo requests that could not be sent. */
  echoesRefused = 0
}
