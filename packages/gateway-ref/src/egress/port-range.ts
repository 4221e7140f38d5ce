import type { PortRange } from './nft-rules.ts'

/** The longest run of ports of `range` without a used one; `undefined` if every port is used. */
export function largestFreeRange(range: PortRange, used: Iterable<number>): PortRange | undefined {
  const inside = [...new Set(used)].filter(port => port >= range.first && port <= range.last).sort((a, b) => a - b)
  let best: PortRange | undefined
  let first = range.first
  for (const port of [...inside, range.last + 1]) {
    if (port > first && (!best || port - first > best.last - best.first + 1)) best = { first, last: port - 1 }
    first = port + 1
  }
  return best
}

/**
 * Where the host may take the ports of its own connections from, when `taken` is the gateway's: the current range if
 * enough of it is left, else the larger side of `taken`.
 */
export function hostPortRange(current: PortRange, taken: PortRange): PortRange {
  const overlap = Math.min(current.last, taken.last) - Math.max(current.first, taken.first) + 1
  if (current.last - current.first + 1 - Math.max(0, overlap) >= ENOUGH) return current
  const above = { first: taken.last + 1, last: 65_535 }
  const below = { first: 10_240, last: taken.first - 1 }
  return above.last - above.first + 1 >= ENOUGH || above.last - above.first > below.last - below.first ? above : below
}

/** Ports that a host needs for itself; a connection uses one per destination, so these go a long way. */
const ENOUGH = 4096

/** Adds a range to the text of `ip_local_reserved_ports`. */
export function withReserved(text: string, range: PortRange): string {
  const own = `${range.first}-${range.last}`
  return text.trim() === '' ? own : `${text.trim()},${own}`
}
