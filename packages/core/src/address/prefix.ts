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
   * anything else. Host bits are cleared; `prefixTextHasHostBits` tells whether there were any.
   */
  static parse(text: string): Prefix | undefined {
    const slash = text.indexOf('/')
    const address = IpAddress.parse(slash === -1 ? text : text.slice(0, slash))
    if (!address) return undefined
    const bits = address.family === 4 ? 32 : 128
    if (slash === -1) return new Prefix(address, bits)
    const lengthText = text.slice(slash + 1)
    const length = /^(0|[1-9]\d{0,2})$/.test(lengthText) ? Number(lengthText) : maskLength(lengthText, address.family)
    return length === undefined || length > bits ? undefined : Prefix.of(address, length)
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
    return withHostBits(this.address, this.length, 0xff)
  }

  /** The mask as an address: `255.255.255.0`. */
  get netmask(): IpAddress {
    const ones = IpAddress.fromBytes(new Uint8Array(this.family === 4 ? 4 : 16).fill(0xff))
    return withHostBits(ones, this.length, 0)
  }

  /** The block that is twice as large; `undefined` for the whole address space. */
  get parent(): Prefix | undefined {
    return this.length === 0 ? undefined : Prefix.of(this.address, this.length - 1)
  }

  toString(): string {
    return `${this.address}/${this.length}`
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

/** An address with the bits behind `length` all 0 or all 1. */
function withHostBits(address: IpAddress, length: number, fill: 0 | 0xff): IpAddress {
  const bytes = address.bytes.slice()
  for (let i = 0; i < bytes.length; i++) {
    const keep = (0xff00 >> Math.min(8, Math.max(0, length - i * 8))) & 0xff
    bytes[i] = (bytes[i]! & keep) | (fill & ~keep)
  }
  return IpAddress.fromBytes(bytes)
}

function maskLength(text: string, family: Family): number | undefined {
  if (family !== 4) return undefined
  const mask = IpAddress.parse(text)
  if (mask?.family !== 4) return undefined
  const bits = Array.from(mask.bytes, byte => byte.toString(2).padStart(8, '0')).join('')
  return /^1*0*$/.test(bits) ? bits.lastIndexOf('1') + 1 : undefined
}
