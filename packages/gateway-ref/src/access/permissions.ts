import { IpAddress } from '@twinbore/core/address'
import type { Permission } from './access-policy.ts'

/** Where a packet wants to go. */
export interface Destination {
  readonly address: IpAddress
  readonly protocol: 'tcp' | 'udp' | 'icmp' | 'other'
  /** Of TCP and UDP. */
  readonly port?: number | undefined
}

/** Whether one of the permissions covers a destination. `undefined` permissions are those of everybody: all. */
export function permits(permissions: readonly Permission[] | undefined, destination: Destination): boolean {
  if (!permissions) return true
  const { address, protocol: asked, port = 0 } = destination
  return permissions.some(
    ({ to, protocol, ports }) =>
      to.contains(address) &&
      (protocol === undefined || protocol === asked) &&
      (!ports || ports.some(({ first, last }) => first <= port && port <= last)),
  )
}

/** Reads `tcp 10.2.0.5:443`, `udp [2001:db8::1]:53`, `icmp 10.2.0.5`. */
export function readDestination(text: string): Destination | undefined {
  const match = /^(?:(tcp|udp) (?:\[([^\]]+)\]|([^\s:]+)):(\d{1,5})|icmp (\S+))$/.exec(text)
  if (!match) return undefined
  const [, protocol, bracketed, plain, port, echo] = match
  const address = IpAddress.parse(bracketed ?? plain ?? echo ?? '')
  if (!address || (bracketed !== undefined && address.family === 4)) return undefined
  if (protocol === undefined) return { address, protocol: 'icmp' }
  const number = Number(port)
  return number >= 1 && number <= 65_535 ? { address, protocol: protocol as 'tcp' | 'udp', port: number } : undefined
}
