import type { NetStackRandom } from '../options.ts'

/** A hash of 32-bit words with secret odd factors: nobody outside can choose keys that collide. Results are signed 32-bit integers. */
export class KeyedHash {
  private readonly seed: number
  private readonly factors: Int32Array

  constructor(random: NetStackRandom) {
    this.seed = random.uint32() | 0
    this.factors = Int32Array.from({ length: 16 }, () => random.uint32() | 1)
  }

  /** The hash of up to 16 words from `at`. */
  words(words: Int32Array, at: number, count: number): number {
    let hash = this.seed
    for (let i = 0; i < count; i++) {
      hash = Math.imul(hash ^ words[at + i]!, this.factors[i]!)
      hash ^= hash >>> 15
    }
    hash = Math.imul(hash, 0x2c1b3c6d)
    return hash ^ (hash >>> 13)
  }
}
