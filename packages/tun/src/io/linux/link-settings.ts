import { TunError } from '../../errors.ts'
import { addressBytes, addressText, parsePrefix } from '../../ip-text.ts'
import { errnoName } from './errno.ts'
import {
  type NetlinkReply,
  type NetlinkRequest,
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  netlinkAttributes,
  RTM_DELADDR,
  RTM_DELNEIGH,
  RTM_DELROUTE,
  RTM_GETADDR,
  RTM_GETLINK,
  RTM_GETROUTE,
  RTM_NEWADDR,
  RTM_NEWLINK,
  RTM_NEWNEIGH,
  RTM_NEWROUTE,
  readUint32,
} from './netlink-message.ts'
import { NetlinkRefusal, NetlinkSocket, refusedWith } from './netlink-socket.ts'
import { AF_INET, AF_INET6 } from './structs.ts'

/** A route of the kernel. */
export interface Route {
  /** Where to: a prefix such as `10.0.0.0/8`, `::/0`. */
  readonly destination: string
  /** Through which interface, by name. */
  readonly device?: string
  /** Through which router. */
  readonly gateway?: string
  /** Lower wins. The kernel's defaults are 0 for IPv4 and 1024 for IPv6. */
  readonly metric?: number
  /** Routing table. @defaultValue 254, the main one */
  readonly table?: number
  /** `unreachable` refuses with an ICMP error, `blackhole` drops silently. @defaultValue 'unicast' */
  readonly kind?: RouteKind
  /** The source address that the host prefers for this destination. */
  readonly source?: string
}

export type RouteKind = 'unicast' | 'local' | 'blackhole' | 'unreachable' | 'prohibit'

/** What the kernel would do with a packet of its own to an address. */
export interface RouteLookup {
  readonly device: string
  /** The source address it would use. */
  readonly source: string | undefined
  readonly gateway: string | undefined
  readonly kind: RouteKind
}

export interface LinkState {
  readonly index: number
  readonly name: string
  readonly up: boolean
  readonly mtu: number
}

/** What to change on a link; what is absent stays. */
export interface LinkChange {
  readonly up?: boolean
  readonly mtu?: number
  /** Whether the kernel makes a link-local IPv6 address (and sends router solicitations and reports into the link). */
  readonly linkLocal?: boolean
}

const kindNumbers: Record<RouteKind, number> = { unicast: 1, local: 2, blackhole: 6, unreachable: 7, prohibit: 8 }
const kindNames = new Map<number, RouteKind>(
  Object.entries(kindNumbers).map(([name, number]) => [number, name as RouteKind]),
)

const RT_TABLE_MAIN = 254
const RTPROT_STATIC = 4
const RT_SCOPE_UNIVERSE = 0
const RT_SCOPE_LINK = 253
const RT_SCOPE_NOWHERE = 255
const IFF_UP = 1
/** Attributes: IFLA_*, IFA_*, RTA_*. */
const IFLA_IFNAME = 3
const IFLA_MTU = 4
const IFLA_AF_SPEC = 26
const IFLA_INET6_ADDR_GEN_MODE = 8
const IFA_ADDRESS = 1
const IFA_LOCAL = 2
const RTA_DST = 1
const RTA_OIF = 4
const RTA_GATEWAY = 5
const RTA_PRIORITY = 6
const RTA_PREFSRC = 7
const RTA_TABLE = 15
const NDA_DST = 1
const NTF_PROXY = 8
const LINK_BYTES = 16
const ADDRESS_BYTES = 8
const ROUTE_BYTES = 12
const NEIGHBOUR_BYTES = 12

/**
 * Links, addresses and routes of the network namespace that the process is in, through rtnetlink. All methods answer at
 * once. They throw `TunError` with `ERR_TUN_PERMISSION` without `CAP_NET_ADMIN`, else `ERR_TUN_SETTINGS`.
 */
export class LinkSettings {
  private readonly socket = new NetlinkSocket()

