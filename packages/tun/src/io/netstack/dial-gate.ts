/** How many connects may be under way at once. */
export interface DialLimits {
  /** From one inside address to one destination address. */
  readonly maxDialsPerSourceAndDestination: number
  /** From all inside addresses to one destination address. */
  readonly maxDialsPerDestination: number
}

/**
 * Counts connects under way, so that hosts which never answer fill only their own places: not those of other destinations,
 * and not those of other clients. What one client may have under way altogether is the stack's limit.
 */
export class DialGate {
  private readonly limits: DialLimits
  private readonly byDestination: Map<string, number> = new Map()
  private readonly byPair: Map<string, number> = new Map()

  constructor(limits: DialLimits) {
    this.limits = limits
  }

  /** Takes a place; false when there is none. */
  enter(source: string, destination: string): boolean {
    const pair = `${source} ${destination}`
    const pairs = this.byPair.get(pair) ?? 0
    const all = this.byDestination.get(destination) ?? 0
    if (pairs >= this.limits.maxDialsPerSourceAndDestination || all >= this.limits.maxDialsPerDestination) return false
    this.byPair.set(pair, pairs + 1)
    this.byDestination.set(destination, all + 1)
    return true
  }

  /** Gives the place back. */
  leave(source: string, destination: string): void {
    decrement(this.byPair, `${source} ${destination}`)
    decrement(this.byDestination, destination)
  }
}

function decrement(counts: Map<string, number>, key: string): void {
  const count = counts.get(key) ?? 0
  if (count > 1) counts.set(key, count - 1)
  else counts.delete(key)
}
