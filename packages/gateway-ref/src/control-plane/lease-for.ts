import type { TunnelRequest } from '@twinbore/core'
import { IpAddress } from '@twinbore/core/address'
import type { Milliseconds } from '@twinbore/core/runtime'
import type { AccessTerms } from '../access/access-policy.ts'
import type { Identity } from '../auth/authenticator.ts'
import type { Logger } from '../log/logger.ts'
import type { AddressLeases, LeasedAddresses } from './address-leases.ts'

export interface LeaseRequest {
  readonly identity: Identity
  readonly terms: AccessTerms
  readonly request: TunnelRequest
}

/** Leases addresses for a session that comes for the first time: reserved ones first. A text says why there are none. */
export function leaseFor(
  leases: AddressLeases,
  { identity, terms, request }: LeaseRequest,
  log: Logger,
  now: Milliseconds,
): LeasedAddresses | string {
  const own = identity.addresses.flatMap(text => IpAddress.parse(text) ?? [])
  const reserved = [...own, ...(terms.addresses ?? [])]
  const { addresses, exhausted } = leases.take(
    { user: identity.username, ipv4: request.ipv4, ipv6: request.ipv6, wishes: [...reserved, ...request.addresses] },
    now,
  )
  for (const pool of exhausted) {
    log.warn('the address pool is exhausted', { pool: pool.toString(), user: identity.username })
  }
  if (addresses) return addresses
  return exhausted.length > 0
    ? `The address pool ${exhausted.join(' and ')} is exhausted`
    : 'No address of the families that were asked for'
}
