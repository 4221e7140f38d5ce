import { IpAddress, Prefix, type RouteTable } from '@twinbore/core/address'
import { ALLOWED, DENIED } from '../../data-plane/denied-destinations.ts'

/**
 * Whether a socket may be opened to an address in the name of a client. Such a socket is the host's own, and everything
 * that trusts the host is within its reach: loopback, metadata services, the gateway itself. An IPv6 address that carries
 * an IPv4 address is refused if either is.
 *
 * @param table - made by `deniedDestinations`
 * @param isOwn - whether the system says that the address is the host's: no general rule allows that, only one that names it
 */
export function mayReach(table: RouteTable, address: IpAddress, isOwn: boolean): boolean {
  const ruling = lookup(table, address)
  if (ruling === DENIED || (isOwn && ruling !== ALLOWED)) return false
  const embedded = embeddedIpv4(address)
  return embedded === undefined || lookup(table, embedded) !== DENIED
}

function lookup(table: RouteTable, { bytes, family }: IpAddress): number {
  return table.lookup(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0, family)
}

/** Where an IPv6 address of a prefix has the IPv4 address that its packets go to in the end. */
const carriers: readonly { readonly prefix: Prefix; readonly at: number; readonly inverted?: true }[] = [
  // IPv4-mapped and IPv4-compatible (RFC 4291 §2.5.5).
  { prefix: Prefix.of('::ffff:0:0/96'), at: 12 },
  { prefix: Prefix.of('::/96'), at: 12 },
  // NAT64 (RFC 6052 §2.1), for which there may be a translator in the network.
  { prefix: Prefix.of('64:ff9b::/96'), at: 12 },
  { prefix: Prefix.of('64:ff9b:1::/48'), at: 12 },
  // 6to4 (RFC 3056 §2) and Teredo (RFC 4380 §4), the latter with all bits inverted.
  { prefix: Prefix.of('2002::/16'), at: 2 },
  { prefix: Prefix.of('2001::/32'), at: 12, inverted: true },
]

/** The IPv4 address inside an IPv6 address. */
export function embeddedIpv4(address: IpAddress): IpAddress | undefined {
  if (address.family === 4) return undefined
  const carrier =
    carriers.find(({ prefix }) => prefix.contains(address)) ?? (isIsatap(address) ? { at: 12 } : undefined)
  if (!carrier) return undefined
  const bytes = address.bytes.slice(carrier.at, carrier.at + 4)
  // `::`, `::1` and their neighbours are themselves.
  if (carrier.at === 12 && address.bytes.subarray(0, 13).every(byte => byte === 0)) return undefined
  return IpAddress.fromBytes('inverted' in carrier ? bytes.map(byte => ~byte) : bytes)
}

/** RFC 5214 §6.1: an interface identifier 0:5efe or 200:5efe before the IPv4 address. */
function isIsatap({ bytes }: IpAddress): boolean {
  return (bytes[8]! & 0xfd) === 0 && bytes[9] === 0 && bytes[10] === 0x5e && bytes[11] === 0xfe
}
