import type { TunnelParameters } from '@twinbore/core'
import { type IpAddress, Prefix } from '@twinbore/core/address'

/** The routes that a tunnel needs. Prefixes are text, as route tables take them. */
export interface RoutePlan {
  /** Through the tunnel. */
  readonly tunnel: readonly string[]
  /** Beside the tunnel, the way they go now: excluded prefixes, and the gateway itself where a tunnel route covers it. */
  readonly outside: readonly string[]
}

/**
 * What granted parameters mean for a host's routes. A family without an include goes through the tunnel whole, as two
 * halves, so that the host's own default route stays as it is. Longer prefixes win, as in any route table, so
 * excludes need no arithmetic; an exclude equal to an include wins.
 */
export function planRoutes({ ipv4, ipv6, routes }: TunnelParameters, gateway: IpAddress): RoutePlan {
  const tunnel: Prefix[] = []
  for (const family of [4, 6] as const) {
    if (!(family === 4 ? ipv4 : ipv6)) continue
    const included = routes.include.filter(prefix => prefix.family === family)
    // One list for both families: with any include at all, a family without one is not meant.
    if (routes.include.length === 0) tunnel.push(...halves(family))
    for (const prefix of included) {
      if (prefix.length === 0) tunnel.push(...halves(family))
      else if (!routes.exclude.some(excluded => excluded.equals(prefix))) tunnel.push(prefix)
    }
  }
  const host = Prefix.of(gateway, gateway.family === 4 ? 32 : 128)
  const outside = [...routes.exclude, ...(tunnel.some(prefix => prefix.covers(host)) ? [host] : [])]
  return { tunnel: unique(tunnel), outside: unique(outside) }
}

function halves(family: 4 | 6): Prefix[] {
  return (family === 4 ? ['0.0.0.0/1', '128.0.0.0/1'] : ['::/1', '8000::/1']).map(text => Prefix.of(text))
}

function unique(prefixes: readonly Prefix[]): string[] {
  return [...new Set(prefixes.map(String))]
}
