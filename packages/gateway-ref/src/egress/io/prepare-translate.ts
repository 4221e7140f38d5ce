import type { IpAddress } from '@twinbore/core/address'
import type { LinkSettings } from '@twinbore/tun/io'
import { GatewayError } from '../../errors.ts'
import type { EgressSettings, Translation } from '../egress.ts'
import type { EgressPlan } from '../egress-plan.ts'
import { hostAddressRules, type NftFeatures, ownAddressRules, tableName, type Uplink } from '../nft-rules.ts'
import { findUplinks, usedPorts } from './host-network.ts'
import { onDevice, onLinkProxies, portSettings, proxySettings } from './host-preparation.ts'
import type { KernelSettings } from './kernel-settings.ts'

/** `translate` with the host's own address, by port. */
export function prepareHostAddress(settings: EgressSettings, links: LinkSettings, kernel: KernelSettings): EgressPlan {
  const { transit, ports } = settings.config
  const uplinks = findUplinks(links, '', settings.destinations ?? [], settings.hostAddresses)
  checkHostAddresses(settings, uplinks)
  const used = usedPorts()
  const busy = new Set([...used.tcp, ...used.udp, ...settings.listenPorts])
  const outside = [...(settings.pool.ipv4 ? [transit.ipv4] : []), ...(settings.pool.ipv6 ? [transit.ipv6] : [])]
  const pairs = uplinks.flatMap(({ ipv4, ipv6 }) => [
    ...(ipv4 ? [{ host: ipv4, transit: transit.ipv4 }] : []),
    ...(ipv6 ? [{ host: ipv6, transit: transit.ipv6 }] : []),
  ])
  return {
    mtu: deviceMtu(settings, links, uplinks),
    addresses: gatewayOnDevice(settings),
    routes: outside.map(host),
    proxies: [],
    settings: portSettings(settings, kernel),
    scripts: (device, saved, exclusive) =>
      featureSets.map(features =>
        hostAddressRules({
          table: tableName(settings.instance),
          device,
          pool: settings.pool,
          exclusive,
          saved,
          transit,
          uplinks,
          ports,
          features,
        }),
      ),
    translation: {
      ...translation(settings, outside),
      excludedPorts: [...busy].filter(port => port >= ports.first && port <= ports.last).sort((a, b) => a - b),
    },
    addressPairs: pairs,
  }
}

/** `translate` with outside addresses of its own. */
export function prepareOwnAddresses(settings: EgressSettings, links: LinkSettings): EgressPlan {
  const { addresses } = settings.config
  const uplinks = findUplinks(links, '', settings.destinations ?? [])
  const proxies = onLinkProxies(links, addresses)
  return {
    mtu: deviceMtu(settings, links, uplinks),
    addresses: gatewayOnDevice(settings),
    routes: addresses.map(host),
    proxies,
    settings: proxySettings(proxies),
    scripts: (device, saved, exclusive) => [
      ownAddressRules({
        table: tableName(settings.instance),
        device,
        pool: settings.pool,
        exclusive,
        saved,
        addresses,
      }),
    ],
    translation: translation(settings, addresses),
    addressPairs: [],
  }
}

/** What kernels may lack, most wanted first. */
const featureSets: readonly NftFeatures[] = [
  { socket: true, reassembly: true },
  { socket: true, reassembly: false },
  { socket: false, reassembly: false },
]

function translation(settings: EgressSettings, outsideAddresses: readonly IpAddress[]): Translation {
  const { ipv4, ipv6 } = settings.gatewayAddresses
  return {
    outsideAddresses,
    gatewayAddresses: [ipv4, ipv6].filter(address => address !== undefined),
    portRange: settings.config.ports,
    excludedPorts: [],
    decrementTtl: false,
  }
}

/** The pool itself is not routed: its addresses end at the translator. */
function gatewayOnDevice(settings: EgressSettings): string[] {
  return [
    ...onDevice(settings.gatewayAddresses.ipv4, settings.pool.ipv4, false),
    ...onDevice(settings.gatewayAddresses.ipv6, settings.pool.ipv6, false),
  ]
}

/**
 * As long as what the links bring. The kernel's own "packet too big" would be about the transit address, which means
 * nothing outside; the data plane knows each session's limit and answers through the translator.
 */
function deviceMtu(settings: EgressSettings, links: LinkSettings, uplinks: readonly Uplink[]): number {
  return Math.max(settings.mtu, ...uplinks.map(uplink => links.link(uplink.device)?.mtu ?? 0))
}

function checkHostAddresses(settings: EgressSettings, uplinks: readonly Uplink[]): void {
  if (uplinks.length === 0) {
    throw new GatewayError('ERR_GATEWAY_HOST', 'no interface of this host is up and has an address')
  }
  for (const address of [settings.hostAddresses?.ipv4, settings.hostAddresses?.ipv6]) {
    if (address && !uplinks.some(({ ipv4, ipv6 }) => ipv4?.equals(address) || ipv6?.equals(address))) {
      throw new GatewayError('ERR_GATEWAY_HOST', `no interface of this host has the address ${address}`)
    }
  }
}

function host(address: IpAddress): string {
  return `${address}/${address.family === 4 ? 32 : 128}`
}
