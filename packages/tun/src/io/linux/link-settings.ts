import { TunError } from '../../errors.ts'
import { addressBytes, addressText, parsePrefix } from '../../ip-text.ts'
import { errnoName } from './errno.ts'
import {
  type NetlinkReply,
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
import {
  fillLookup,
  lookupHeader,
  lookupOf,
  MAIN_TABLE,
  type Route,
  type RouteLookup,
  routeListHeader,
  routeMessage,
  routeOf,
} from './route-message.ts'
import { AF_INET6, familyNumber } from './structs.ts'

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
  /** Packets that wait for the device (txqueuelen). */
  readonly queueLength?: number
  /** The longest super-packet that the device is given. */
  readonly gsoMaxBytes?: number
}

const IFF_UP = 1
/** Attributes: IFLA_*, IFA_*, NDA_*. */
const IFLA_IFNAME = 3
const IFLA_MTU = 4
const IFLA_TXQLEN = 13
const IFLA_AF_SPEC = 26
const IFLA_GSO_MAX_SIZE = 41
const IFLA_GSO_IPV4_MAX_SIZE = 63
const IFLA_INET6_ADDR_GEN_MODE = 8
const IFA_ADDRESS = 1
const IFA_LOCAL = 2
const NDA_DST = 1
const NTF_PROXY = 8
const LINK_BYTES = 16
const ADDRESS_BYTES = 8
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
        if (change.queueLength !== undefined) request.uint32(IFLA_TXQLEN, change.queueLength)
        if (change.gsoMaxBytes !== undefined) {
          request.uint32(IFLA_GSO_MAX_SIZE, change.gsoMaxBytes).uint32(IFLA_GSO_IPV4_MAX_SIZE, change.gsoMaxBytes)
        }
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
    const links = this.linkNames()
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
  routes(family: 4 | 6, table: number = MAIN_TABLE): Route[] {
    const links = this.linkNames()
    return this.attempt('routes', () => this.socket.list(RTM_GETROUTE, routeListHeader(family)))
      .map(reply => routeOf(reply, family, links))
      .filter(route => route.table === table)
  }

  /**
   * The way that a packet of this host to `address` would take, `undefined` if there is none. With `device`: if it had to
   * leave by that interface.
   */
  lookup(address: string, device?: string): RouteLookup | undefined {
    const bytes = addressBytes(address)
    if (!bytes) throw new TypeError(`not an address: '${address}'`)
    const index = device === undefined ? undefined : this.indexOf(device)
    let reply: NetlinkReply | undefined
    try {
      reply = this.socket.ask(RTM_GETROUTE, lookupHeader(bytes), request => fillLookup(request, bytes, index))
    } catch (error) {
      if (refusedWith(error, 'ENETUNREACH', 'EHOSTUNREACH', 'EINVAL', 'EACCES', 'ESRCH')) return undefined
      throw explained(error, `route to ${address}`)
    }
    return reply && lookupOf(reply, this.linkNames())
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
    const index = route.device === undefined ? undefined : this.indexOf(route.device)
    const message = routeMessage(route, index, type === RTM_DELROUTE)
    this.attempt(`route ${route.destination}`, () => this.socket.change(type, flags, message.header, message.fill))
  }

  private linkNames(): Map<number, string> {
    return new Map(this.links().map(link => [link.index, link.name]))
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