  /** A link by name, `undefined` if there is none. */
  link(name: string): LinkState | undefined {
    try {
      const reply = this.socket.ask(RTM_GETLINK, new Uint8Array(LINK_BYTES), request => request.text(IFLA_IFNAME, name))
      return reply && linkOf(reply)
    } catch (error) {
      if (refusedWith(error, 'ENODEV')) return undefined
      throw explained(error, `link ${name}`)
    }
  }

  links(): LinkState[] {
    return this.attempt('links', () => this.socket.list(RTM_GETLINK, new Uint8Array(LINK_BYTES)).map(linkOf))
  }

  setLink(name: string, change: LinkChange): void {
    const fixed = new Uint8Array(LINK_BYTES)
    const view = new DataView(fixed.buffer)
    view.setInt32(4, this.indexOf(name), true)
    if (change.up !== undefined) {
      view.setUint32(8, change.up ? IFF_UP : 0, true)
      view.setUint32(12, IFF_UP, true)
    }
    this.attempt(`link ${name}`, () =>
      this.socket.change(RTM_NEWLINK, 0, fixed, request => {
        if (change.mtu !== undefined) request.uint32(IFLA_MTU, change.mtu)
        if (change.linkLocal !== undefined) {
          const mode = Uint8Array.of(change.linkLocal ? 0 : 1)
          request.nested(IFLA_AF_SPEC, () => {
            request.nested(AF_INET6, () => request.attribute(IFLA_INET6_ADDR_GEN_MODE, mode))
          })
        }
      }),
    )
  }

  /** Gives a link an address, such as `192.168.77.1/24`. Giving it again is no error. */
  addAddress(device: string, address: string): void {
    this.changeAddress(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, device, address)
  }

  /** Takes an address from a link. Says whether it was there. */
  removeAddress(device: string, address: string): boolean {
    return this.unlessMissing(() => this.changeAddress(RTM_DELADDR, 0, device, address))
  }

