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

/** How many addresses there are with so many host bits: powers are slow. */
const blockSizes = Float64Array.from({ length: 33 }, (_, hostBits) => 2 ** hostBits)
const ipv4End = 2 ** 32

export function combined(a: Boundaries, b: Boundaries, keep: number): Boundaries {
  const words = a.words
  if (a.at.length + b.at.length === 0) return a
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
      for (let word = 0; word < words; word++) at.push(order <= 0 ? a.at[i + word]! : b.at[j + word]!)
    }
    if (order <= 0) i += words
    if (order >= 0) j += words
  }
  return { words, at }
}

/** The addresses of any IPv4 prefixes. */
export function boundariesOfIpv4(prefixes: readonly Prefix[]): Boundaries {
  // One number for a prefix, the larger block first: typed arrays of numbers sort without a call for each comparison.
  const keys = new Float64Array(prefixes.length)
  for (let i = 0; i < keys.length; i++) {
    const { address, length } = prefixes[i]!
    keys[i] = (address.word0 >>> 0) * 64 + length
  }
  keys.sort()
  const at: number[] = []
  let end = -1
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i]!
    const first = Math.floor(key / 64)
    // Prefixes are disjoint, or one holds the other.
    if (first < end) continue
    if (first > end) {
      if (end !== -1) at.push(end)
      at.push(first)
    }
    end = first + blockSizes[32 - (key - first * 64)]!
  }
  if (end !== -1 && end !== ipv4End) at.push(end)
  return { words: 1, at }
}

/** The addresses of any IPv6 prefixes. */
export function boundariesOfIpv6(prefixes: Prefix[]): Boundaries {
  const at: number[] = []
  let around: Prefix | undefined
  for (const prefix of prefixes.sort((a, b) => a.compare(b))) {
    if (around?.covers(prefix)) continue
    around = prefix
    toggle(at, prefix.address)
    const behind = next(prefix.last)
    if (behind) toggle(at, behind)
  }
  return { words: 4, at }
}

