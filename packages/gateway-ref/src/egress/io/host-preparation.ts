import { type IpAddress, Prefix } from '@twinbore/core/address'
import type { LinkSettings } from '@twinbore/tun/io'
import type { EgressSettings } from '../egress.ts'
import type { EgressPlan } from '../egress-plan.ts'
import { hostPortRange, withReserved } from '../port-range.ts'
import type { KernelSettings } from './kernel-settings.ts'

// What the ways out have in common when they prepare the host.

/** Keeps the host's own connections off the range. */
export function portSettings(settings: EgressSettings, kernel: KernelSettings): Record<string, string> {
  const { ports } = settings.config
  const [first, last] = (kernel.read('net/ipv4/ip_local_port_range') ?? '32768 60999').split(/\s+/).map(Number)
  const range = hostPortRange({ first: first ?? 32_768, last: last ?? 60_999 }, ports)
  return {
    'net/ipv4/ip_local_reserved_ports': withReserved(kernel.read('net/ipv4/ip_local_reserved_ports') ?? '', ports),
    ...((range.first !== first || range.last !== last) && {
      'net/ipv4/ip_local_port_range': `${range.first}\t${range.last}`,
    }),
  }
}

/** Outside addresses that lie in the network of a link: nobody routes them to this host, so it has to answer for them. */
export function onLinkProxies(
  links: LinkSettings,
  addresses: readonly IpAddress[],
): { readonly device: string; readonly address: string }[] {
  const networks = links.addresses().flatMap(entry => {
    const prefix = Prefix.parse(entry.address)
    return prefix && !prefix.isHost ? [{ device: entry.device, prefix }] : []
  })
  return addresses.flatMap(address => {
    const network = networks.find(({ prefix }) => prefix.contains(address))
    return network ? [{ device: network.device, address: `${address}` }] : []
  })
}

/** What answering neighbour solicitations for others needs. */
export function proxySettings(proxies: EgressPlan['proxies']): Record<string, string> {
  const links = proxies.filter(({ address }) => address.includes(':')).map(({ device }) => device)
  return Object.fromEntries(links.map(device => [`net/ipv6/conf/${device}/proxy_ndp`, '1']))
}

/** `address/length` with the length of the prefix, or of one host. */
export function onDevice(address: IpAddress | undefined, prefix: Prefix | undefined, whole: boolean): string[] {
  if (!address || !prefix) return []
  return [`${address}/${whole ? prefix.length : address.family === 4 ? 32 : 128}`]
}
