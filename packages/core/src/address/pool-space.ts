import { type Family, IpAddress } from './ip-address.ts'
import { Prefix } from './prefix.ts'
import { PrefixSet } from './prefix-set.ts'

/** Offsets from `first` to `last` that a pool may give out. */
interface Span {
  readonly first: number
  readonly last: number
}

/** How many addresses of a larger block are considered. */
const maxSpace = 2n ** 32n

/**
 * Which addresses of a prefix a pool may give out, as offsets from its first address: never offset 0 (the network of
 * IPv4, the subnet-router anycast address of IPv6, RFC 4291 §2.6.1), never the last address of an IPv4 prefix
 * (broadcast), never the gateway or what is excluded. Of an IPv6 prefix only the first 2^32 addresses are given out.
 */
export class PoolSpace {
  readonly prefix: Prefix
  /** How many addresses there are to give out. */
  readonly capacity: number
  private readonly spans: readonly Span[]

  /** @param excluded - prefixes that are never given out; what lies outside the prefix doesn't matter */
  constructor(prefix: Prefix, gateway: IpAddress, excluded: Iterable<Prefix>) {
    this.prefix = prefix
    const base = prefix.address.toNumber()
    const end = base + maxSpace - 1n
    const last = prefix.last.toNumber()
    const considered = PrefixSet.ofRange(prefix.address, IpAddress.fromNumber(last < end ? last : end, prefix.family))
    const reserved = [hostPrefix(prefix.address), hostPrefix(gateway)]
    if (prefix.family === 4) reserved.push(hostPrefix(prefix.last))
    const free = considered.subtract(PrefixSet.of([...reserved, ...excluded]))
    this.spans = free.ranges(prefix.family).map(range => ({
      first: Number(range.first - base),
      last: Number(range.last - base),
    }))
    this.capacity = this.spans.reduce((sum, span) => sum + span.last - span.first + 1, 0)
  }

  get family(): Family {
    return this.prefix.family
  }

  /** The address at an offset. */
  addressAt(offset: number): IpAddress {
    const bytes = this.prefix.address.bytes.slice()
    const view = new DataView(bytes.buffer)
    // Host bits of the prefix are zero, so that adding never carries out of the last 32 bits.
    view.setUint32(bytes.length - 4, view.getUint32(bytes.length - 4) + offset)
    return IpAddress.fromBytes(bytes)
  }

  /** The offset of an address that may be given out, or -1. */
  offsetOf(address: IpAddress): number {
    if (!this.prefix.contains(address)) return -1
    const distance = address.toNumber() - this.prefix.address.toNumber()
    if (distance >= maxSpace) return -1
    const offset = Number(distance)
    const span = this.spans[this.spanFrom(offset)]
    return span !== undefined && span.first <= offset ? offset : -1
  }

  /** The first offset from `offset` on that may be given out, or -1 at the end. */
  nextFrom(offset: number): number {
    const span = this.spans[this.spanFrom(offset)]
    return span === undefined ? -1 : Math.max(span.first, offset)
  }

  /** The first span that doesn't end before an offset. */
  private spanFrom(offset: number): number {
    let low = 0
    let high = this.spans.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.spans[middle]!.last < offset) low = middle + 1
      else high = middle
    }
    return low
  }
}

function hostPrefix(address: IpAddress): Prefix {
  return Prefix.of(address, address.family === 4 ? 32 : 128)
}
