import { type Family, IpAddress } from './ip-address.ts'

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
   * anything else. Host bits are cleared.
   */
  static parse(text: string): Prefix | undefined {
    const slash = text.indexOf('/')
    const address = IpAddress.parse(slash === -1 ? text : text.slice(0, slash))
    if (!address) return undefined
    const bits = address.family === 4 ? 32 : 128
    if (slash === -1) return new Prefix(address, bits)
    const lengthText = text.slice(slash + 1)
    const length = /^\d{1,3}$/.test(lengthText) ? Number(lengthText) : maskLength(lengthText, address.family)
    return length === undefined || length > bits ? undefined : Prefix.of(address, length)
  }

  /** Builds a prefix from an address (host bits are cleared) and a length. */
  static of(address: IpAddress, length: number): Prefix {
    const bits = address.family === 4 ? 32 : 128
    if (!Number.isInteger(length) || length < 0 || length > bits) throw new RangeError(`length must be 0 to ${bits}`)
    const bytes = address.bytes.slice()
    for (let i = 0; i < bytes.length; i++) {
      const kept = Math.min(8, Math.max(0, length - i * 8))
      bytes[i] = bytes[i]! & (0xff00 >> kept)
    }
    return new Prefix(IpAddress.fromBytes(bytes), length)
  }

  contains(address: IpAddress): boolean {
    if (address.family !== this.family) return false
    const whole = this.length >> 3
    for (let i = 0; i < whole; i++) if (address.bytes[i] !== this.address.bytes[i]) return false
    const rest = this.length & 7
    return rest === 0 || ((address.bytes[whole]! ^ this.address.bytes[whole]!) & (0xff00 >> rest) & 0xff) === 0
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

  /** Whether this is a block of one address. */
  get isHost(): boolean {
    return this.length === (this.family === 4 ? 32 : 128)
  }

  /** The mask as an address: `255.255.255.0`. */
  get netmask(): IpAddress {
    return Prefix.of(IpAddress.fromBytes(new Uint8Array(this.family === 4 ? 4 : 16).fill(255)), this.length).address
  }

  toString(): string {
    return `${this.address}/${this.length}`
  }

  toJSON(): string {
    return this.toString()
  }
}

function maskLength(text: string, family: Family): number | undefined {
  if (family !== 4) return undefined
  const mask = IpAddress.parse(text)
  if (mask?.family !== 4) return undefined
  const bits = Array.from(mask.bytes, byte => byte.toString(2).padStart(8, '0')).join('')
  return /^1*0*$/.test(bits) ? bits.lastIndexOf('1') + 1 : undefined
}
