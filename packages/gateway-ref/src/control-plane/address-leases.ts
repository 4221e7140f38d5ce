import { AddressPool, type Family, type IpAddress, type Lease, type Prefix } from '@twinbore/core/address'
import type { Milliseconds } from '@twinbore/core/runtime'

/** What a session leases: an address of each family that the pool has and the client wants. */
export interface LeasedAddresses {
  readonly ipv4?: IpAddress | undefined
  readonly ipv6?: IpAddress | undefined
}

export interface AddressWish {
  /** Who should get the same addresses again. */
  readonly user: string
  readonly ipv4: boolean
  readonly ipv6: boolean
  /** Addresses to try first, in order. */
  readonly wishes: readonly IpAddress[]
}

/** The gateway's pools, one for each family. */
export class AddressLeases {
  private readonly pools: readonly AddressPool[]
  private readonly leases = new Map<string, Lease>()

  constructor(pool: {
    readonly ipv4: Prefix | undefined
    readonly ipv6: Prefix | undefined
    readonly quarantineSeconds: number
  }) {
    const quarantineMs = pool.quarantineSeconds * 1000
    this.pools = [pool.ipv4, pool.ipv6].flatMap(prefix =>
      prefix ? new AddressPool({ prefix, quarantineMs, leaseMs: Number.POSITIVE_INFINITY }) : [],
    )
  }

  /** The gateway's own address inside the pool of a family. */
  gateway(family: Family): IpAddress | undefined {
    return this.pools.find(pool => pool.prefix.family === family)?.gateway
  }

  /** Leases what can be leased. One family is enough; a text says why there is none. */
  take({ user, wishes, ...wanted }: AddressWish, now: Milliseconds): LeasedAddresses | string {
    const leased: { ipv4?: IpAddress; ipv6?: IpAddress } = {}
    let exhausted: Prefix | undefined
    for (const pool of this.pools) {
      const key = pool.prefix.family === 4 ? 'ipv4' : 'ipv6'
      if (!wanted[key]) continue
      const outcome = pool.take(
        user,
        now,
        wishes.find(({ family }) => family === pool.prefix.family),
      )
      if (outcome.type === 'refused') {
        exhausted = pool.prefix
        continue
      }
      leased[key] = outcome.lease.address
      this.leases.set(outcome.lease.address.toString(), outcome.lease)
    }
    if (leased.ipv4 || leased.ipv6) return leased
    return exhausted ? `The address pool ${exhausted} is exhausted` : 'No address of the families that were asked for'
  }

  release(addresses: LeasedAddresses, now: Milliseconds): void {
    for (const address of [addresses.ipv4, addresses.ipv6]) {
      const lease = address && this.leases.get(address.toString())
      if (!lease) continue
      this.leases.delete(address.toString())
      this.pools.find(pool => pool.prefix.family === address.family)?.release(lease, now)
    }
  }
}
