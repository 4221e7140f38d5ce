/** Where randomness comes from. The real one is `systemRandom` in `core/io`, backed by the operating system's generator. */
export interface Random {
  /** Fills `bytes` with random bytes and returns it. */
  fill(bytes: Uint8Array): Uint8Array
  /** A uniform integer from 0 to 2^32 - 1. */
  uint32(): number
}

/** A uniform integer from 0 to `bound` - 1, without modulo bias. `bound` is from 1 to 2^32. */
export function randomBelow(random: Random, bound: number): number {
  const limit = 0x1_0000_0000 - (0x1_0000_0000 % bound)
  for (;;) {
    const value = random.uint32()
    if (value < limit) return value % bound
  }
}

/**
 * A reproducible generator for tests and simulations: xoshiro128** seeded through splitmix32. Never use it for keys,
 * ports or cookies.
 */
export function seededRandom(seed: number): Random {
  let mix = seed >>> 0
  const next = () => {
    mix = (mix + 0x9e3779b9) >>> 0
    let z = mix
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad)
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
    return (z ^ (z >>> 15)) >>> 0
  }
  let a = next()
  let b = next()
  let c = next()
  let d = next()
  const rotate = (value: number, by: number) => ((value << by) | (value >>> (32 - by))) >>> 0
  const uint32 = () => {
    const result = Math.imul(rotate(Math.imul(b, 5) >>> 0, 7), 9) >>> 0
    const t = (b << 9) >>> 0
    c = (c ^ a) >>> 0
    d = (d ^ b) >>> 0
    b = (b ^ c) >>> 0
    a = (a ^ d) >>> 0
    c = (c ^ t) >>> 0
    d = rotate(d, 11)
    return result
  }
  return {
    uint32,
    fill(bytes) {
      for (let i = 0; i < bytes.length; i++) bytes[i] = uint32() >>> 24
      return bytes
    },
  }
}
