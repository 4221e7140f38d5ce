import { HashIndex, type KeyedHash } from '@twinbore/core/packet'
import { type AddressWords, isIpv4 } from './address.ts'
import type { PatConfig } from './options.ts'
import { excludedPortsBitmap, PortPool } from './port-pool.ts'

/** Up to here comparing one by one is faster than a hash. */
const fewAddresses = 4

/** The addresses that clients appear with: who uses them, and their ports. */
export class OutsideAddresses {
  /** Four words an address. */
  readonly words: AddressWords
  private readonly families: readonly (4 | 6)[]
  /** How many inside addresses are paired with each. */
  private readonly users: Int32Array
  private readonly pools: (PortPool | undefined)[] = []
  private readonly never: Uint32Array
  private readonly index: HashIndex = new HashIndex()
  private readonly hash: KeyedHash
  private readonly config: PatConfig

  constructor(config: PatConfig, hash: KeyedHash) {
    this.config = config
    this.hash = hash
    this.never = excludedPortsBitmap(config.portRange, config.excludedPorts)
    this.words = new Int32Array(config.outside.length * 4)
    this.families = config.outside.map(words => (isIpv4(words) ? 4 : 6))
    this.users = new Int32Array(config.outside.length)
    for (const [i, words] of config.outside.entries()) {
      this.words.set(words, i * 4)
      this.index.insert(hash.words4(words[0]!, words[1]!, words[2]!, words[3]!), i)
    }
  }

  get memoryBytes(): number {
    return this.pools.reduce((sum, pool) => sum + (pool?.memoryBytes ?? 0), this.index.memoryBytes)
  }

  /** The number of an outside address, or -1. */
  find(a: number, b: number, c: number, d: number): number {
    if (this.families.length > fewAddresses) return this.findMany(a, b, c, d)
    const { words } = this
    for (let i = 0; i < words.length; i += 4) {
      if (words[i + 3] === d && words[i + 2] === c && words[i + 1] === b && words[i] === a) return i >>> 2
    }
    return -1
  }

  /** Pairs one more inside address with the least used outside address of a family; -1 when there is none. */
  pair(family: number): number {
    let best = -1
    for (let i = 0; i < this.families.length; i++) {
      if (this.families[i] === family && (best === -1 || this.users[i]! < this.users[best]!)) best = i
    }
    if (best !== -1) this.pairWith(best)
    return best
  }

  /** Pairs one more inside address with a certain one. */
  pairWith(outside: number): void {
    this.users[outside] = this.users[outside]! + 1
  }

  unpair(outside: number): void {
    this.users[outside] = this.users[outside]! - 1
  }

  /** The ports of an address for a protocol. */
  pool(outside: number, protocol: number): PortPool {
    const at = outside * 3 + protocol
    let pool = this.pools[at]
    if (!pool) {
      const { portRange, random, maxQuarantinedPorts } = this.config
      pool = new PortPool(portRange, this.never, random, maxQuarantinedPorts)
      this.pools[at] = pool
    }
    return pool
  }

  /** Resting ports of a protocol over all addresses. */
  resting(protocol: number, now: number): number {
    let sum = 0
    for (let at = protocol; at < this.pools.length; at += 3) sum += this.pools[at]?.resting(now) ?? 0
    return sum
  }

  private findMany(a: number, b: number, c: number, d: number): number {
    const hash = this.hash.words4(a, b, c, d)
    for (let at = this.index.find(hash); at !== -1; at = this.index.findNext(at, hash)) {
      const outside = this.index.rowAt(at)
      const { words } = this
      const i = outside * 4
      if (words[i] === a && words[i + 1] === b && words[i + 2] === c && words[i + 3] === d) return outside
    }
    return -1
  }
}
