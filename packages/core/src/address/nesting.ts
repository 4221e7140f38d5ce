import type { Prefix } from './prefix.ts'

/**
 * What lies around prefixes that come in sorted order. Those that were entered and aren't over yet are nested in each
 * other, so that the innermost is always the last.
 */
export class Nesting<Item extends { readonly prefix: Prefix }> {
  private readonly open: Item[] = []

  /** The item with the longest prefix that covers this one, of those entered. */
  around(prefix: Prefix): Item | undefined {
    let innermost = this.open.at(-1)
    while (innermost !== undefined && !innermost.prefix.covers(prefix)) {
      this.open.pop()
      innermost = this.open.at(-1)
    }
    return innermost
  }

  /** Enters an item whose prefix `around` was just asked for. */
  enter(item: Item): void {
    this.open.push(item)
  }
}
