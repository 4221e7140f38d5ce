/** Named counters over one `Float64Array`: cheap to bump, pulled by whoever wants to know. */
export class Counters<Name extends string> {
  readonly names: readonly Name[]
  readonly values: Float64Array
  private readonly index: ReadonlyMap<Name, number>

  constructor(names: readonly Name[]) {
    this.names = names
    this.values = new Float64Array(names.length)
    this.index = new Map(names.map((name, i) => [name, i]))
  }

  /** Adds `by` (1 by default) to a counter. */
  add(name: Name, by = 1): void {
    const i = this.index.get(name)!
    this.values[i] = this.values[i]! + by
  }

  /** The value of one counter. */
  get(name: Name): number {
    return this.values[this.index.get(name)!]!
  }

  /** All counters as a plain object. */
  snapshot(): Record<Name, number> {
    return Object.fromEntries(this.names.map((name, i) => [name, this.values[i]])) as Record<Name, number>
  }
}
