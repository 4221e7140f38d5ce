// Compiles prefixes into disjoint ranges, for both families alike: an address is one 32-bit word (IPv4) or four (IPv6),
// most significant first, kept in columns.
//
// The prefixes are sorted by start, then by length. A sweep keeps the stack of prefixes around the current position; where
// one begins or ends, a new range begins with the value of the innermost that is left.

import type { IpAddress } from './ip-address.ts'

/** Ranges: the i-th begins at `starts[...][i]`, ends before the next one, and has `values[i]` (-1: no prefix). */
export interface RangeColumns {
  readonly starts: readonly Uint32Array[]
  readonly values: Int32Array
  /** How many different prefixes there were. */
  readonly prefixes: number
}

// Arrays of up to 64 bytes need no memory of their own.
const firstCapacity = 16

/** Growing columns of prefixes, as they come. */
export class RouteColumns {
  readonly words: number
  starts: Uint32Array[]
  lengths: Uint8Array = new Uint8Array(firstCapacity)
  values: Int32Array = new Int32Array(firstCapacity)
  count = 0

  constructor(words: number) {
    this.words = words
    this.starts = Array.from({ length: words }, () => new Uint32Array(firstCapacity))
  }

  add(address: IpAddress, length: number, value: number): void {
    if (this.count === this.lengths.length) this.grow()
    const row = this.count++
    this.starts[0]![row] = address.word0
    if (this.words === 4) {
      this.starts[1]![row] = address.word1
      this.starts[2]![row] = address.word2
      this.starts[3]![row] = address.word3
    }
    this.lengths[row] = length
    this.values[row] = value
  }

  private grow(): void {
    const capacity = this.count * 2
    this.starts = this.starts.map(column => copyInto(new Uint32Array(capacity), column))
    this.lengths = copyInto(new Uint8Array(capacity), this.lengths)
    this.values = copyInto(new Int32Array(capacity), this.values)
  }
}

export function compileRanges(routes: RouteColumns): RangeColumns {
  const order = sortedRows(routes)
  const ranges = new RangeWriter(routes.words, routes.count * 2 + 1)
  const around = new PrefixStack(routes.words)
  const start = new Uint32Array(routes.words)
  ranges.begin(start, -1)
  let prefixes = 0
  let previous = -1
  for (const row of order) {
    for (let word = 0; word < routes.words; word++) start[word] = routes.starts[word]![row]!
    const length = routes.lengths[row]!
    if (previous === -1 || !samePrefix(routes, previous, row)) prefixes++
    previous = row
    while (around.depth > 0 && around.endsBefore(start)) around.leave(ranges)
    around.enter(start, length, routes.values[row]!)
    ranges.begin(start, routes.values[row]!)
  }
  while (around.depth > 0) around.leave(ranges)
  return { ...ranges.finish(), prefixes }
}

/** The prefixes around the current position, from the outermost to the innermost. */
class PrefixStack {
  depth = 0
  private readonly words: number
  // Nested prefixes differ in length, except for equal ones, of which only the last is kept.
  private readonly lasts: number[] = []
  private readonly lengths: number[] = []
  private readonly values: number[] = []
  private readonly behind: Uint32Array

  constructor(words: number) {
    this.words = words
    this.behind = new Uint32Array(words)
  }

  enter(start: Uint32Array, length: number, value: number): void {
    if (this.depth > 0 && this.lengths[this.depth - 1] === length) this.depth--
    for (let word = 0; word < this.words; word++) {
      const bits = length - word * 32
      const hostMask = bits <= 0 ? 0xffff_ffff : bits >= 32 ? 0 : 0xffff_ffff >>> bits
      this.lasts[this.depth * this.words + word] = (start[word]! | hostMask) >>> 0
    }
    this.lengths[this.depth] = length
    this.values[this.depth] = value
    this.depth++
  }

  endsBefore(start: Uint32Array): boolean {
    const at = (this.depth - 1) * this.words
    for (let word = 0; word < this.words; word++) {
      const order = this.lasts[at + word]! - start[word]!
      if (order !== 0) return order < 0
    }
    return false
  }

