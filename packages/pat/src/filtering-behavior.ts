// Who may use a mapping from outside (RFC 4787 §5), as a question of what a session of it stands for.
import type { NatBehavior } from './options.ts'
import { Protocol } from './packet-facts.ts'

/** What of the remote endpoint a session is keyed by. */
export const SessionScope = {
  /** Nothing: the mapping has one session, for everybody. */
  anybody: 0,
  /** The remote address. */
  address: 1,
  /** The remote address and port. */
  endpoint: 2,
} as const

/** TCP sessions are connections whatever the filtering: they are tracked one by one. */
export function sessionScope(behavior: NatBehavior, protocol: number): number {
  if (protocol === Protocol.tcp || behavior === 'address-and-port-dependent') return SessionScope.endpoint
  return behavior === 'address-dependent' ? SessionScope.address : SessionScope.anybody
}
