// Sets of addresses of one family as the places where they begin and end, and the algebra on them.
//
// Operations are one walk along two such lists; nothing is sorted again and no range is an object.

import { IpAddress } from './ip-address.ts'
import { Prefix } from './prefix.ts'

/**
 * The set begins at the first boundary, ends before the second, begins again at the third and so on; with an odd number
 * of them it goes on to the end of the address space. Each is one word (IPv4) or four (IPv6, most significant first) of
 * 32 bits in `at`, unsigned. They strictly ascend, so that a set has one form.
 */
export interface Boundaries {
  readonly words: 1 | 4
  readonly at: readonly number[]
}

/** What a combination keeps of two sets: bit 1 for what is in the first only, bit 2 in the second only, bit 3 in both. */
export const Keep = { union: 0b1110, difference: 0b0010, intersection: 0b1000 } as const

export function combined(a: Boundaries, b: Boundaries, keep: number): Boundaries {
  const words = a.words
  const at: number[] = []
  let i = 0
  let j = 0
  // Bit 0: inside the first set, bit 1: inside the second.
  let inside = 0
  let kept = 0
  while (i < a.at.length || j < b.at.length) {
    const order = i === a.at.length ? 1 : j === b.at.length ? -1 : compareWords(a.at, i, b.at, j, words)
    if (order <= 0) inside ^= 1
    if (order >= 0) inside ^= 2
    const keeps = (keep >>> inside) & 1
    if (keeps !== kept) {
      kept = keeps
      if (order <= 0) pushWords(at, a.at, i, words)
      else pushWords(at, b.at, j, words)
    }
    if (order <= 0) i += words
    if (order >= 0) j += words
  }
  return { words, at }
}

/** The addresses of any prefixes of the family. */
export function boundariesOf(prefixes: Prefix[], words: 1 | 4): Boundaries {
  const at: number[] = []
  let around: Prefix | undefined
  // Prefixes are disjoint or one holds the other; here the larger comes first.
  for (const prefix of prefixes.sort((a, b) => a.compare(b))) {
    if (around?.covers(prefix)) continue
    around = prefix
    toggle(at, prefix.address, words)
    const behind = next(prefix.last)
    if (behind) toggle(at, behind, words)
  }
  return { words, at }
}

/** The addresses from `first` to `last`. */
export function boundariesBetween(first: IpAddress, last: IpAddress): Boundaries {
  const words = first.family === 4 ? 1 : 4
  const at: number[] = []
  pushAddress(at, first, words)
  const behind = next(last)
  if (behind) pushAddress(at, behind, words)
  return { words, at }
}

/** How many boundaries there are up to an address: it is in the set when they are odd. */
export function countUpTo({ at, words }: Boundaries, address: IpAddress): number {
  let low = 0
  let high = at.length / words
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareToAddress(at, middle * words, address) <= 0) low = middle + 1
    else high = middle
  }
  return low
}

export function sameBoundaries(a: Boundaries, b: Boundaries): boolean {
  return a.at.length === b.at.length && a.at.every((word, i) => word === b.at[i])
}

/** Calls for every range with its first and its last address, in order. */
export function forEachRange({ at, words }: Boundaries, visit: (first: IpAddress, last: IpAddress) => void): void {
  for (let i = 0; i < at.length; i += 2 * words) {
    const end = i + words
    const last =
      end === at.length
        ? addressOf([-1, -1, -1, -1], 0, words)
        : previous(addressOf(at, end, words))
    visit(addressOf(at, i, words), last)
  }
}
