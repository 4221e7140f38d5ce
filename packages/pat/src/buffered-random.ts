import type { Random } from './options.ts'

/** Takes numbers from a generator in bulk: a call into the operating system's costs microseconds. 1 KiB. */
export class BufferedRandom implements Random {
  private readonly source: Random
  private readonly bytes: Uint8Array = new Uint8Array(1024)
  private readonly numbers: Uint32Array = new Uint32Array(this.bytes.buffer)
  private left = 0

  constructor(source: Random) {
    this.source = source
  }

  fill(bytes: Uint8Array): Uint8Array {
    return this.source.fill(bytes)
  }

  uint32(): number {
    if (this.left === 0) {
      this.source.fill(this.bytes)
      this.left = this.numbers.length
    }
    const value = this.numbers[--this.left]!
    // Nobody who reads memory later learns which ports were given out.
    this.numbers[this.left] = 0
    return value
  }
}
