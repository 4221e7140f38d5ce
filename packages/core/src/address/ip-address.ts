import { Address4, Address6 } from 'ip-address'

/** 4 or 6. */
export type Family = 4 | 6

/**
 * An IP address: an immutable value. `bytes` has 4 or 16 entries and must not be written to. Text is canonical
 * (RFC 5952 for IPv6), so two addresses are equal exactly when their texts are.
 */
export class IpAddress {
  readonly family: Family
  readonly bytes: Uint8Array
  private text: string | undefined

  private constructor(bytes: Uint8Array) {
    this.family = bytes.length === 4 ? 4 : 6
    this.bytes = bytes
  }

  /** Reads dotted IPv4 or RFC 4291 IPv6 text. Returns `undefined` for anything else (zones, prefixes, leading zeros). */
  static parse(text: string): IpAddress | undefined {
    try {
      if (text.includes(':')) {
        if (text.includes('/') || text.includes('%')) return undefined
        return new IpAddress(padded(new Address6(text).toUnsignedByteArray()))
      }
      if (!/^(0|[1-9]\d{0,2})(\.(0|[1-9]\d{0,2})){3}$/.test(text)) return undefined
      return new IpAddress(Uint8Array.from(new Address4(text).toArray()))
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

  /** Copies 4 or 16 bytes at `offset`. */
  static fromBytes(bytes: Uint8Array, offset = 0, family: Family = bytes.length === 4 ? 4 : 6): IpAddress {
    return new IpAddress(bytes.slice(offset, offset + (family === 4 ? 4 : 16)))
  }

  equals(other: IpAddress): boolean {
    return this.family === other.family && this.bytes.every((byte, i) => byte === other.bytes[i])
  }

  toString(): string {
    if (this.text === undefined) {
      this.text =
        this.family === 4 ? this.bytes.join('.') : Address6.fromByteArray(Array.from(this.bytes)).correctForm()
    }
    return this.text
  }

  toJSON(): string {
    return this.toString()
  }
}

function padded(bytes: readonly number[]): Uint8Array {
  const result = new Uint8Array(16)
  result.set(bytes.slice(-16), 16 - Math.min(16, bytes.length))
  return result
}