  /** The addresses of a link, or of all, as `address/length`. */
  addresses(device?: string): { readonly device: string; readonly address: string }[] {
    const links = new Map(this.links().map(link => [link.index, link.name]))
    return this.attempt('addresses', () => this.socket.list(RTM_GETADDR, new Uint8Array(ADDRESS_BYTES)))
      .map(reply => {
        const attributes = netlinkAttributes(reply.payload, ADDRESS_BYTES)
        const bytes = attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS) ?? new Uint8Array(4)
        return {
          device: links.get(readUint32(reply.payload, 4)) ?? '',
          address: `${addressText(bytes)}/${reply.payload[1]}`,
        }
      })
      .filter(entry => device === undefined || entry.device === device)
  }

  /** Adds a route. @throws TunError with errno `EEXIST` if there is one with this destination, metric and table */
  addRoute(route: Route): void {
    this.changeRoute(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, route)
  }

  /** Adds a route, or takes the place of the one with this destination, metric and table. */
  replaceRoute(route: Route): void {
    this.changeRoute(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, route)
  }

  /** Removes a route; only what is given must match. Says whether there was one. */
  removeRoute(route: Route): boolean {
    return this.unlessMissing(() => this.changeRoute(RTM_DELROUTE, 0, route))
  }

  /** The routes of a family in a table (the main one unless told). */
  routes(family: 4 | 6, table: number = RT_TABLE_MAIN): Route[] {
    const links = new Map(this.links().map(link => [link.index, link.name]))
    const fixed = new Uint8Array(ROUTE_BYTES)
    fixed[0] = family === 4 ? AF_INET : AF_INET6
    return this.attempt('routes', () => this.socket.list(RTM_GETROUTE, fixed))
      .map(reply => routeOf(reply, family, links))
      .filter(route => (route.table ?? RT_TABLE_MAIN) === table)
  }

  /**
   * The way that a packet of this host to `address` would take, `undefined` if there is none. With `device`: if it had to
   * leave by that interface.
   */
  lookup(address: string, device?: string): RouteLookup | undefined {
    const bytes = addressBytes(address)
    if (!bytes) throw new TypeError(`not an address: '${address}'`)
    const fixed = new Uint8Array(ROUTE_BYTES)
    fixed[0] = familyNumber(bytes)
    fixed[1] = bytes.length * 8
    const index = device === undefined ? undefined : this.indexOf(device)
    let reply: NetlinkReply | undefined
    try {
      reply = this.socket.ask(RTM_GETROUTE, fixed, request => {
        request.attribute(RTA_DST, bytes)
        if (index !== undefined) request.uint32(RTA_OIF, index)
      })
    } catch (error) {
      if (refusedWith(error, 'ENETUNREACH', 'EHOSTUNREACH', 'EINVAL', 'EACCES', 'ESRCH')) return undefined
      throw explained(error, `route to ${address}`)
    }
    if (!reply) return undefined
    const attributes = netlinkAttributes(reply.payload, ROUTE_BYTES)
    const text = (type: number) => {
      const value = attributes.get(type)
      return value && addressText(value)
    }
    const leaving = attributes.get(RTA_OIF)
    const links = new Map(this.links().map(link => [link.index, link.name]))
    return {
      device: (leaving && links.get(readUint32(leaving))) ?? '',
      source: text(RTA_PREFSRC),
      gateway: text(RTA_GATEWAY),
      kind: kindNames.get(reply.payload[7]!) ?? 'unicast',
    }
  }

  /**
   * Lets the host answer ARP or neighbour solicitations for `address` on a link. IPv6 also needs `proxy_ndp` of the link.
   */
  addProxyNeighbour(device: string, address: string): void {
    this.changeNeighbour(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, device, address)
  }

  /** Takes `addProxyNeighbour` back. Says whether it was there. */
  removeProxyNeighbour(device: string, address: string): boolean {
    return this.unlessMissing(() => this.changeNeighbour(RTM_DELNEIGH, 0, device, address))
  }

  close(): void {
    this.socket.close()
  }

  private indexOf(name: string): number {
    const link = this.link(name)
    if (!link) throw new TunError('ERR_TUN_SETTINGS', `there is no interface '${name}'`, { errno: 'ENODEV' })
    return link.index
  }

  private changeAddress(type: number, flags: number, device: string, address: string): void {
    const prefix = parsePrefix(address)
    if (!prefix) throw new TypeError(`not an address with a prefix length: '${address}'`)
    const fixed = new Uint8Array(ADDRESS_BYTES)
    fixed[0] = familyNumber(prefix.bytes)
    fixed[1] = prefix.length
    new DataView(fixed.buffer).setUint32(4, this.indexOf(device), true)
    this.attempt(`address ${address} on ${device}`, () =>
      this.socket.change(type, flags, fixed, request => {
        request.attribute(IFA_LOCAL, prefix.bytes).attribute(IFA_ADDRESS, prefix.bytes)
      }),
    )
  }

  private changeNeighbour(type: number, flags: number, device: string, address: string): void {
    const bytes = addressBytes(address)
    if (!bytes) throw new TypeError(`not an address: '${address}'`)
    const fixed = new Uint8Array(NEIGHBOUR_BYTES)
    fixed[0] = familyNumber(bytes)
    new DataView(fixed.buffer).setUint32(4, this.indexOf(device), true)
    fixed[10] = NTF_PROXY
    this.attempt(`proxy for ${address} on ${device}`, () =>
      this.socket.change(type, flags, fixed, request => request.attribute(NDA_DST, bytes)),
    )
  }

  private changeRoute(type: number, flags: number, route: Route): void {
    const prefix = parsePrefix(route.destination)
    if (!prefix) throw new TypeError(`not a prefix: '${route.destination}'`)
    const gateway = this.addressLike(route.gateway, prefix.bytes)
    const source = this.addressLike(route.source, prefix.bytes)
    const index = route.device === undefined ? undefined : this.indexOf(route.device)
    const table = route.table ?? RT_TABLE_MAIN
    const kind = route.kind ?? 'unicast'
    const removing = type === RTM_DELROUTE
    const fixed = new Uint8Array(ROUTE_BYTES)
    fixed[0] = familyNumber(prefix.bytes)
    fixed[1] = prefix.length
    fixed[4] = table < 256 ? table : 0
    fixed[5] = removing ? 0 : RTPROT_STATIC
    fixed[6] = removing ? RT_SCOPE_NOWHERE : gateway || kind !== 'unicast' ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK
    fixed[7] = removing && route.kind === undefined ? 0 : kindNumbers[kind]
    this.attempt(`route ${route.destination}`, () =>
      this.socket.change(type, flags, fixed, (request: NetlinkRequest) => {
        request.attribute(RTA_DST, prefix.bytes)
        if (gateway) request.attribute(RTA_GATEWAY, gateway)
        if (index !== undefined) request.uint32(RTA_OIF, index)
        if (route.metric !== undefined) request.uint32(RTA_PRIORITY, route.metric)
        if (source) request.attribute(RTA_PREFSRC, source)
        request.uint32(RTA_TABLE, table)
      }),
    )
  }

  private addressLike(text: string | undefined, like: Uint8Array): Uint8Array | undefined {
    if (text === undefined) return undefined
    const bytes = addressBytes(text)
    if (bytes?.length !== like.length) throw new TypeError(`not an address of the destination's family: '${text}'`)
    return bytes
  }

  private unlessMissing(change: () => void): boolean {
    try {
      change()
      return true
    } catch (error) {
      const name = error instanceof TunError ? error.errno : undefined
      if (name === 'ESRCH' || name === 'EADDRNOTAVAIL' || name === 'ENODEV' || name === 'ENOENT') return false
      throw error
    }
  }

  private attempt<Result>(what: string, act: () => Result): Result {
    try {
      return act()
    } catch (error) {
      throw explained(error, what)
    }
  }
}

