import type { LinkSettings, Route } from '@twinbore/tun/io'
import type { Logger } from '../../log/logger.ts'
import type { RoutePlan } from '../route-plan.ts'

/** What is needed of `LinkSettings`. */
export type RouteSettings = Pick<LinkSettings, 'lookup' | 'addRoute' | 'replaceRoute' | 'removeRoute'>

/** The routes that a tunnel has on this host. A plan can be followed by another; at no time does traffic leave the tunnel between. */
export class InstalledRoutes {
  private readonly links: RouteSettings
  private readonly device: string
  /** The gateway's address: what stays outside goes the way that leads there, where the tunnel hides its own. */
  private readonly gateway: string
  private readonly log: Logger
  private tunnel: ReadonlySet<string> = new Set()
  private readonly outside = new Map<string, Route>()

  constructor(links: RouteSettings, device: string, gateway: string, log: Logger) {
    this.links = links
    this.device = device
    this.gateway = gateway
    this.log = log
  }

  apply(plan: RoutePlan): void {
    // First what stays outside, while the way there is still the old one.
    for (const destination of plan.outside) {
      if (!this.outside.has(destination)) this.addOutside(destination)
    }
    const tunnel = new Set(plan.tunnel)
    for (const destination of tunnel) {
      if (!this.tunnel.has(destination)) this.links.replaceRoute({ destination, device: this.device })
    }
    for (const destination of this.tunnel) {
      if (!tunnel.has(destination)) this.links.removeRoute({ destination, device: this.device })
    }
    this.tunnel = tunnel
    for (const [destination, route] of this.outside) {
      if (plan.outside.includes(destination)) continue
      this.links.removeRoute(route)
      this.outside.delete(destination)
    }
  }

  /** Takes back what is outside the tunnel's device; the rest goes with the device. */
  close(): void {
    for (const route of this.outside.values()) this.links.removeRoute(route)
    this.outside.clear()
    this.tunnel = new Set()
  }

  private addOutside(destination: string): void {
    const way = this.wayOutside(destination.slice(0, destination.indexOf('/')))
    if (!way) {
      this.log.warn('no way outside the tunnel for an excluded prefix', { prefix: destination })
      return
    }
    const route: Route = { destination, ...way }
    try {
      this.links.addRoute(route)
      this.outside.set(destination, route)
    } catch (error) {
      // A route of exactly this prefix is there already; it leads outside.
      if ((error as { errno?: string }).errno !== 'EEXIST') throw error
    }
  }

  private wayOutside(address: string): { readonly device: string; readonly gateway?: string } | undefined {
    const isIpv6 = address.includes(':')
    for (const target of isIpv6 === this.gateway.includes(':') ? [address, this.gateway] : [address]) {
      const way = this.links.lookup(target)
      if (way?.kind === 'unicast' && way.device !== this.device) {
        return { device: way.device, ...(way.gateway !== undefined && { gateway: way.gateway }) }
      }
    }
    return undefined
  }
}
