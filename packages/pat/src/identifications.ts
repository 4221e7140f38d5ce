import type { KeyedHash } from '@twinbore/core/packet'
import type { Random } from './options.ts'

const buckets = 4096

/**
 * Identifications of fragmentable packets. Many clients become one source, so their own would collide (RFC 6864 §5.3.1).
 * One counter for the flows of one hash bucket, from a random start: the same (source, destination, protocol) never
 * repeats one before all others were used. 16 KiB.
 */
export class Identifications {
  private readonly counters: Int32Array
  private readonly hash: KeyedHash

  constructor(random: Random, hash: KeyedHash) {
    this.hash = hash
    this.counters = Int32Array.from({ length: buckets }, () => random.uint32())
  }

  /**
   * The next one, 32 bits for IPv6 (RFC 7739); the lower 16 bits are for IPv4. With `count` the next so many are taken:
   * the packets of a super-packet count on from the first.
   */
  next(outside: number, ipProtocol: number, b: number, c: number, d: number, count = 1): number {
    const bucket = this.hash.words4((outside << 8) | ipProtocol, b, c, d) & (buckets - 1)
    const value = this.counters[bucket]!
    this.counters[bucket] = value + count
    return value
  }
}
