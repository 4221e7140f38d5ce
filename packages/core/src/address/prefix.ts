import { readIpv4 } from './address-reader.ts'
import { type Family, IpAddress, readAddress } from './ip-address.ts'

const lengthTexts: readonly string[] = Array.from({ length: 129 }, (_, length) => `/${length}`)

/** An address block such as `10.0.0.0/8`: an immutable value whose host bits are zero. */
export class Prefix {
  readonly address: IpAddress
  /** 0 to 32 or 0 to 128. */
  readonly length: number

  private constructor(address: IpAddress, length: number) {
    this.address = address
    this.length = length
  }

  get family(): Family {
    return this.address.family
  }

  /**
   * Reads `10.0.0.0/8`, `10.0.0.0/255.0.0.0`, `fd00::/8`, or a plain address (as a host prefix). Returns `undefined` for
   * anything else. Host bits are cleared; `prefixTextHasHostBits` tells whether there were any.
   */
  static parse(text: string): Prefix | undefined {
    const slash = text.indexOf('/')
    const address = readAddress(text, slash === -1 ? text.length : slash)
    if (!address) return undefined
    const bits = address.family === 4 ? 32 : 128
    if (slash === -1) return new Prefix(address, bits)
    const length = readLength(text, slash + 1, address.family)
    return length === -1 || length > bits ? undefined : new Prefix(withHostBits(address, length, 0), length)
  }

  /**
   * The prefix with this text (as `parse` reads it), or of an address and a length (host bits are cleared).
   *
   * @throws RangeError
   */
  static of(text: string): Prefix
  static of(address: IpAddress, length: number): Prefix
  static of(from: string | IpAddress, length?: number): Prefix {
    if (typeof from === 'string') {
      const prefix = Prefix.parse(from)
      if (!prefix) throw new RangeError(`not a prefix: '${from}'`)
      return prefix
    }
    const bits = from.family === 4 ? 32 : 128
    if (length === undefined || !Number.isInteger(length) || length < 0 || length > bits) {
      throw new RangeError(`length must be 0 to ${bits}`)
    }
    return new Prefix(withHostBits(from, length, 0), length)
  }

  contains(address: IpAddress): boolean {
    const own = this.address
    const length = this.length
    if (address.family !== own.family || ((address.word0 ^ own.word0) & networkMask(length)) !== 0) return false
    return (
      length <= 32 ||
      (((address.word1 ^ own.word1) & networkMask(length - 32)) === 0 &&
        ((address.word2 ^ own.word2) & networkMask(length - 64)) === 0 &&
        ((address.word3 ^ own.word3) & networkMask(length - 96)) === 0)
    )
  }

  /** Whether every address of `other` is inside. */
  covers(other: Prefix): boolean {
    return other.length >= this.length && this.contains(other.address)
  }

  overlaps(other: Prefix): boolean {
    return this.covers(other) || other.covers(this)
  }

  equals(other: Prefix): boolean {
    return this.length === other.length && this.address.equals(other.address)
  }

  /** Negative, 0 or positive: by address, then the shorter length first. For sorting. */
  compare(other: Prefix): number {
    return this.address.compare(other.address) || this.length - other.length
  }

  /** Whether this is a block of one address. */
  get isHost(): boolean {
    return this.length === (this.family === 4 ? 32 : 128)
  }

  /** The last address: of an IPv4 subnet its broadcast address. The first one is `address`. */
  get last(): IpAddress {
    return withHostBits(this.address, this.length, -1)
  }

  /** The mask as an address: `255.255.255.0`. */
  get netmask(): IpAddress {
    const ones = this.family === 4 ? IpAddress.ofIpv4Number(-1) : IpAddress.ofIpv6Words(-1, -1, -1, -1)
    return withHostBits(ones, this.length, 0)
  }

  /** The block that is twice as large; `undefined` for the whole address space. */
  get parent(): Prefix | undefined {
    return this.length === 0 ? undefined : Prefix.of(this.address, this.length - 1)
  }

  toString(): string {
    return this.address.toString() + lengthTexts[this.length]!
  }

  toJSON(): string {
    return this.toString()
  }
}

/** Whether a text that `Prefix.parse` reads has bits behind its prefix length: `10.1.2.3/8`. */
export function prefixTextHasHostBits(text: string): boolean {
  const prefix = Prefix.parse(text)
  const address = IpAddress.parse(text.split('/', 1)[0]!)
  return prefix !== undefined && address !== undefined && !prefix.address.equals(address)
}

/** An address with the bits behind `length` all 0 or all 1 (`fill` -1); itself if it has them. */
function withHostBits(address: IpAddress, length: number, fill: 0 | -1): IpAddress {
  const word0 = filled(address.word0, length, fill)
  if (address.family === 4) return word0 === address.word0 ? address : IpAddress.ofIpv4Number(word0)
  const word1 = filled(address.word1, length - 32, fill)
  const word2 = filled(address.word2, length - 64, fill)
  const word3 = filled(address.word3, length - 96, fill)
  const result = IpAddress.ofIpv6Words(word0, word1, word2, word3)
  return result.equals(address) ? address : result
}

function filled(word: number, length: number, fill: 0 | -1): number {
  const mask = networkMask(length)
  return (word & mask) | (fill & ~mask)
}

/** The first `length` bits of a word: none of them below 1, all from 32 on. */
function networkMask(length: number): number {
  if (length <= 0) return 0
  return length >= 32 ? -1 : -1 << (32 - length)
}

/** The prefix length that a text ends with, in decimal or as an IPv4 mask; -1 if it is neither. */
function readLength(text: string, start: number, family: Family): number {
  if (text.length - start > 3) return family === 4 ? maskLength(readIpv4(text, start, text.length)) : -1
  let length = -1
  for (let i = start; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 0x30
    // A length of 0 that goes on had a leading zero.
    if (digit < 0 || digit > 9 || length === 0) return -1
    length = length === -1 ? digit : length * 10 + digit
  }
  return length
}

function maskLength(mask: number): number {
  // The host bits of a mask are ones at the end, so that one more is a power of two.
  const hostBits = ~mask
  return mask === -1 || (hostBits & (hostBits + 1)) !== 0 ? -1 : Math.clz32(hostBits)
}
