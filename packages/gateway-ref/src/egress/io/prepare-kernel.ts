import type { LinkSettings } from '@twinbore/tun/io'
import { GatewayError } from '../../errors.ts'
import type { EgressSettings } from '../egress.ts'
import type { EgressPlan } from '../egress-plan.ts'
import { kernelRules, type PortRange, tableName } from '../nft-rules.ts'
import { largestFreeRange } from '../port-range.ts'
import { usedPorts } from './host-network.ts'
import { onDevice, onLinkProxies, portSettings, proxySettings } from './host-preparation.ts'
import type { KernelSettings } from './kernel-settings.ts'

/** `kernel`: masquerade of the kernel, the pool routed to the device. */
export function prepareKernel(settings: EgressSettings, links: LinkSettings, kernel: KernelSettings): EgressPlan {
  const { addresses } = settings.config
  const used = usedPorts()
  const tcpPorts = freeRange(settings, 'TCP', used.tcp)
  const udpPorts = freeRange(settings, 'UDP', used.udp)
  const proxies = onLinkProxies(links, addresses)
  return {
    mtu: settings.mtu,
    addresses: [
      ...onDevice(settings.gatewayAddresses.ipv4, settings.pool.ipv4, true),
      ...onDevice(settings.gatewayAddresses.ipv6, settings.pool.ipv6, true),
    ],
    routes: addresses.map(address => `${address}/${address.family === 4 ? 32 : 128}`),
    proxies,
    settings: { ...portSettings(settings, kernel), ...proxySettings(proxies), ...trackingSettings },
    scripts: (device, saved, exclusive) => [
      kernelRules({
        table: tableName(settings.instance),
        device,
        pool: settings.pool,
        exclusive,
        saved,
        addresses,
        tcpPorts,
        udpPorts,
      }),
    ],
    translation: undefined,
    addressPairs: [],
  }
}

/** What rules can't set: ICMP (RFC 5508 REQ-2: at least 60 s), and helpers that would open pinholes. */
const trackingSettings: Readonly<Record<string, string>> = {
  'net/netfilter/nf_conntrack_icmp_timeout': '60',
  'net/netfilter/nf_conntrack_icmpv6_timeout': '60',
  'net/netfilter/nf_conntrack_helper': '0',
}

/** Fewer than this many ports for all clients is not worth starting for. */
const LEAST_PORTS = 1024

function freeRange(settings: EgressSettings, protocol: string, used: ReadonlySet<number>): PortRange {
  const { ports } = settings.config
  const range = largestFreeRange(ports, [...used, ...settings.listenPorts])
  const count = range ? range.last - range.first + 1 : 0
  if (!range || count < Math.min(LEAST_PORTS, ports.last - ports.first + 1)) {
    throw new GatewayError(
      'ERR_GATEWAY_HOST',
      `of the ports ${ports.first}-${ports.last} only ${count} in a row are free of ${protocol} sockets of this host`,
    )
  }
  if (count < ports.last - ports.first + 1) {
    settings.log.warn(`${protocol} ports of clients are limited, since programs of this host use others of the range`, {
      first: range.first,
      last: range.last,
    })
  }
  return range
}
