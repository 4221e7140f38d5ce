// Compiles prefixes into disjoint ranges, for both families alike: an address is one 32-bit word (IPv4) or four (IPv6),
// most significant first, kept in columns.
//
// The prefixes are sorted by start, then by length. A sweep keeps the stack of prefixes around the current position; where
// one begins or ends, a new range begins with the value of the innermost that is left.

/** Ranges: the i-th begins at `starts[...][i]`, ends before the next one, and has `values[i]` (-1: no prefix). */
export interface RangeColumns {
  readonly starts: readonly Uint32Array[]
  readonly values: Int32Array
  /** How many different prefixes there were. */
  readonly prefixes: number
}

/** Growing columns of prefixes, as they come. */
export class RouteColumns {
  readonly words: number
  starts: Uint32Array[]
  lengths: Uint8Array = new Uint8Array(256)
  values: Int32Array = new Int32Array(256)
  count = 0

  constructor(words: number) {
    this.words = words
    this.starts = Array.from({ length: words }, () => new Uint32Array(256))
  }

  add(bytes: Uint8Array, length: number, value: number): void {
    if (this.count === this.lengths.length) this.grow()
    const row = this.count++
    for (let word = 0; word < this.words; word++) {
      const at = word * 4
      const number = (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!
      this.starts[word]![row] = number
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
  private readonly lasts: Uint32Array[]
  private readonly lengths = new Int16Array(130)
  private readonly values = new Int32Array(130)
  private readonly behind: Uint32Array

  constructor(words: number) {
    this.words = words
    this.lasts = Array.from({ length: 130 }, () => new Uint32Array(words))
    this.behind = new Uint32Array(words)
  }

  enter(start: Uint32Array, length: number, value: number): void {
    if (this.depth > 0 && this.lengths[this.depth - 1] === length) this.depth--
    const last = this.lasts[this.depth]!
    for (let word = 0; word < this.words; word++) {
      const bits = Math.min(32, Math.max(0, length - word * 32))
      last[word] = start[word]! | (bits === 32 ? 0 : 0xffff_ffff >>> bits)
    }
    this.lengths[this.depth] = length
    this.values[this.depth] = value
    this.depth++
  }

  endsBefore(start: Uint32Array): boolean {
    return compareWords(this.lasts[this.depth - 1]!, start) < 0
  }

  /** Leaves the innermost prefix: what lies behind it belongs to the one around it. */
  leave(ranges: RangeWriter): void {
    const last = this.lasts[--this.depth]!
    const value = this.depth === 0 ? -1 : this.values[this.depth - 1]!
    let carry = 1
    for (let word = this.words - 1; word >= 0; word--) {
      const sum = last[word]! + carry
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
    for (const [word, column] of this.starts.entries()) column[this.count] = start[word]!
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
    for (const [word, column] of this.starts.entries()) if (column[range] !== start[word]) return false
    return true
  }
}

// Below, comparing rows costs less than counting 65536 digits.
const radixSortFrom = 5000

/** The rows by start, then by length, then as they came. */
function sortedRows(routes: RouteColumns): Uint32Array {
  let order = Uint32Array.from({ length: routes.count }, (_, row) => row)
  if (routes.count < radixSortFrom) return order.sort((a, b) => compareRows(routes, a, b))
  // A radix sort, least significant digit first; stable, as `sort` is.
  order = sortedByDigit(order, routes.lengths, 0)
  for (let word = routes.words - 1; word >= 0; word--) {
    order = sortedByDigit(order, routes.starts[word]!, 0)
    order = sortedByDigit(order, routes.starts[word]!, 16)
  }
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

function compareRows(routes: RouteColumns, a: number, b: number): number {
  for (const column of routes.starts) if (column[a] !== column[b]) return column[a]! - column[b]!
  return routes.lengths[a]! - routes.lengths[b]!
}

function samePrefix(routes: RouteColumns, a: number, b: number): boolean {
  return routes.lengths[a] === routes.lengths[b] && routes.starts.every(column => column[a] === column[b])
}

function compareWords(a: Uint32Array, b: Uint32Array): number {
  for (let word = 0; word < a.length; word++) if (a[word] !== b[word]) return a[word]! - b[word]!
  return 0
}

function copyInto<Column extends Uint32Array | Uint8Array | Int32Array>(into: Column, from: Column): Column {
  into.set(from)
  return into
}
