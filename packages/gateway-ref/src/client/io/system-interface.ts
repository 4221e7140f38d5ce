import type { TunnelParameters } from '@twinbore/core'
import { IpAddress } from '@twinbore/core/address'
import type { PacketDevice } from '@twinbore/tun'
import { LinkSettings, openTun } from '@twinbore/tun/io'
import type { Logger } from '../../log/logger.ts'
import type { ClientInterface, ClientInterfaceFactory } from '../client-options.ts'
import { planRoutes } from '../route-plan.ts'
import { InstalledRoutes } from './installed-routes.ts'

export interface SystemInterfaceOptions {
  /** @defaultValue 'tb%d': the kernel counts */
  readonly name?: string
  /** Whether the granted routes are installed. @defaultValue true */
  readonly routes?: boolean
  readonly log: Logger
}

/**
 * Interfaces of this computer: a kernel TUN with the granted addresses and routes, all taken back at `close`. Name servers
 * are left as they are, and a log line names those that the gateway grants.
 */
export function systemInterface(options: SystemInterfaceOptions): ClientInterfaceFactory {
  return (parameters, gateway) => new SystemInterface(parameters, gateway, options)
}

class SystemInterface implements ClientInterface {
  readonly device: PacketDevice
  private readonly links = new LinkSettings()
  private readonly routes: InstalledRoutes | undefined
  private readonly gateway: IpAddress
  private addresses: readonly string[]

  constructor(parameters: TunnelParameters, gateway: string, { name, routes = true, log }: SystemInterfaceOptions) {
    this.addresses = hostPrefixes(parameters)
    try {
      this.gateway = IpAddress.of(gateway.split('%')[0]!)
      this.device = openTun({
        name: name ?? 'tb%d',
        mtu: parameters.mtu,
        addresses: this.addresses,
        offload: true,
      })
    } catch (error) {
      this.links.close()
      throw error
    }
    if (routes) this.routes = new InstalledRoutes(this.links, this.device.name, this.gateway.toString(), log)
    try {
      this.routes?.apply(planRoutes(parameters, this.gateway))
    } catch (error) {
      this.close()
      throw error
    }
    const { servers } = parameters.dns
    if (servers.length > 0) {
      log.warn("this computer's name servers stay as they are; the gateway grants others", {
        servers: servers.join(', '),
      })
    }
  }

  update(parameters: TunnelParameters, mtu: number): void {
    const { name } = this.device
    const addresses = hostPrefixes(parameters)
    // New before old: with its last address a link loses its routes.
    for (const address of addresses) if (!this.addresses.includes(address)) this.links.addAddress(name, address)
    for (const address of this.addresses) if (!addresses.includes(address)) this.links.removeAddress(name, address)
    this.addresses = addresses
    if (this.links.link(name)?.mtu !== mtu) this.links.setLink(name, { mtu })
    this.routes?.apply(planRoutes(parameters, this.gateway))
  }

  close(): void {
    // Routes through the device go with it.
    this.device.close()
    this.routes?.close()
    this.links.close()
  }
}

/** The addresses stand for themselves: what else of the tunnel is reachable is for the routes to say. */
function hostPrefixes({ ipv4, ipv6 }: TunnelParameters): string[] {
  return [...(ipv4 ? [`${ipv4.address}/32`] : []), ...(ipv6 ? [`${ipv6.address}/128`] : [])]
}
