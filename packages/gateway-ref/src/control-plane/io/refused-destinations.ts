import { networkInterfaces } from 'node:os'
import { IpAddress, type RouteTable } from '@twinbore/core/address'
import type { GatewayConfig } from '../../config/gateway-config.ts'
import { deniedDestinations } from '../../data-plane/denied-destinations.ts'

/** What the clients of a configuration may not reach, with this host's addresses as they are now. */
export function refusedDestinations({ pool, dns }: GatewayConfig): RouteTable {
  return deniedDestinations({
    pools: [pool.ipv4, pool.ipv6].flatMap(prefix => prefix ?? []),
    ownAddresses: Object.values(networkInterfaces())
      .flat()
      .flatMap(entry => (entry && IpAddress.parse(entry.address.split('%')[0]!)) ?? []),
    allowed: dns.servers,
  })
}
