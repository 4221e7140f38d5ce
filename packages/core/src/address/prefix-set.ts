import {
  addCover,
  type Boundaries,
  boundariesBetween,
  boundariesOfIpv4,
  boundariesOfIpv6,
  combined,
  countUpTo,
  Keep,
  rangesOf,
  sameBoundaries,
} from './boundaries.ts'
import type { Family, IpAddress } from './ip-address.ts'
import type { Prefix } from './prefix.ts'

/** Addresses from `first` to `last` of one family, as numbers. */
export interface AddressRange {
  readonly first: bigint
  readonly last: bigint
}

const nothing4: Boundaries = { words: 1, at: [] }
const nothing6: Boundaries = { words: 4, at: [] }

/**
 * A set of addresses of both families, given by prefixes: an immutable value. It keeps sorted, disjoint, non-adjacent
 * ranges, so two sets are equal exactly when their `prefixes` are. Operations cost time in the number of ranges.
 */
export class PrefixSet {
  static readonly empty: PrefixSet = new PrefixSet(nothing4, nothing6)

  private readonly v4: Boundaries
  private readonly v6: Boundaries
  #cover: readonly Prefix[] | undefined

  private constructor(v4: Boundaries, v6: Boundaries) {
    this.v4 = v4
    this.v6 = v6
  }

  /** The addresses of any prefixes: duplicates, overlaps and neighbours melt together. */
  static of(prefixes: Iterable<Prefix>): PrefixSet {
    const v4: Prefix[] = []
    const v6: Prefix[] = []
    for (const prefix of prefixes) (prefix.family === 4 ? v4 : v6).push(prefix)
    return new PrefixSet(
      v4.length === 0 ? nothing4 : boundariesOfIpv4(v4),
      v6.length === 0 ? nothing6 : boundariesOfIpv6(v6),
    )
  }

  /** The addresses from `first` to `last`. @throws RangeError when they are of two families or in the wrong order */
  static ofRange(first: IpAddress, last: IpAddress): PrefixSet {
    if (first.family !== last.family || first.compare(last) > 0) {
      throw new RangeError('first and last must be of one family and in order')
    }
    const range = boundariesBetween(first, last)
    return first.family === 4 ? new PrefixSet(range, nothing6) : new PrefixSet(nothing4, range)
  }

  /** The fewest prefixes that make up the set, sorted, IPv4 first. */
  get prefixes(): readonly Prefix[] {
    if (this.#cover === undefined) {
      const cover: Prefix[] = []
      addCover(this.v4, cover)
      addCover(this.v6, cover)
      this.#cover = cover
    }
    return this.#cover
  }

  get isEmpty(): boolean {
    return this.v4.at.length === 0 && this.v6.at.length === 0
  }

  has(address: IpAddress): boolean {
    return countUpTo(this.boundaries(address.family), address) % 2 === 1
  }

  /** Whether every address of a prefix is in the set. */
  covers(prefix: Prefix): boolean {
    const known = this.boundaries(prefix.family)
    const before = countUpTo(known, prefix.address)
    return before % 2 === 1 && countUpTo(known, prefix.last) === before
  }

  /** Whether some address of a prefix is in the set. */
  overlaps(prefix: Prefix): boolean {
    const known = this.boundaries(prefix.family)
    const before = countUpTo(known, prefix.address)
    return before % 2 === 1 || countUpTo(known, prefix.last) > before
  }

  union(other: PrefixSet): PrefixSet {
    return this.combinedWith(other, Keep.union)
  }

  subtract(other: PrefixSet): PrefixSet {
    return this.combinedWith(other, Keep.difference)
  }

  intersect(other: PrefixSet): PrefixSet {
    return this.combinedWith(other, Keep.intersection)
  }

  equals(other: PrefixSet): boolean {
    return sameBoundaries(this.v4, other.v4) && sameBoundaries(this.v6, other.v6)
  }

  toString(): string {
    return this.prefixes.map(prefix => prefix.toString()).join(', ')
  }

  /** The ranges of one family: sorted, disjoint, not adjacent. */
  ranges(family: Family): readonly AddressRange[] {
    return rangesOf(this.boundaries(family)).map(([first, last]) => ({
      first: first.toNumber(),
      last: last.toNumber(),
    }))
  }

  private combinedWith(other: PrefixSet, keep: number): PrefixSet {
    return new PrefixSet(combined(this.v4, other.v4, keep), combined(this.v6, other.v6, keep))
  }

  private boundaries(family: Family): Boundaries {
    return family === 4 ? this.v4 : this.v6
  }
}
