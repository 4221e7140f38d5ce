import { type Family, IpAddress } from './ip-address.ts'
import { Prefix } from './prefix.ts'

/** Addresses from `first` to `last` of one family, as numbers. */
export interface AddressRange {
  readonly first: bigint
  readonly last: bigint
}

/**
 * A set of addresses of both families, given by prefixes: an immutable value. It keeps sorted, disjoint, non-adjacent
 * ranges, so two sets are equal exactly when their `prefixes` are. Operations cost time in the number of ranges.
 */
export class PrefixSet {
  static readonly empty: PrefixSet = new PrefixSet([], [])

  private readonly v4: readonly AddressRange[]
  private readonly v6: readonly AddressRange[]
  #cover: readonly Prefix[] | undefined

  private constructor(v4: readonly AddressRange[], v6: readonly AddressRange[]) {
    this.v4 = v4
    this.v6 = v6
  }

  /** The addresses of any prefixes: duplicates, overlaps and neighbours melt together. */
  static of(prefixes: Iterable<Prefix>): PrefixSet {
    const v4: AddressRange[] = []
    const v6: AddressRange[] = []
    for (const prefix of prefixes) (prefix.family === 4 ? v4 : v6).push(rangeOf(prefix))
    return new PrefixSet(normalized(v4), normalized(v6))
  }

  /** The addresses from `first` to `last`. @throws RangeError when they are of two families or in the wrong order */
  static ofRange(first: IpAddress, last: IpAddress): PrefixSet {
    if (first.family !== last.family || first.compare(last) > 0) {
      throw new RangeError('first and last must be of one family and in order')
    }
    const range = [{ first: first.toNumber(), last: last.toNumber() }]
    return first.family === 4 ? new PrefixSet(range, []) : new PrefixSet([], range)
  }

  /** The fewest prefixes that make up the set, sorted, IPv4 first. */
  get prefixes(): readonly Prefix[] {
    this.#cover ??= [...this.v4.flatMap(range => coverOf(range, 4)), ...this.v6.flatMap(range => coverOf(range, 6))]
    return this.#cover
  }

  get isEmpty(): boolean {
    return this.v4.length === 0 && this.v6.length === 0
  }

  has(address: IpAddress): boolean {
    const number = address.toNumber()
    const range = lastStartingBy(number, this.ranges(address.family))
    return range !== undefined && range.last >= number
  }

  /** Whether every address of a prefix is in the set. */
  covers(prefix: Prefix): boolean {
    const { first, last } = rangeOf(prefix)
    const range = lastStartingBy(first, this.ranges(prefix.family))
    return range !== undefined && range.last >= last
  }

  /** Whether some address of a prefix is in the set. */
  overlaps(prefix: Prefix): boolean {
    const { first, last } = rangeOf(prefix)
    const range = lastStartingBy(last, this.ranges(prefix.family))
    return range !== undefined && range.last >= first
  }

  union(other: PrefixSet): PrefixSet {
    return new PrefixSet(normalized([...this.v4, ...other.v4]), normalized([...this.v6, ...other.v6]))
  }

  subtract(other: PrefixSet): PrefixSet {
    return new PrefixSet(subtracted(this.v4, other.v4), subtracted(this.v6, other.v6))
  }

  intersect(other: PrefixSet): PrefixSet {
    return new PrefixSet(intersected(this.v4, other.v4), intersected(this.v6, other.v6))
  }

  equals(other: PrefixSet): boolean {
    return sameRanges(this.v4, other.v4) && sameRanges(this.v6, other.v6)
  }

  toString(): string {
    return this.prefixes.join(', ')
  }

  /** The ranges of one family: sorted, disjoint, not adjacent. */
  ranges(family: Family): readonly AddressRange[] {
    return family === 4 ? this.v4 : this.v6
  }
}

/** Binary search for the last range that begins no later than `number`. */
function lastStartingBy(number: bigint, ranges: readonly AddressRange[]): AddressRange | undefined {
  let low = 0
  let high = ranges.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (ranges[middle]!.first <= number) low = middle + 1
    else high = middle
  }
  return ranges[low - 1]
}

function rangeOf(prefix: Prefix): AddressRange {
  const first = prefix.address.toNumber()
  const hostBits = BigInt((prefix.family === 4 ? 32 : 128) - prefix.length)
  return { first, last: first | ((1n << hostBits) - 1n) }
}

/** Sorted, with overlapping and adjacent ranges merged. */
function normalized(ranges: readonly AddressRange[]): AddressRange[] {
  const sorted = ranges.toSorted((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0))
  const result: AddressRange[] = []
  for (const range of sorted) {
    const previous = result.at(-1)
    if (previous === undefined || range.first > previous.last + 1n) result.push(range)
    else if (range.last > previous.last) result[result.length - 1] = { first: previous.first, last: range.last }
  }
  return result
}

/** What of `from` is in no range of `what`. Both are normalized. */
function subtracted(from: readonly AddressRange[], what: readonly AddressRange[]): AddressRange[] {
  const result: AddressRange[] = []
  let next = 0
  for (const range of from) {
    let first = range.first
    while (next < what.length && what[next]!.last < first) next++
    for (let i = next; i < what.length && what[i]!.first <= range.last; i++) {
      if (what[i]!.first > first) result.push({ first, last: what[i]!.first - 1n })
      first = what[i]!.last + 1n
    }
    if (first <= range.last) result.push({ first, last: range.last })
  }
  return result
}

function intersected(a: readonly AddressRange[], b: readonly AddressRange[]): AddressRange[] {
  const result: AddressRange[] = []
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    const [early, late] = a[i]!.first < b[j]!.first ? [a[i]!, b[j]!] : [b[j]!, a[i]!]
    if (late.first <= early.last) result.push({ first: late.first, last: smaller(early.last, late.last) })
    if (a[i]!.last < b[j]!.last) i++
    else j++
  }
  return result
}

function smaller(a: bigint, b: bigint): bigint {
  if (a < b) return a
  return b
}

function sameRanges(a: readonly AddressRange[], b: readonly AddressRange[]): boolean {
  return a.length === b.length && a.every(({ first, last }, i) => first === b[i]!.first && last === b[i]!.last)
}

/** The fewest prefixes for a range: from its start, always the largest aligned block that fits. */
function coverOf(range: AddressRange, family: Family): Prefix[] {
  const bits = family === 4 ? 32 : 128
  const result: Prefix[] = []
  for (let first = range.first; first <= range.last; ) {
    let hostBits = 0
    while (hostBits < bits) {
      const larger = (1n << BigInt(hostBits + 1)) - 1n
      if ((first & larger) !== 0n || (first | larger) > range.last) break
      hostBits++
    }
    result.push(Prefix.of(IpAddress.fromNumber(first, family), bits - hostBits))
    first += 1n << BigInt(hostBits)
  }
  return result
}
