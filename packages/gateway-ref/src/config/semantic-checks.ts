import { IpAddress, type Prefix } from '@twinbore/core/address'
import { gatewayAddress } from '../control-plane/grant-parameters.ts'
import { hostPrefix } from '../data-plane/denied-destinations.ts'
import type { ConfigPath, ConfigProblem } from './config-problem.ts'
import type { GatewayConfig } from './gateway-config.ts'

type Sections = Partial<GatewayConfig>
type Report = (path: ConfigPath, message: string) => void

/**
 * Finds what is wrong between settings that are each right on their own. A check runs when the sections that it needs
 * are themselves free of mistakes.
 */
export function checkSections(sections: Sections): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  const error: Report = (path, message) => problems.push({ severity: 'error', path, message })
  const warn: Report = (path, message) => problems.push({ severity: 'warning', path, message })
  checkPool(sections, error)
  checkRoutes(sections, error, warn)
  checkDns(sections, error, warn)
  checkEgress(sections, error, warn)
  checkAuth(sections, error, warn)
  checkSession(sections, warn)
  checkDataPlane(sections, error)
  return problems
}

function checkPool({ pool, mtu, listen }: Sections, error: Report): void {
  if (!pool) return
  if (!pool.ipv4 && !pool.ipv6) error(['pool'], 'has no addresses; write e.g. { ipv4: 192.168.77.0/24 }')
  // The network, the broadcast and the gateway's own address are never given to a client.
  if (pool.ipv4 && pool.ipv4.length > 30) {
    error(['pool', 'ipv4'], `'${pool.ipv4}' leaves no address for a client; write a prefix of /30 or shorter`)
  }
  if (pool.ipv6 && pool.ipv6.length > 126) {
    error(['pool', 'ipv6'], `'${pool.ipv6}' leaves no address for a client; write a prefix of /126 or shorter`)
  }
  if (pool.ipv6 && mtu !== undefined && mtu < 1280) {
    error(['mtu'], `'${mtu}' is too short for IPv6 clients; write at least 1280, or remove pool.ipv6`)
  }
  const address = listen && IpAddress.parse(listen.address)
  for (const prefix of [pool.ipv4, pool.ipv6]) {
    if (address && !isUnspecified(address) && prefix?.contains(address)) {
      error(['listen', 'address'], `'${address}' is inside the pool ${prefix}; choose a pool that is used nowhere else`)
    }
  }
}

function checkRoutes({ routes, pool }: Sections, error: Report, warn: Report): void {
  if (!routes) return
  const { include, exclude, maxRules } = routes
  const count = include.length + exclude.length
  if (count > maxRules) {
    const counts = `${count} rules (${include.length} include, ${exclude.length} exclude)`
    error(['routes'], `holds ${counts}, more than the limit of ${maxRules}; merge prefixes, or raise routes.maxRules`)
  }
  for (const [i, prefix] of include.entries()) {
    const path = ['routes', 'include', i]
    const own = prefix.family === 4 ? pool?.ipv4 : pool?.ipv6
    // At the gateway's own address in the pool is whatever it offers to clients itself.
    if (own?.covers(prefix) && prefix.toString() !== hostPrefix(gatewayAddress(own)).toString()) {
      error(path, `'${prefix}' is inside the pool ${own}; clients would get addresses that hosts there have`)
    } else if (own && prefix.covers(own) && prefix.length > 0) {
      warn(path, `'${prefix}' holds the pool ${own}; hosts there that have a pool address can't be reached`)
    } else if (pool && !own) {
      const family = `ipv${prefix.family}`
      warn(path, `'${prefix}' has no effect without pool.${family}; clients have no IPv${prefix.family} address`)
    }
    if (exclude.some(out => out.covers(prefix))) {
      warn(path, `'${prefix}' is wholly excluded by routes.exclude; it has no effect`)
    }
  }
}