/** The addresses from `first` to `last`. */
export function boundariesBetween(first: IpAddress, last: IpAddress): Boundaries {
  const words = first.family === 4 ? 1 : 4
  const at: number[] = []
  pushAddress(at, first)
  const behind = next(last)
  if (behind) pushAddress(at, behind)
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

/** The ranges, each as its first address and its last. */
export function rangesOf({ at, words }: Boundaries): [first: IpAddress, last: IpAddress][] {
  const ranges: [IpAddress, IpAddress][] = []
  for (let i = 0; i < at.length; i += 2 * words)
    ranges.push([addressAt(at, i, words), lastBefore(at, i + words, words)])
  return ranges
}

/** Adds the fewest prefixes that make up the set: from the start of each range always the largest aligned block that fits. */
export function addCover({ at, words }: Boundaries, cover: Prefix[]): void {
  for (let i = 0; i < at.length; i += 2 * words) {
    if (words === 1) coverIpv4(at[i]!, at[i + 1] ?? ipv4End, cover)
    else coverIpv6(addressAt(at, i, words), lastBefore(at, i + words, words), cover)
  }
}

/** `end` is the address behind the last. */
function coverIpv4(first: number, end: number, cover: Prefix[]): void {
  while (first < end) {
    const aligned = first === 0 ? 32 : trailingZeros(first)
    const fitting = end - first === ipv4End ? 32 : 31 - Math.clz32(end - first)
    const hostBits = Math.min(aligned, fitting)
    cover.push(Prefix.of(IpAddress.ofIpv4Number(first), 32 - hostBits))
    first += blockSizes[hostBits]!
  }
}

function coverIpv6(from: IpAddress, last: IpAddress, cover: Prefix[]): void {
  // A block that begins at `first` ends by `last` when it lies below the first bit where both differ; one bit more
  // only when `last` has nothing but ones from there on.
  const ones = trailingZerosOf(~last.word0, ~last.word1, ~last.word2, ~last.word3)
  for (let first: IpAddress | undefined = from; first !== undefined && first.compare(last) <= 0; ) {
    const differing = 128 - commonBits(first, last)
    const fitting = ones >= differing ? differing : differing - 1
    const aligned = trailingZerosOf(first.word0, first.word1, first.word2, first.word3)
    const prefix: Prefix = Prefix.of(first, 128 - Math.min(aligned, fitting))
    cover.push(prefix)
    first = next(prefix.last)
  }
}

function trailingZeros(word: number): number {
  return word === 0 ? 32 : 31 - Math.clz32(word & -word)
}

function trailingZerosOf(word0: number, word1: number, word2: number, word3: number): number {
  if (word3 !== 0) return trailingZeros(word3)
  if (word2 !== 0) return 32 + trailingZeros(word2)
  return word1 === 0 ? 96 + trailingZeros(word0) : 64 + trailingZeros(word1)
}

/** How many bits two IPv6 addresses have in common at the start. */
function commonBits(a: IpAddress, b: IpAddress): number {
  if (a.word0 !== b.word0) return Math.clz32(a.word0 ^ b.word0)
  if (a.word1 !== b.word1) return 32 + Math.clz32(a.word1 ^ b.word1)
  return a.word2 === b.word2 ? 96 + Math.clz32(a.word3 ^ b.word3) : 64 + Math.clz32(a.word2 ^ b.word2)
}

/** The address behind another; `undefined` at the end of the address space. */
function next(address: IpAddress): IpAddress | undefined {
  const { word0, word1, word2, word3 } = address
  if (address.family === 4) return word0 === -1 ? undefined : IpAddress.ofIpv4Number(word0 + 1)
  if (word3 !== -1) return IpAddress.ofIpv6Words(word0, word1, word2, word3 + 1)
  if (word2 !== -1) return IpAddress.ofIpv6Words(word0, word1, word2 + 1, 0)
  if (word1 !== -1) return IpAddress.ofIpv6Words(word0, word1 + 1, 0, 0)
  return word0 === -1 ? undefined : IpAddress.ofIpv6Words(word0 + 1, 0, 0, 0)
}

/** The address before a boundary; where there is none, the last of the address space. */
function lastBefore(at: readonly number[], i: number, words: 1 | 4): IpAddress {
  if (words === 1) return IpAddress.ofIpv4Number((at[i] ?? 0) - 1)
  if (i === at.length) return IpAddress.ofIpv6Words(-1, -1, -1, -1)
  const [word0, word1, word2, word3] = [at[i]!, at[i + 1]!, at[i + 2]!, at[i + 3]!]
  if (word3 !== 0) return IpAddress.ofIpv6Words(word0, word1, word2, word3 - 1)
  if (word2 !== 0) return IpAddress.ofIpv6Words(word0, word1, word2 - 1, -1)
  return word1 === 0 ? IpAddress.ofIpv6Words(word0 - 1, -1, -1, -1) : IpAddress.ofIpv6Words(word0, word1 - 1, -1, -1)
}

function addressAt(at: readonly number[], i: number, words: 1 | 4): IpAddress {
  return words === 1
    ? IpAddress.ofIpv4Number(at[i]!)
    : IpAddress.ofIpv6Words(at[i]!, at[i + 1]!, at[i + 2]!, at[i + 3]!)
}

/** Adds a boundary behind the others, or takes the last one away where it is the same: what met there melts together. */
function toggle(at: number[], address: IpAddress): void {
  const last = at.length - 4
  if (last >= 0 && compareToAddress(at, last, address) === 0) at.length = last
  else pushAddress(at, address)
}

function pushAddress(at: number[], address: IpAddress): void {
  at.push(address.word0 >>> 0)
  if (address.family === 6) at.push(address.word1 >>> 0, address.word2 >>> 0, address.word3 >>> 0)
}

function compareToAddress(at: readonly number[], i: number, address: IpAddress): number {
  const order = at[i]! - (address.word0 >>> 0)
  if (order !== 0 || address.family === 4) return order
  return at[i + 1]! - (address.word1 >>> 0) || at[i + 2]! - (address.word2 >>> 0) || at[i + 3]! - (address.word3 >>> 0)
}

function compareWords(a: readonly number[], i: number, b: readonly number[], j: number, words: 1 | 4): number {
  for (let word = 0; word < words; word++) {
    const order = a[i + word]! - b[j + word]!
    if (order !== 0) return order
  }
  return 0
}
