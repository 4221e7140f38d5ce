import { addressBytes, addressText, parsePrefix } from '../../ip-text.ts'
import { type NetlinkReply, type NetlinkRequest, netlinkAttributes, readUint32 } from './netlink-message.ts'
import { AF_INET, AF_INET6, familyNumber } from './structs.ts'

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

const kindNumbers: Record<RouteKind, number> = { unicast: 1, local: 2, blackhole: 6, unreachable: 7, prohibit: 8 }
const kindNames = new Map<number, RouteKind>(
  Object.entries(kindNumbers).map(([name, number]) => [number, name as RouteKind]),
)

/** The table that is meant when none is named. */
export const MAIN_TABLE = 254

/** Values of struct rtmsg (linux/rtnetlink.h): u8 family, dst_len, src_len, tos, table, protocol, scope, type; u32 flags. */
const RTPROT_STATIC = 4
const RT_SCOPE_UNIVERSE = 0
const RT_SCOPE_LINK = 253
const RT_SCOPE_NOWHERE = 255
/** Attributes. */
const RTA_DST = 1
const RTA_OIF = 4
const RTA_GATEWAY = 5
const RTA_PRIORITY = 6
const RTA_PREFSRC = 7
const RTA_TABLE = 15
const ROUTE_BYTES = 12

/** What adds a route, or removes those that match. `index` is that of its device. @throws TypeError for text that is no address */
export function routeMessage(
  route: Route,
  index: number | undefined,
  removing: boolean,
): { readonly header: Uint8Array; readonly fill: (request: NetlinkRequest) => void } {
  const prefix = parsePrefix(route.destination)
  if (!prefix) throw new TypeError(`not a prefix: '${route.destination}'`)
  const gateway = addressLike(route.gateway, prefix.bytes)
  const source = addressLike(route.source, prefix.bytes)
  const table = route.table ?? MAIN_TABLE
  const kind = route.kind ?? 'unicast'
  const header = new Uint8Array(ROUTE_BYTES)
  header[0] = familyNumber(prefix.bytes)
  header[1] = prefix.length
  header[4] = table < 256 ? table : 0
  header[5] = removing ? 0 : RTPROT_STATIC
  header[6] = removing ? RT_SCOPE_NOWHERE : gateway || kind !== 'unicast' ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK
  header[7] = removing && route.kind === undefined ? 0 : kindNumbers[kind]
  return {
    header,
    fill: request => {
      request.attribute(RTA_DST, prefix.bytes)
      if (gateway) request.attribute(RTA_GATEWAY, gateway)
      if (index !== undefined) request.uint32(RTA_OIF, index)
      if (route.metric !== undefined) request.uint32(RTA_PRIORITY, route.metric)
      if (source) request.attribute(RTA_PREFSRC, source)
      request.uint32(RTA_TABLE, table)
    },
  }
}

/** The fixed part of a request for all routes of a family. */
export function routeListHeader(family: 4 | 6): Uint8Array {
  const header = new Uint8Array(ROUTE_BYTES)
  header[0] = family === 4 ? AF_INET : AF_INET6
  return header
}

/** The fixed part of a question for the way to an address. */
export function lookupHeader(address: Uint8Array): Uint8Array {
  const header = new Uint8Array(ROUTE_BYTES)
  header[0] = familyNumber(address)
  header[1] = address.length * 8
  return header
}

/** The rest of that question. */
export function fillLookup(request: NetlinkRequest, address: Uint8Array, index: number | undefined): void {
  request.attribute(RTA_DST, address)
  if (index !== undefined) request.uint32(RTA_OIF, index)
}

/** Reads the answer. */
export function lookupOf(reply: NetlinkReply, links: ReadonlyMap<number, string>): RouteLookup {
  const attributes = netlinkAttributes(reply.payload, ROUTE_BYTES)
  return {
    device: links.get(numberOf(attributes, RTA_OIF) ?? 0) ?? '',
    source: textOf(attributes, RTA_PREFSRC),
    gateway: textOf(attributes, RTA_GATEWAY),
    kind: kindNames.get(reply.payload[7]!) ?? 'unicast',
  }
}

/** Reads a route of a listing. */
export function routeOf(reply: NetlinkReply, family: 4 | 6, links: ReadonlyMap<number, string>): Route {
  const attributes = netlinkAttributes(reply.payload, ROUTE_BYTES)
  const bytes = attributes.get(RTA_DST) ?? new Uint8Array(family === 4 ? 4 : 16)
  const index = numberOf(attributes, RTA_OIF)
  const device = index === undefined ? undefined : links.get(index)
  const gateway = textOf(attributes, RTA_GATEWAY)
  const source = textOf(attributes, RTA_PREFSRC)
  const metric = numberOf(attributes, RTA_PRIORITY)
  return {
    destination: `${addressText(bytes)}/${reply.payload[1]}`,
    table: numberOf(attributes, RTA_TABLE) ?? reply.payload[4]!,
    kind: kindNames.get(reply.payload[7]!) ?? 'unicast',
    ...(device !== undefined && { device }),
    ...(gateway !== undefined && { gateway }),
    ...(source !== undefined && { source }),
    ...(metric !== undefined && { metric }),
  }
}

function numberOf(attributes: ReadonlyMap<number, Uint8Array>, type: number): number | undefined {
  const value = attributes.get(type)
  return value && readUint32(value)
}

function textOf(attributes: ReadonlyMap<number, Uint8Array>, type: number): string | undefined {
  const value = attributes.get(type)
  return value && addressText(value)
}

function addressLike(text: string | undefined, like: Uint8Array): Uint8Array | undefined {
  if (text === undefined) return undefined
  const bytes = addressBytes(text)
  if (bytes?.length !== like.length) throw new TypeError(`not an address of the destination's family: '${text}'`)
  return bytes
}
