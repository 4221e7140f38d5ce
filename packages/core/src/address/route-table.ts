import { compileRanges, type RangeColumns, RouteColumns } from './flat-ranges.ts'
import type { Family, IpAddress } from './ip-address.ts'
import type { Prefix } from './prefix.ts'

/** A prefix and what it stands for: any integer from 0 to 2^31 - 1, for instance an index into a list of the caller. */
export interface RouteEntry {
  readonly prefix: Prefix
  readonly value: number
}

export interface RouteTableOptions {
  /**
   * IPv4 ranges from which on a table gets an index by the first 16 bits of an address: three to twenty times faster
   * lookups for 256 KiB. @defaultValue 256
   */
  readonly indexFromRanges?: number
}

/** What `lookup` returns where no prefix matches. */
export const NO_ROUTE = -1

/**
 * Longest-prefix match for both families: an immutable table, compiled from prefixes into flat disjoint ranges, so that a
 * lookup is one binary search over typed arrays and allocates nothing. To change it, compile a new one and swap: a
 * million IPv4 prefixes compile in about a second.
 *
 * Memory: 8 bytes for each IPv4 range and 20 for each IPv6 range, of which n prefixes make at most 2n + 1.
 */
export class RouteTable {
  /** How many different prefixes the table was compiled from. */
  readonly size: number
  private readonly v4: RangeColumns
  private readonly v6: RangeColumns
  private readonly v4Starts: Uint32Array
  /** For each value of the first 16 bits, the range that its first address is in; one more entry at the end. */
  private readonly v4Index: Uint32Array | undefined

  private constructor(v4: RangeColumns, v6: RangeColumns, size: number, indexFromRanges: number) {
    this.v4 = v4
    this.v6 = v6
    this.size = size
    this.v4Starts = v4.starts[0]!
    this.v4Index = this.v4Starts.length >= indexFromRanges ? indexByFirst16Bits(this.v4Starts) : undefined
  }

  /** Compiles a table. Of entries with equal prefixes the last one counts. @throws RangeError for a value out of range */
  static compile(entries: Iterable<RouteEntry>, options: RouteTableOptions = {}): RouteTable {
    const v4 = new RouteColumns(1)
    const v6 = new RouteColumns(4)
    for (const { prefix, value } of entries) {
      if (!Number.isInteger(value) || value < 0 || value > 0x7fff_ffff) {
        throw new RangeError('value must be an integer from 0 to 2^31 - 1')
      }
      const columns = prefix.family === 4 ? v4 : v6
      columns.add(prefix.address, prefix.length, value)
    }
    const v4Ranges = compileRanges(v4)
    const v6Ranges = compileRanges(v6)
    const size = v4Ranges.prefixes + v6Ranges.prefixes
    return new RouteTable(v4Ranges, v6Ranges, size, options.indexFromRanges ?? 256)
  }

  /** The value of the longest prefix around the address at `offset`, or -1. The address is in network byte order. */
  lookup(view: DataView, offset: number, family: Family): number {
    return family === 4
      ? this.lookupIpv4(view.getUint32(offset))
      : this.lookupIpv6(
          view.getUint32(offset),
          view.getUint32(offset + 4),
          view.getUint32(offset + 8),
          view.getUint32(offset + 12),
        )
  }

  /** `lookup` for an IPv4 address as an unsigned 32-bit number, as `ipv4Destination` returns it. */
  lookupIpv4(address: number): number {
    const starts = this.v4Starts
    const index = this.v4Index
    let low = 0
    let high = starts.length - 1
    if (index !== undefined) {
      const block = address >>> 16
      low = index[block]!
      high = index[block + 1]!
    }
    // The last range that starts no later than the address; range 0 starts at 0.0.0.0.
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      if (starts[middle]! <= address) low = middle
      else high = middle - 1
    }
    return this.v4.values[low]!
  }

  /** `lookup` for an address of the program. */
  lookupAddress(address: IpAddress): number {
    const { word0, word1, word2, word3 } = address
    return address.family === 4
      ? this.lookupIpv4(word0 >>> 0)
      : this.lookupIpv6(word0 >>> 0, word1 >>> 0, word2 >>> 0, word3 >>> 0)
  }

  /** Ranges of both families and the bytes that they take, for statistics. */
  get footprint(): { readonly ipv4Ranges: number; readonly ipv6Ranges: number; readonly bytes: number } {
    const ipv4Ranges = this.v4.values.length
    const ipv6Ranges = this.v6.values.length
    return { ipv4Ranges, ipv6Ranges, bytes: ipv4Ranges * 8 + ipv6Ranges * 20 + (this.v4Index?.byteLength ?? 0) }
  }

  private lookupIpv6(a: number, b: number, c: number, d: number): number {
    const [starts0, starts1, starts2, starts3] = this.v6.starts as [Uint32Array, Uint32Array, Uint32Array, Uint32Array]
    let low = 0
    let high = this.v6.values.length - 1
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      const first = starts0[middle]!
      let notLater = first < a
      if (first === a) {
        const second = starts1[middle]!
        notLater = second < b
        if (second === b) {
          const third = starts2[middle]!
          notLater = third < c || (third === c && starts3[middle]! <= d)
        }
      }
      if (notLater) low = middle
      else high = middle - 1
    }
    return this.v6.values[low]!
  }
}

function indexByFirst16Bits(starts: Uint32Array): Uint32Array {
  const index = new Uint32Array(0x1_0001)
  let block = 0
  for (let range = 0; range < starts.length; range++) {
    // The blocks that the range is the last to have begun at the start of.
    const end = range + 1 === starts.length ? 0x1_0000 : Math.ceil(starts[range + 1]! / 0x1_0000)
    if (end > block) index.fill(range, block, end)
    block = end
  }
  index[0x1_0000] = starts.length - 1
  return index
}
