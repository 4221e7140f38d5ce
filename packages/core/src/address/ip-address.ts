import { Address6 } from 'ip-address'
import { ipv4NumberText, ipv6WordsText } from '../packet/address-text.ts'
import { readIpv4, readIpv6 } from './address-reader.ts'

/** 4 or 6. */
export type Family = 4 | 6

/**
 * An IP address: an immutable value. Text is canonical (RFC 5952 for IPv6), so two addresses are equal exactly when
 * their texts are.
 */
export class IpAddress {
  readonly family: Family
  /**
   * The first 32 bits as a signed integer, of IPv4 all there are. Signed, because the engine keeps such integers in the
   * object itself; `>>> 0` makes them unsigned.
   */
  readonly word0: number
  /** The second to fourth 32 bits; 0 for IPv4. */
  readonly word1: number
  readonly word2: number
  readonly word3: number
  // Made when asked for, and hidden, so that a deep comparison sees the same value whether they were or not.
  #bytes: Uint8Array | undefined
  #text: string | undefined

  private constructor(family: Family, word0: number, word1: number, word2: number, word3: number) {
    this.family = family
    this.word0 = word0
    this.word1 = word1
    this.word2 = word2
    this.word3 = word3
  }

  /** Reads dotted IPv4 or RFC 4291 IPv6 text. Returns `undefined` for anything else (zones, prefixes, leading zeros). */
  static parse(text: string): IpAddress | undefined {
    return readAddress(text, text.length)
  }

  /** Like `parse`, for text that the program itself wrote. @throws RangeError */
  static of(text: string): IpAddress {
    const address = IpAddress.parse(text)
    if (!address) throw new RangeError(`not an IP address: '${text}'`)
    return address
  }

  /** The IPv4 address with this number, signed or unsigned. */
  static ofIpv4Number(number: number): IpAddress {
    return new IpAddress(4, number | 0, 0, 0, 0)
  }

  /** The IPv6 address of four 32-bit words, signed or unsigned, most significant first. */
  static ofIpv6Words(word0: number, word1: number, word2: number, word3: number): IpAddress {
    return new IpAddress(6, word0 | 0, word1 | 0, word2 | 0, word3 | 0)
  }

  /** Copies 4 or 16 bytes at `offset`. @throws RangeError when there are fewer */
  static fromBytes(bytes: Uint8Array, offset = 0, family: Family = bytes.length === 4 ? 4 : 6): IpAddress {
    const length = family === 4 ? 4 : 16
    if (offset + length > bytes.length) throw new RangeError(`an IPv${family} address has ${length} bytes`)
    if (family === 4) return new IpAddress(4, wordAt(bytes, offset), 0, 0, 0)
    const [word0, word1] = [wordAt(bytes, offset), wordAt(bytes, offset + 4)]
    return new IpAddress(6, word0, word1, wordAt(bytes, offset + 8), wordAt(bytes, offset + 12))
  }

  /** The address with this number: 0 to 2^32 - 1, or 0 to 2^128 - 1. @throws RangeError */
  static fromNumber(number: bigint, family: Family): IpAddress {
    const bits = family === 4 ? 32n : 128n
    if (number < 0n || number >> bits !== 0n) throw new RangeError(`an IPv${family} address has ${bits} bits`)
    const word = (shift: bigint) => Number(BigInt.asIntN(32, number >> shift))
    return family === 4
      ? new IpAddress(4, word(0n), 0, 0, 0)
      : new IpAddress(6, word(96n), word(64n), word(32n), word(0n))
  }

  /** The address in 4 or 16 bytes, which must not be written to. */
  get bytes(): Uint8Array {
    this.#bytes ??= this.makeBytes()
    return this.#bytes
  }

  /** The address as a number, most significant byte first. */
  toNumber(): bigint {
    const first = BigInt(this.word0 >>> 0)
    if (this.family === 4) return first
    const upper = (first << 32n) | BigInt(this.word1 >>> 0)
    return (upper << 64n) | (BigInt(this.word2 >>> 0) << 32n) | BigInt(this.word3 >>> 0)
  }

