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

export interface LeaseResult {
  /** `undefined` when there was none of any family. */
  readonly addresses: LeasedAddresses | undefined
  /** The prefixes that were asked and had none left. */
  readonly exhausted: readonly Prefix[]
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

  /** How many addresses are leased, over both families. */
  get size(): number {
    return this.leases.size
  }

  /** The gateway's own address inside the pool of a family. */
  gateway(family: Family): IpAddress | undefined {
    return this.pools.find(pool => pool.prefix.family === family)?.gateway
  }

  /** Leases what can be leased; one family is enough. */
  take({ user, wishes, ...wanted }: AddressWish, now: Milliseconds): LeaseResult {
    const addresses: { ipv4?: IpAddress; ipv6?: IpAddress } = {}
    const exhausted: Prefix[] = []
    for (const pool of this.pools) {
      const { family } = pool.prefix
      const key = family === 4 ? 'ipv4' : 'ipv6'
      if (!wanted[key]) continue
      const wish = wishes.find(address => address.family === family && !pool.leaseOf(address))
      const outcome = pool.take(user, now, wish)
      if (outcome.type === 'refused') {
        exhausted.push(pool.prefix)
        continue
      }
      addresses[key] = outcome.lease.address
      this.leases.set(outcome.lease.address.toString(), outcome.lease)
    }
    return { addresses: addresses.ipv4 || addresses.ipv6 ? addresses : undefined, exhausted }
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
