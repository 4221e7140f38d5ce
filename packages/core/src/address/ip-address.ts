import { Address4, Address6 } from 'ip-address'
import { ipv4Text, ipv6Text } from '../packet/address-text.ts'

/** 4 or 6. */
export type Family = 4 | 6

/**
 * An IP address: an immutable value. `bytes` has 4 or 16 entries and must not be written to. Text is canonical
 * (RFC 5952 for IPv6), so two addresses are equal exactly when their texts are.
 */
export class IpAddress {
  readonly family: Family
  readonly bytes: Uint8Array
  // Hidden, so that a deep comparison sees the same value whether it was printed before or not.
  #text: string | undefined

  private constructor(bytes: Uint8Array) {
    this.family = bytes.length === 4 ? 4 : 6
    this.bytes = bytes
  }

  /** Reads dotted IPv4 or RFC 4291 IPv6 text. Returns `undefined` for anything else (zones, prefixes, leading zeros). */
  static parse(text: string): IpAddress | undefined {
    if (!text.includes(':')) return parseIpv4(text)
    // The longest IPv6 text has 45 characters; the character set keeps out zones, prefixes and what the library is
    // lenient about.
    if (text.length > 45 || !/^[0-9a-fA-F:.]+$/.test(text) || /[0-9a-fA-F]{5}|\.0\d/.test(text)) return undefined
    const dotted = /:([^:]*\.[^:]*)$/.exec(text)?.[1]
    if (text.includes('.') && (dotted === undefined || !parseIpv4(dotted))) return undefined
    try {
      return new IpAddress(padded(new Address6(text).toUnsignedByteArray()))
    } catch {
      return undefined
    }
  }

  /** Like `parse`, for text that the program itself wrote. @throws RangeError */
  static of(text: string): IpAddress {
    const address = IpAddress.parse(text)
    if (!address) throw new RangeError(`not an IP address: '${text}'`)
    return address
  }

  /** Copies 4 or 16 bytes at `offset`. @throws RangeError when there are fewer */
  static fromBytes(bytes: Uint8Array, offset = 0, family: Family = bytes.length === 4 ? 4 : 6): IpAddress {
    const length = family === 4 ? 4 : 16
    if (offset + length > bytes.length) throw new RangeError(`an IPv${family} address has ${length} bytes`)
    return new IpAddress(bytes.slice(offset, offset + length))
  }

  /** The address with this number: 0 to 2^32 - 1, or 0 to 2^128 - 1. @throws RangeError */
  static fromNumber(number: bigint, family: Family): IpAddress {
    const bits = family === 4 ? 32n : 128n
    if (number < 0n || number >> bits !== 0n) throw new RangeError(`an IPv${family} address has ${bits} bits`)
    const bytes = new Uint8Array(family === 4 ? 4 : 16)
    for (let i = bytes.length - 1, rest = number; i >= 0; i--, rest >>= 8n) bytes[i] = Number(rest & 0xffn)
    return new IpAddress(bytes)
  }

  /** The address as a number, most significant byte first. */
  toNumber(): bigint {
    let number = 0n
    for (const byte of this.bytes) number = (number << 8n) | BigInt(byte)
    return number
  }

  /** Whether this is an IPv4 address in IPv6 clothes (`::ffff:192.0.2.1`), as dual-stack sockets report peers. */
  get isIpv4Mapped(): boolean {
    return this.family === 6 && this.bytes.subarray(0, 12).every((byte, i) => byte === (i < 10 ? 0 : 0xff))
  }

  /** The IPv4 address inside an IPv4-mapped one, otherwise the address itself. */
  get unmapped(): IpAddress {
    return this.isIpv4Mapped ? IpAddress.fromBytes(this.bytes, 12, 4) : this
  }

  equals(other: IpAddress): boolean {
    return this.family === other.family && this.bytes.every((byte, i) => byte === other.bytes[i])
  }

  /** Negative, 0 or positive: IPv4 before IPv6, then by number. For sorting. */
  compare(other: IpAddress): number {
    if (this.family !== other.family) return this.family - other.family
    for (const [i, byte] of this.bytes.entries()) if (byte !== other.bytes[i]) return byte - other.bytes[i]!
    return 0
  }

  toString(): string {
    this.#text ??= this.family === 4 ? ipv4Text(this.bytes) : ipv6Text(this.bytes)
    return this.#text
  }

  toJSON(): string {
    return this.toString()
  }
}

function parseIpv4(text: string): IpAddress | undefined {
  if (!/^(0|[1-9]\d{0,2})(\.(0|[1-9]\d{0,2})){3}$/.test(text)) return undefined
  try {
    return IpAddress.fromBytes(Uint8Array.from(new Address4(text).toArray()))
  } catch {
    return undefined
  }
}

function padded(bytes: readonly number[]): Uint8Array {
  const result = new Uint8Array(16)
  result.set(bytes.slice(-16), 16 - Math.min(16, bytes.length))
  return result
}
