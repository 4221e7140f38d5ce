import type { TunnelParameters } from '@twinbore/core'
import { IpAddress } from '@twinbore/core/address'
import type { PacketDevice } from '@twinbore/tun'
import { LinkSettings, openTun, type Route } from '@twinbore/tun/io'
import type { Logger } from '../../log/logger.ts'
import type { ClientInterface, ClientInterfaceFactory } from '../client-options.ts'
import { planRoutes } from '../route-plan.ts'

export interface SystemInterfaceOptions {
  /** @defaultValue 'tb%d': the kernel counts */
  readonly name?: string
  /** Whether the granted routes are installed. @defaultValue true */
  readonly routes?: boolean
  readonly log: Logger
}

/** Interfaces of this computer: a kernel TUN with the granted addresses and routes, all taken back at `close`. */
export function systemInterface(options: SystemInterfaceOptions): ClientInterfaceFactory {
  return (parameters, gateway) => new SystemInterface(parameters, gateway, options)
}

class SystemInterface implements ClientInterface {
  readonly device: PacketDevice
  private readonly links = new LinkSettings()
  private readonly outside: Route[] = []
  private readonly log: Logger

  constructor(parameters: TunnelParameters, gateway: string, { name, routes = true, log }: SystemInterfaceOptions) {
    this.log = log
    const { ipv4, ipv6, mtu } = parameters
    try {
      // The addresses stand for themselves: what else of the tunnel is reachable is for the routes to say.
      this.device = openTun({
        name: name ?? 'tb%d',
        mtu,
        addresses: [...(ipv4 ? [`${ipv4.address}/32`] : []), ...(ipv6 ? [`${ipv6.address}/128`] : [])],
      })
    } catch (error) {
      this.links.close()
      throw error
    }
    try {
      if (routes) this.installRoutes(parameters, gateway)
    } catch (error) {
      this.close()
      throw error
    }
  }

  update(parameters: TunnelParameters, mtu: number): void {
    if (this.links.link(this.device.name)?.mtu !== mtu) this.links.setLink(this.device.name, { mtu })
  }

  close(): void {
    // Routes through the device go with it.
    this.device.close()
    for (const route of this.outside.splice(0)) this.links.removeRoute(route)
    this.links.close()
  }

  private installRoutes(parameters: TunnelParameters, gateway: string): void {
    const plan = planRoutes(parameters, IpAddress.of(gateway))
    const device = this.device.name
    // First what stays outside, while the way there is still the old one.
    for (const destination of plan.outside) {
      const way = this.links.lookup(destination.slice(0, destination.indexOf('/')), undefined)
      if (!way || way.kind !== 'unicast') {
        this.log.warn('no way outside the tunnel for an excluded prefix', { prefix: destination })
        continue
      }
      const route: Route = {
        destination,
        device: way.device,
        ...(way.gateway === undefined ? {} : { gateway: way.gateway }),
      }
      try {
        this.links.addRoute(route)
        this.outside.push(route)
      } catch (error) {
        // A route of exactly this prefix is there already; it leads outside.
        if ((error as { errno?: string }).errno !== 'EEXIST') throw error
      }
    }
    for (const destination of plan.tunnel) this.links.replaceRoute({ destination, device })
  }
}
