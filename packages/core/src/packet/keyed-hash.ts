const maxWords = 16

/**
 * A hash of 32-bit words with secret odd factors, so that nobody outside can choose keys that collide. Results are signed
 * 32-bit integers.
 */
export class KeyedHash {
  private readonly seed: number
  private readonly factors: Int32Array

  constructor(random: { uint32(): number }) {
    this.seed = random.uint32() | 0
    this.factors = Int32Array.from({ length: maxWords }, () => random.uint32() | 1)
  }

  words2(a: number, b: number): number {
    const f = this.factors
    return finish(mix(mix(this.seed, a, f[0]!), b, f[1]!))
  }

  words4(a: number, b: number, c: number, d: number): number {
    const f = this.factors
    return finish(mix(mix(mix(mix(this.seed, a, f[0]!), b, f[1]!), c, f[2]!), d, f[3]!))
  }

  words6(a: number, b: number, c: number, d: number, e: number, g: number): number {
    const f = this.factors
    const first = mix(mix(mix(this.seed, a, f[0]!), b, f[1]!), c, f[2]!)
    return finish(mix(mix(mix(first, d, f[3]!), e, f[4]!), g, f[5]!))
  }

  /** The hash of up to 16 words from `at`. */
  words(words: Int32Array, at: number, count: number): number {
    let hash = this.seed
    for (let i = 0; i < count; i++) hash = mix(hash, words[at + i]!, this.factors[i]!)
    return finish(hash)
  }
}

function mix(hash: number, word: number, factor: number): number {
  const mixed = Math.imul(hash ^ word, factor)
  return mixed ^ (mixed >>> 15)
}

function finish(hash: number): number {
  const mixed = Math.imul(hash, 0x85ebca6b | 0)
  return mixed ^ (mixed >>> 13)
}