function explained(error: unknown, what: string): unknown {
  if (!(error instanceof NetlinkRefusal)) return error
  const name = errnoName(error.errno)
  const code = name === 'EPERM' || name === 'EACCES' ? 'ERR_TUN_PERMISSION' : 'ERR_TUN_SETTINGS'
  return new TunError(code, `${what}: the kernel says ${name}`, { cause: error, errno: name })
}

function familyNumber(bytes: Uint8Array): number {
  return bytes.length === 4 ? AF_INET : AF_INET6
}

function linkOf(reply: NetlinkReply): LinkState {
  const attributes = netlinkAttributes(reply.payload, LINK_BYTES)
  const mtu = attributes.get(IFLA_MTU)
  const name = attributes.get(IFLA_IFNAME) ?? new Uint8Array(0)
  return {
    index: readUint32(reply.payload, 4),
    name: String.fromCharCode(...name.subarray(0, name.indexOf(0))),
    up: (readUint32(reply.payload, 8) & IFF_UP) !== 0,
    mtu: mtu ? readUint32(mtu) : 0,
  }
}

function routeOf(reply: NetlinkReply, family: 4 | 6, links: ReadonlyMap<number, string>): Route {
  const attributes = netlinkAttributes(reply.payload, ROUTE_BYTES)
  const bytes = attributes.get(RTA_DST) ?? new Uint8Array(family === 4 ? 4 : 16)
  const number = (type: number) => {
    const value = attributes.get(type)
    return value && readUint32(value)
  }
  const address = (type: number) => {
    const value = attributes.get(type)
    return value && addressText(value)
  }
  const index = number(RTA_OIF)
  const device = index === undefined ? undefined : links.get(index)
  const gateway = address(RTA_GATEWAY)
  const source = address(RTA_PREFSRC)
  const metric = number(RTA_PRIORITY)
  return {
    destination: `${addressText(bytes)}/${reply.payload[1]}`,
    table: number(RTA_TABLE) ?? reply.payload[4]!,
    kind: kindNames.get(reply.payload[7]!) ?? 'unicast',
    ...(device !== undefined && { device }),
    ...(gateway !== undefined && { gateway }),
    ...(source !== undefined && { source }),
    ...(metric !== undefined && { metric }),
  }
}
