import type { EndpointTable } from '../../endpoint-table.ts'
import { AF_INET, AF_INET6, IFNAMSIZ, readIfreqName } from './structs.ts'
import type { Syscalls } from './syscalls.ts'

// struct sockaddr_in (16):  u16 family @0; port (big endian) @2; addr @4
// struct sockaddr_in6 (28): u16 family @0; port (big endian) @2; flowinfo @4; addr @8; u32 scope id @24

/** The sizes of both, by the family of the socket. */
export function nameBytes(family: 4 | 6): number {
  return family === 4 ? 16 : 28
}

/** Scope ids of link-local addresses and the interface names that they stand for. */
export class Zones {
  private readonly system: Syscalls
  private readonly names = new Map<number, string>()
  private readonly scopes = new Map<string, number>()
  private readonly scratch = new ArrayBuffer(IFNAMSIZ)

  constructor(system: Syscalls) {
    this.system = system
  }

  /** The interface's name, or its number as text when it is gone. */
  nameOf(scope: number): string {
    let name = this.names.get(scope)
    if (name === undefined) {
      const bytes = new Uint8Array(this.scratch).fill(0)
      const found = this.system.if_indextoname(scope, this.system.library.addressOf(this.scratch)) !== 0
      name = found ? readIfreqName(bytes) : `${scope}`
      this.keep(name, scope)
    }
    return name
  }

  /** The interface's number; 0 if there is none. */
  scopeOf(name: string): number {
    const known = this.scopes.get(name)
    if (known !== undefined) return known
    const scope = /^\d+$/.test(name) ? Number(name) : this.system.if_nametoindex(name)
    if (scope !== 0) this.keep(name, scope)
    return scope
  }

  /** Interfaces come, go and are renamed: what failed is asked again. */
  forget(): void {
    this.names.clear()
    this.scopes.clear()
  }

  private keep(name: string, scope: number): void {
    if (this.names.size === MAX_ZONES) this.forget()
    this.names.set(scope, name)
    this.scopes.set(name, scope)
  }
}

const MAX_ZONES = 256

/** Socket addresses in memory and endpoints of a table. */
export class SocketAddresses {
  readonly family: 4 | 6
  private readonly endpoints: EndpointTable
  private readonly zones: Zones
  /** The address that was interned last: most datagrams come from the peer of the one before. */
  private readonly last = new Uint32Array(7)
  private lastIndex = -1

  constructor(family: 4 | 6, endpoints: EndpointTable, zones: Zones) {
    this.family = family
    this.endpoints = endpoints
    this.zones = zones
  }

  /** Indices that are not retained are good until the next batch. */
  startBatch(): void {
    this.endpoints.startBatch()
    this.lastIndex = -1
  }

  /** The endpoint of the socket address at word `at`; -1 if the table has no room or the family is another. */
  intern(words: Uint32Array, bytes: Uint8Array, at: number): number {
    const { last } = this
    const head = words[at]!
    if (this.lastIndex !== -1 && head === last[0] && words[at + 1] === last[1]) {
      if (this.family === 4) return this.lastIndex
      let word = 2
      while (word < 7 && words[at + word] === last[word]) word++
      if (word === 7) return this.lastIndex
    }
    const port = (((head >>> 16) & 0xff) << 8) | (head >>> 24)
    const family = head & 0xffff
    let index = -1
    if (family === AF_INET) index = this.endpoints.internBytes(bytes, at * 4 + 4, 4, port)
    else if (family === AF_INET6) {
      const scope = words[at + 6]!
      index = this.endpoints.internBytes(bytes, at * 4 + 8, 16, port, scope === 0 ? '' : this.zones.nameOf(scope))
    }
    for (let word = 0; word < 7; word++) last[word] = words[at + word]!
    this.lastIndex = index
    return index
  }

  /** Writes an endpoint as a socket address to word `at`. False if its zone does not exist. */
  write(endpoint: number, words: Uint32Array, bytes: Uint8Array, at: number): boolean {
    const { endpoints } = this
    const port = endpoints.portOf(endpoint)
    const bigEndian = ((port & 0xff) << 24) | ((port >>> 8) << 16)
    if (this.family === 4) {
      words[at] = bigEndian | AF_INET
      endpoints.copyAddress(endpoint, bytes, at * 4 + 4, 4)
      return true
    }
    const zone = endpoints.zoneOf(endpoint)
    const scope = zone === '' ? 0 : this.zones.scopeOf(zone)
    words[at] = bigEndian | AF_INET6
    words[at + 1] = 0
    endpoints.copyAddress(endpoint, bytes, at * 4 + 8, 16)
    words[at + 6] = scope
    return zone === '' || scope !== 0
  }
}