  /** Leaves the innermost prefix: what lies behind it belongs to the one around it. */
  leave(ranges: RangeWriter): void {
    const at = --this.depth * this.words
    const value = this.depth === 0 ? -1 : this.values[this.depth - 1]!
    let carry = 1
    for (let word = this.words - 1; word >= 0; word--) {
      const sum = this.lasts[at + word]! + carry
      this.behind[word] = sum
      carry = sum > 0xffff_ffff ? 1 : 0
    }
    // With a carry left, the prefix ended with the address space.
    if (carry === 0) ranges.begin(this.behind, value)
  }
}

class RangeWriter {
  private readonly starts: Uint32Array[]
  private readonly values: Int32Array
  private count = 0

  constructor(words: number, capacity: number) {
    this.starts = Array.from({ length: words }, () => new Uint32Array(capacity))
    this.values = new Int32Array(capacity)
  }

  /** Begins a range. One that begins at the same place is replaced, one with the same value goes on. */
  begin(start: Uint32Array, value: number): void {
    if (this.count > 0 && this.beginsAt(this.count - 1, start)) this.count--
    if (this.count > 0 && this.values[this.count - 1] === value) return
    for (let word = 0; word < start.length; word++) this.starts[word]![this.count] = start[word]!
    this.values[this.count] = value
    this.count++
  }

  finish(): { starts: Uint32Array[]; values: Int32Array } {
    return {
      starts: this.starts.map(column => column.slice(0, this.count)),
      values: this.values.slice(0, this.count),
    }
  }

  private beginsAt(range: number, start: Uint32Array): boolean {
    for (let word = 0; word < start.length; word++) if (this.starts[word]![range] !== start[word]) return false
    return true
  }
}

// Below, comparing rows costs less than counting 65536 digits.
const radixSortFrom = 5000
const maxRows = 8192

/** The rows by start, then by length, then as they came. */
function sortedRows(routes: RouteColumns): Uint32Array {
  if (routes.count < radixSortFrom && routes.words === 1) return sortedAsNumbers(routes)
  let order = new Uint32Array(routes.count)
  for (let row = 0; row < order.length; row++) order[row] = row
  if (routes.count < radixSortFrom) return order.sort((a, b) => compareRows(routes, a, b))
  // A radix sort, least significant digit first; stable, as `sort` is.
  order = sortedByDigit(order, routes.lengths, 0)
  for (let word = routes.words - 1; word >= 0; word--) {
    order = sortedByDigit(order, routes.starts[word]!, 0)
    order = sortedByDigit(order, routes.starts[word]!, 16)
  }
  return order
}

/** For IPv4, start, length and row fit into the 53 bits of a number, and numbers sort without a call for each pair. */
function sortedAsNumbers(routes: RouteColumns): Uint32Array {
  const starts = routes.starts[0]!
  const keys = new Float64Array(routes.count)
  for (let row = 0; row < keys.length; row++) keys[row] = (starts[row]! * 64 + routes.lengths[row]!) * maxRows + row
  keys.sort()
  const order = new Uint32Array(keys.length)
  for (let i = 0; i < order.length; i++) order[i] = keys[i]! - Math.floor(keys[i]! / maxRows) * maxRows
  return order
}

function sortedByDigit(
  order: Uint32Array<ArrayBuffer>,
  column: Uint32Array | Uint8Array,
  shift: number,
): Uint32Array<ArrayBuffer> {
  const places = new Uint32Array(0x1_0001)
  for (const row of order) places[((column[row]! >>> shift) & 0xffff) + 1]!++
  for (let digit = 0; digit < 0x1_0000; digit++) places[digit + 1]! += places[digit]!
  const result = new Uint32Array(order.length)
  for (const row of order) result[places[(column[row]! >>> shift) & 0xffff]!++] = row
  return result
}

function compareRows({ starts, lengths }: RouteColumns, a: number, b: number): number {
  for (let word = 0; word < starts.length; word++) {
    const order = starts[word]![a]! - starts[word]![b]!
    if (order !== 0) return order
  }
  return lengths[a]! - lengths[b]!
}

function samePrefix(routes: RouteColumns, a: number, b: number): boolean {
  return compareRows(routes, a, b) === 0
}

function copyInto<Column extends Uint32Array | Uint8Array | Int32Array>(into: Column, from: Column): Column {
  into.set(from)
  return into
}
