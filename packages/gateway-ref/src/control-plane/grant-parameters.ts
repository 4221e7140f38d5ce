import { clampTunnelMtu, datagramTunnelMtu, type TunnelParameters, type TunnelRequest } from '@twinbore/core'
import { type Family, IpAddress, Prefix } from '@twinbore/core/address'
import type { AccessTerms } from '../access/access-policy.ts'
import type { GatewayConfig } from '../config/gateway-config.ts'
import type { LeasedAddresses } from './address-leases.ts'

export interface GrantInput {
  readonly request: TunnelRequest
  readonly leased: LeasedAddresses
  /** Family of the addresses that client and gateway talk with. */
  readonly outerFamily: Family
  /** UDP port and App-ID, where this gateway has a datagram channel. */
  readonly datagram?: { readonly port: number; readonly appId: Uint8Array } | undefined
  readonly sessionRemainingSeconds: number
  /** What the policy gives this session in place of what the configuration says. @defaultValue nothing */
  readonly terms?: AccessTerms | undefined
}

/** The link MTU that is assumed until something else is known: Ethernet's. */
const DEFAULT_LINK_MTU = 1500
/** A keepalive often enough for the address translators on the way (RFC 4787 REQ-5 lets them forget after 120 s, many do sooner). */
const KEEPALIVE_SECONDS = 20

/**
 * Stock clients name an MTU of their own reckoning, which is lower than need be (for records of the worst kind); one lower
 * than that is what their user wants.
 */
function wishedMtu(request: TunnelRequest, linkMtu: number): number {
  const reckoned = linkMtu - MOST_RECKONED_OVERHEAD
  return request.mtu !== undefined && request.mtu < reckoned ? request.mtu : linkMtu
}

/** What stock clients take off the link MTU at most: records, UDP and IPv6. */
const MOST_RECKONED_OVERHEAD = 82 + 8 + 40

/** What a gateway grants to a client: its configuration, fitted to what the client asked for. */
export function grantParameters(gatewayConfig: GatewayConfig, input: GrantInput): TunnelParameters {
  const config = withTerms(gatewayConfig, input.terms)
  const { request, leased, outerFamily, datagram } = input
  const linkMtu = Math.min(request.baseMtu ?? DEFAULT_LINK_MTU, DEFAULT_LINK_MTU)
  const mtu = Math.min(config.mtu, datagramTunnelMtu({ linkMtu, family: outerFamily }), wishedMtu(request, linkMtu))
  const everything = config.routes.include.length === 0
  const { dpdSeconds, rekeySeconds } = config.session
  const timers = {
    keepaliveSeconds: KEEPALIVE_SECONDS,
    rekeySeconds,
    rekeyMethod: rekeySeconds === 0 ? 'none' : 'new-tunnel',
  } as const
  const hasFamily = (family: Family) => (family === 4 ? leased.ipv4 : leased.ipv6) !== undefined
  const servers = nameServers(config, leased)
  return {
    ...(leased.ipv4 && { ipv4: { address: leased.ipv4, netmask: config.pool.ipv4!.netmask } }),
    ...(leased.ipv6 && { ipv6: { address: leased.ipv6, prefixLength: config.pool.ipv6!.length } }),
    dns: {
      servers,
      searchDomains: config.dns.searchDomains,
      splitDomains: config.dns.splitDomains,
      tunnelAll: everything && config.dns.splitDomains.length === 0 && servers.length > 0,
    },
    routes: {
      include: everything ? [] : includedRoutes(config, leased),
      exclude: config.routes.exclude.filter(prefix => hasFamily(prefix.family)),
    },
    mtu: clampTunnelMtu(mtu, leased.ipv6 !== undefined),
    baseMtu: linkMtu,
    stream: { dpdSeconds, ...timers },
    ...(datagram && { datagram: { ...datagram, dpdSeconds: datagramDpdSeconds(config), ...timers } }),
    idleSeconds: config.session.idleSeconds,
    sessionSeconds: config.session.maxSeconds,
    sessionRemainingSeconds: input.sessionRemainingSeconds,
    disconnectedSeconds: config.session.cookieSeconds,
    clientBypass: !everything,
    ...(request.hostname !== undefined && { hostname: request.hostname }),
  }
}

/** The configuration as it is for one session. */
function withTerms(config: GatewayConfig, { routes, dns }: AccessTerms = {}): GatewayConfig {
  if (!routes && !dns) return config
  return {
    ...config,
    ...(routes && { routes: { ...config.routes, ...routes } }),
    ...(dns && { dns: { ...config.dns, ...dns } }),
  }
}

/** The datagram channel is watched at least as closely as the session asks for. */
function datagramDpdSeconds({ session, datagram }: GatewayConfig): number {
  const { dpdSeconds } = session
  return dpdSeconds > 0 && datagram.dpdSeconds > 0 ? Math.min(dpdSeconds, datagram.dpdSeconds) : datagram.dpdSeconds
}

/** The gateway itself comes first where it forwards queries. */
function nameServers(config: GatewayConfig, { ipv4, ipv6 }: LeasedAddresses): IpAddress[] {
  const own = config.dns.forward.length > 0 ? insideAddresses(config, { ipv4, ipv6 }) : []
  return [...own, ...config.dns.servers.filter(({ family }) => (family === 4 ? ipv4 : ipv6) !== undefined)]
}

function insideAddresses({ pool }: GatewayConfig, { ipv4, ipv6 }: LeasedAddresses): IpAddress[] {
  return [ipv4 && pool.ipv4, ipv6 && pool.ipv6].flatMap(prefix => (prefix ? gatewayAddress(prefix) : []))
}

/**
 * Clients take a family without an include as "everything of it". So a leased family that has none gets the gateway's own
 * inside address, and nothing else; that is routed too where clients are told to ask it for names.
 */
function includedRoutes(config: GatewayConfig, leased: LeasedAddresses): Prefix[] {
  const routes: Prefix[] = []
  for (const [lease, pool] of [
    [leased.ipv4, config.pool.ipv4],
    [leased.ipv6, config.pool.ipv6],
  ] as const) {
    if (!lease || !pool) continue
    const ofFamily = config.routes.include.filter(prefix => prefix.family === lease.family)
    const own = gatewayAddress(pool)
    const isNeeded = config.dns.forward.length > 0 && !ofFamily.some(prefix => prefix.contains(own))
    routes.push(...ofFamily)
    if (ofFamily.length === 0 || isNeeded) routes.push(Prefix.of(own, lease.family === 4 ? 32 : 128))
  }
  return routes
}

/** The gateway's own address inside a pool: its first host. */
export function gatewayAddress(pool: Prefix): IpAddress {
  const bytes = pool.address.bytes.slice()
  bytes[bytes.length - 1] = bytes[bytes.length - 1]! | 1
  return IpAddress.fromBytes(bytes)
}
