import { networkInterfaces } from 'node:os'
import { IpAddress, type RouteTable } from '@twinbore/core/address'
import type { GatewayConfig } from '../../config/gateway-config.ts'
import type { DestinationPolicy } from '../../data-plane/commands.ts'
import { destinationsOf, hostPrefix } from '../../data-plane/denied-destinations.ts'
import { gatewayAddress } from '../grant-parameters.ts'

/** What the clients of a configuration may not reach, with this host's addresses as they are now. */
export function refusedDestinations(config: GatewayConfig): DestinationPolicy {
  // At its inside address the userspace stack answers pings and DNS; everything else is refused there by the egress.
  return policy(config, config.egress.mode === 'sockets' ? pools(config).map(gatewayAddress) : [])
}

/** The same for sockets of the host's own: nothing is allowed for the userspace stack's sake. */
export function refusedSocketDestinations(config: GatewayConfig): RouteTable {
  return destinationsOf(policy(config, []))
}

function policy(config: GatewayConfig, inside: readonly IpAddress[]): DestinationPolicy {
  return {
    pools: pools(config).map(String),
    ownAddresses: Object.values(networkInterfaces())
      .flat()
      .flatMap(entry => (entry && IpAddress.parse(entry.address.split('%')[0]!)?.toString()) ?? []),
    allowed: [...config.egress.allow, ...[...config.dns.servers, ...inside].map(hostPrefix)].map(String),
  }
}

function pools({ pool }: GatewayConfig) {
  return [pool.ipv4, pool.ipv6].flatMap(prefix => prefix ?? [])
}
