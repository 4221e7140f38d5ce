import type { PatOutput } from './events.ts'

/** Outputs that wait for `poll()`. Bounded, because the network causes them. */
export class Outputs {
  discarded = 0
  private items: PatOutput[] = []
  private head = 0
  private readonly limit: number

  constructor(limit: number) {
    this.limit = limit
  }

  push(output: PatOutput): void {
    if (this.items.length - this.head >= this.limit) this.discarded++
    else this.items.push(output)
  }

  take(): PatOutput | undefined {
    if (this.head === this.items.length) return undefined
    const output = this.items[this.head++]
    if (this.head === this.items.length) {
      this.items = []
      this.head = 0
    }
    return output
  }
}
