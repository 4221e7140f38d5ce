import { IpAddress, Prefix, RouteTable } from '@twinbore/core/address'
import type { DestinationPolicy } from './commands.ts'

export interface DeniedDestinationsInput {
  /** The prefixes that clients' addresses come from: clients are isolated from each other. */
  readonly pools: readonly Prefix[]
  /** The gateway's own addresses: no tunnel in the tunnel, and no way to what listens beside the gateway. */
  readonly ownAddresses: readonly IpAddress[]
  /** Destinations that clients need in spite of the rules, such as the name servers that they are told to use. */
  readonly allowed: readonly Prefix[]
}

/** What `lookup` of the table gives for a destination that no client may reach. */
export const DENIED = 1
/** What it gives for one that is named in spite of the rules. */
export const ALLOWED = 0

/** Never a destination beyond a gateway: RFC 6890 special purposes, and forms of IPv6 that hide an IPv4 address. */
const specialPrefixes = [
  '0.0.0.0/8',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '224.0.0.0/4',
  '240.0.0.0/4',
  '::/128',
  '::1/128',
  '::ffff:0:0/96',
  '64:ff9b::/96',
  '2001::/32',
  '2002::/16',
  'fe80::/10',
  'ff00::/8',
]

const loopback = [Prefix.of('127.0.0.0/8'), Prefix.of('::1/128')]

/**
 * Compiles the destinations that clients may not reach, for the ingress guard and for sockets that are opened in the name of
 * clients. The longest prefix decides; of equal ones, that of `allowed`.
 */
export function deniedDestinations({ pools, ownAddresses, allowed }: DeniedDestinationsInput): RouteTable {
  return RouteTable.compile([
    ...specialPrefixes.map(text => ({ prefix: Prefix.of(text), value: DENIED })),
    ...pools.map(prefix => ({ prefix, value: DENIED })),
    // Those of the loopback are refused by its prefix: who allows that means them.
    ...ownAddresses
      .filter(address => !loopback.some(prefix => prefix.contains(address)))
      .map(address => ({ prefix: hostPrefix(address), value: DENIED })),
    ...allowed.map(prefix => ({ prefix, value: ALLOWED })),
  ])
}

/** The same from text. */
export function destinationsOf({ pools, ownAddresses, allowed }: DestinationPolicy): RouteTable {
  return deniedDestinations({
    pools: pools.map(text => Prefix.of(text)),
    ownAddresses: ownAddresses.map(text => IpAddress.of(text)),
    allowed: allowed.map(text => Prefix.of(text)),
  })
}

/** The prefix that holds one address. */
export function hostPrefix(address: IpAddress): Prefix {
  return Prefix.of(address, address.family === 4 ? 32 : 128)
}