  /** Whether this is an IPv4 address in IPv6 clothes (`::ffff:192.0.2.1`), as dual-stack sockets report peers. */
  get isIpv4Mapped(): boolean {
    return this.family === 6 && this.word0 === 0 && this.word1 === 0 && this.word2 === 0xffff
  }

  /** The IPv4 address inside an IPv4-mapped one, otherwise the address itself. */
  get unmapped(): IpAddress {
    return this.isIpv4Mapped ? new IpAddress(4, this.word3, 0, 0, 0) : this
  }

  equals(other: IpAddress): boolean {
    return (
      this.word0 === other.word0 &&
      this.family === other.family &&
      this.word1 === other.word1 &&
      this.word2 === other.word2 &&
      this.word3 === other.word3
    )
  }

  /** Negative, 0 or positive: IPv4 before IPv6, then by number. For sorting. */
  compare(other: IpAddress): number {
    if (this.family !== other.family) return this.family - other.family
    if (this.word0 !== other.word0) return (this.word0 >>> 0) - (other.word0 >>> 0)
    if (this.word1 !== other.word1) return (this.word1 >>> 0) - (other.word1 >>> 0)
    if (this.word2 !== other.word2) return (this.word2 >>> 0) - (other.word2 >>> 0)
    return (this.word3 >>> 0) - (other.word3 >>> 0)
  }

  toString(): string {
    this.#text ??=
      this.family === 4 ? ipv4NumberText(this.word0) : ipv6WordsText(this.word0, this.word1, this.word2, this.word3)
    return this.#text
  }

  toJSON(): string {
    return this.toString()
  }

  private makeBytes(): Uint8Array {
    const bytes = new Uint8Array(this.family === 4 ? 4 : 16)
    setWordAt(bytes, 0, this.word0)
    if (this.family === 4) return bytes
    setWordAt(bytes, 4, this.word1)
    setWordAt(bytes, 8, this.word2)
    setWordAt(bytes, 12, this.word3)
    return bytes
  }
}

const ipv6Words = new Int32Array(4)

/** `IpAddress.parse` for a text that an address begins and that goes on at `end`. */
export function readAddress(text: string, end: number): IpAddress | undefined {
  const number = readIpv4(text, 0, end)
  if (number !== -1) return IpAddress.ofIpv4Number(number)
  const dot = text.indexOf('.')
  if (dot !== -1 && dot < end) return readDottedIpv6(text.slice(0, end))
  if (!readIpv6(text, end, ipv6Words)) return undefined
  return IpAddress.ofIpv6Words(ipv6Words[0]!, ipv6Words[1]!, ipv6Words[2]!, ipv6Words[3]!)
}

/** Reads IPv6 text with a dotted end, such as `64:ff9b::192.0.2.33`: rare, so that it may take its time. */
function readDottedIpv6(text: string): IpAddress | undefined {
  // The longest has 45 characters; the character set keeps out zones and what the package is lenient about.
  if (text.length > 45 || !/^[0-9a-fA-F:.]+$/.test(text) || /[0-9a-fA-F]{5}/.test(text)) return undefined
  const dotted = /:([^:]*\.[^:]*)$/.exec(text)?.[1]
  if (dotted === undefined || readIpv4(dotted, 0, dotted.length) === -1) return undefined
  try {
    const bytes = new Address6(text).toUnsignedByteArray().slice(-16)
    const padded = new Uint8Array(16)
    padded.set(bytes, 16 - bytes.length)
    return IpAddress.fromBytes(padded)
  } catch {
    return undefined
  }
}

function wordAt(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!
}

function setWordAt(bytes: Uint8Array, at: number, word: number): void {
  bytes[at] = word >>> 24
  bytes[at + 1] = word >>> 16
  bytes[at + 2] = word >>> 8
  bytes[at + 3] = word
}