function checkDns({ dns, routes, egress }: Sections, error: Report, warn: Report): void {
  if (!dns || !routes) return
  if (dns.forward.length > 0 && egress && egress.mode !== 'sockets') {
    error(
      ['dns', 'forward'],
      `needs egress.mode sockets, and that is ${egress.mode}; name the servers in dns.servers, or change the mode`,
    )
  }
  for (const [i, server] of dns.servers.entries()) {
    const included = routes.include.length === 0 || routes.include.some(prefix => prefix.contains(server))
    const longest = (prefixes: readonly Prefix[]) =>
      Math.max(-1, ...prefixes.filter(prefix => prefix.contains(server)).map(({ length }) => length))
    if (!included || longest(routes.exclude) >= Math.max(0, longest(routes.include))) {
      const host = `${server}/${server.family === 4 ? 32 : 128}`
      const hint = included ? 'narrow routes.exclude' : `add ${host} to routes.include`
      warn(['dns', 'servers', i], `'${server}' is not routed into the tunnel; clients may not reach it: ${hint}`)
    }
  }
  if (dns.servers.length + dns.forward.length === 0 && dns.splitDomains.length > 0) {
    warn(['dns', 'splitDomains'], 'has no effect without dns.servers; write e.g. servers: [10.2.0.2]')
  }
}

function checkEgress({ egress, listen, pool }: Sections, error: Report, warn: Report): void {
  if (!egress) return
  const { mode, ports, addresses, transit } = egress
  if (mode === 'sockets') {
    if (addresses.length > 0) {
      error(
        ['egress', 'addresses'],
        "can't be had with mode sockets, whose flows leave with the host's own address; write mode: translate",
      )
    }
    return
  }
  if (listen && addresses.length === 0 && listen.port >= ports.first && listen.port <= ports.last) {
    const after = `${listen.port + 1}-${Math.max(ports.last, listen.port + 1)}`
    error(
      ['egress', 'ports'],
      `'${ports.first}-${ports.last}' holds the listening port ${listen.port}; move one of them, e.g. ports: ${after}`,
    )
  }
  for (const family of [4, 6] as const) {
    const prefix = family === 4 ? pool?.ipv4 : pool?.ipv6
    if (!prefix) continue
    const own = addresses.findIndex(address => prefix.contains(address))
    if (own >= 0) error(['egress', 'addresses', own], `'${addresses[own]}' is inside the pool ${prefix}; take another`)
    if (addresses.length > 0 && !addresses.some(address => address.family === family)) {
      warn(['egress', 'addresses'], `has no IPv${family} address; IPv${family} clients have no way out`)
    }
    const key = `ipv${family}` as const
    if (prefix.contains(transit[key])) {
      error(
        ['egress', 'transit', key],
        `'${transit[key]}' is inside the pool ${prefix}; take an address used nowhere else`,
      )
    }
  }
}

function checkAuth({ auth }: Sections, error: Report, warn: Report): void {
  if (!auth) return
  if (!auth.users && !auth.clientCa) {
    error(['auth'], 'lets nobody in; write users: users.yaml, or clientCa: ca.crt, or both')
  }
  if (auth.require === 'all' && (!auth.users || !auth.clientCa)) {
    warn(['auth', 'require'], `'all' has no effect without both users and clientCa`)
  }
}

function checkSession({ session }: Sections, warn: Report): void {
  if (!session) return
  if (session.cookieSeconds > session.maxSeconds) {
    const { cookieSeconds, maxSeconds } = session
    warn(['session', 'cookieSeconds'], `'${cookieSeconds}' has no effect beyond session.maxSeconds ${maxSeconds}`)
  }
  if (session.idleSeconds > 0 && session.idleSeconds < 60) {
    warn(['session', 'idleSeconds'], `'${session.idleSeconds}' ends sessions that only pause; 0 means never`)
  }
}

function checkDataPlane({ dataPlane, egress }: Sections, error: Report): void {
  if (dataPlane?.driver === 'worker' && egress?.mode === 'sockets') {
    error(
      ['dataPlane', 'driver'],
      "'worker' can't be had with egress.mode sockets, whose sockets live on the event loop; write loop, or change the mode",
    )
  }
  if (dataPlane && dataPlane.workers > 1 && dataPlane.driver !== 'worker') {
    error(
      ['dataPlane', 'workers'],
      `'${dataPlane.workers}' needs dataPlane.driver worker, and that is ${dataPlane.driver}; write driver: worker`,
    )
  }
}

function isUnspecified(address: IpAddress): boolean {
  return address.bytes.every(byte => byte === 0)
}
