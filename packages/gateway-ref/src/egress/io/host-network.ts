import { existsSync, readFileSync } from 'node:fs'
import { IpAddress, type Prefix } from '@twinbore/core/address'
import type { LinkSettings } from '@twinbore/tun/io'
import type { Uplink } from '../nft-rules.ts'

/**
 * The interfaces by which packets may leave, with the host's own address on each: those that are up and have an address,
 * without loopback and the device itself. The one that the default route (else the first of `destinations`) takes comes
 * first. Where an interface has several addresses, the one that the kernel would use for its own packets is taken.
 */
export function findUplinks(
  settings: LinkSettings,
  device: string,
  destinations: readonly Prefix[],
  given: { readonly ipv4?: IpAddress; readonly ipv6?: IpAddress } = {},
): Uplink[] {
  const up = settings.links().filter(link => link.up && link.name !== 'lo' && link.name !== device)
  const addresses = settings.addresses()
  const uplinks = up.map(({ name }): Uplink => {
    const own = addresses
      .filter(entry => entry.device === name)
      .map(entry => IpAddress.of(entry.address.slice(0, entry.address.indexOf('/'))))
      .filter(address => !isLinkLocal(address))
    const pick = (family: 4 | 6): IpAddress | undefined => {
      const wanted = family === 4 ? given.ipv4 : given.ipv6
      if (wanted && own.some(address => address.equals(wanted))) return wanted
      const source = settings.lookup(family === 4 ? '198.51.100.1' : '2001:db8::1', name)?.source
      return own.find(address => `${address}` === source) ?? own.find(address => address.family === family)
    }
    return { device: name, ipv4: pick(4), ipv6: pick(6) }
  })
  const first = [...destinationsToTry(destinations)]
    .map(address => settings.lookup(address))
    .find(way => way !== undefined && way.kind === 'unicast' && way.device !== device)?.device
  return uplinks
    .filter(uplink => uplink.ipv4 || uplink.ipv6)
    .sort((a, b) => Number(b.device === first) - Number(a.device === first))
}

/** The local ports of this namespace's TCP listeners and UDP sockets, either family. */
export function usedPorts(): { readonly tcp: ReadonlySet<number>; readonly udp: ReadonlySet<number> } {
  const LISTEN = '0A'
  return {
    tcp: new Set([...socketsOf('tcp'), ...socketsOf('tcp6')].filter(socket => socket.state === LISTEN).map(portOf)),
    udp: new Set([...socketsOf('udp'), ...socketsOf('udp6')].map(portOf)),
  }
}

interface SocketLine {
  readonly local: string
  readonly state: string
}

function socketsOf(protocol: string): SocketLine[] {
  const file = `/proc/net/${protocol}`
  if (!existsSync(file)) return []
  return readFileSync(file, 'utf8')
    .split('\n')
    .slice(1)
    .map(line => line.trim().split(/\s+/))
    .filter(fields => fields.length > 3)
    .map(fields => ({ local: fields[1]!, state: fields[3]! }))
}

function portOf(socket: SocketLine): number {
  return Number.parseInt(socket.local.slice(socket.local.lastIndexOf(':') + 1), 16)
}

/** An address behind the default route of each family, then one of each destination. */
function* destinationsToTry(destinations: readonly Prefix[]): Iterable<string> {
  yield '198.51.100.1'
  yield '2001:db8::1'
  for (const prefix of destinations) yield `${prefix.address}`
}

function isLinkLocal(address: IpAddress): boolean {
  return address.family === 6 && address.bytes[0] === 0xfe && (address.bytes[1]! & 0xc0) === 0x80
}
