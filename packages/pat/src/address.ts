// Addresses as pat sees them: four 32-bit words, IPv4 in its mapped form (::ffff:a.b.c.d, RFC 4291 §2.5.5.2), so that
// every table is the same for both families. Text is read from options and written to outputs, never on the data path.
import { ipv4Text, ipv6Text } from '@twinbore/core/packet'

/** An IP address: its text, its 4 or 16 bytes, or anything that has such `bytes`. */
export type AddressInput = string | Uint8Array | { readonly bytes: Uint8Array }

/** An address block: `10.8.0.0/16` or `fd00::/64` as text, or anything with an address and a length. */
export type PrefixInput = string | { readonly address: AddressInput; readonly length: number }

/** Four 32-bit words, signed so that they stay small integers for the engine. */
export type AddressWords = Int32Array

/** What stands in the third word of an IPv4 address. */
export const V4_MAPPED = 0xffff

export function isIpv4(words: AddressWords, at = 0): boolean {
  return words[at] === 0 && words[at + 1] === 0 && words[at + 2] === V4_MAPPED
}

/**
 * Whether an address names one host that a packet may come from or go to across the translator: not unspecified,
 * loopback, multicast, broadcast or reserved, and not an IPv6 form that hides an IPv4 address (mapped, 6to4, Teredo).
 */
export function namesOneHost(a: number, b: number, c: number, d: number): boolean {
  if (a === 0 && b === 0 && c === V4_MAPPED) {
    const first = d >>> 24
    return first !== 0 && first !== 127 && first < 224
  }
  if (a === 0 && b === 0) return c !== 0 || (d !== 0 && d !== 1)
  return a >>> 24 !== 0xff && a >>> 16 !== 0x2002 && a !== 0x2001_0000
}

/** Whether an address has meaning on one link only (RFC 3927, RFC 4291 §2.5.6). */
export function isLinkLocal(a: number, b: number, c: number, d: number): boolean {
  return a === 0 && b === 0 && c === V4_MAPPED ? d >>> 16 === 0xa9fe : a >>> 22 === 0x3fa
}

/**
 * Reads an address of an option.
 *
 * @param what - the option's name, for the message
 * @throws TypeError
 */
export function addressWords(input: AddressInput, what: string): AddressWords {
  const bytes = typeof input === 'string' ? parseAddress(input) : input instanceof Uint8Array ? input : input?.bytes
  if (!(bytes instanceof Uint8Array) || (bytes.length !== 4 && bytes.length !== 16)) {
    throw new TypeError(`${what}: not an IP address${typeof input === 'string' ? `: '${input}'` : ''}`)
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length === 4) return Int32Array.of(0, 0, V4_MAPPED, view.getInt32(0))
  const words = Int32Array.of(view.getInt32(0), view.getInt32(4), view.getInt32(8), view.getInt32(12))
  if (isIpv4(words)) throw new TypeError(`${what}: IPv4-mapped IPv6 address, write it as IPv4`)
  return words
}

/** An address block as words and a mask. */
export interface PrefixWords {
  readonly words: AddressWords
  readonly mask: AddressWords
}

/** @throws TypeError */
export function prefixWords(input: PrefixInput, what: string): PrefixWords {
  let address: AddressInput
  let length: number
  if (typeof input === 'string') {
    const [text, lengthText, ...rest] = input.split('/')
    if (rest.length > 0 || (lengthText !== undefined && !/^\d{1,3}$/.test(lengthText))) {
      throw new TypeError(`${what}: not a prefix: '${input}'`)
    }
    address = text!
    length = lengthText === undefined ? Number.NaN : Number(lengthText)
  } else {
    address = input.address
    length = input.length
  }
  const words = addressWords(address, what)
  const bits = isIpv4(words) ? 32 : 128
  if (Number.isNaN(length)) length = bits
  if (!Number.isInteger(length) || length < 0 || length > bits)
    throw new TypeError(`${what}: length must be 0 to ${bits}`)
  const kept = length + 128 - bits
  const mask = new Int32Array(4)
  for (let i = 0; i < 4; i++) {
    const ones = Math.min(32, Math.max(0, kept - i * 32))
    mask[i] = ones === 0 ? 0 : 0xffffffff << (32 - ones)
  }
  return { words: words.map((word, i) => word & mask[i]!), mask }
}

export function prefixContains(prefix: PrefixWords, a: number, b: number, c: number, d: number): boolean {
  const { words, mask } = prefix
  return (
    (a & mask[0]!) === words[0] &&
    (b & mask[1]!) === words[1] &&
    (c & mask[2]!) === words[2] &&
    (d & mask[3]!) === words[3]
  )
}

/** Canonical text: dotted IPv4, RFC 5952 IPv6. */
export function formatAddress(words: AddressWords, at = 0): string {
  const bytes = addressBytes(words, at)
  return bytes.length === 4 ? ipv4Text(bytes) : ipv6Text(bytes)
}

/** The 4 or 16 bytes of an address in a table. */
export function addressBytes(words: AddressWords, at = 0): Uint8Array {
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  for (let i = 0; i < 4; i++) view.setInt32(i * 4, words[at + i]!)
  return isIpv4(words, at) ? bytes.subarray(12) : bytes
}

/** Reads dotted IPv4 or RFC 4291 §2.2 text, without zones. */
export function parseAddress(text: string): Uint8Array | undefined {
  if (!text.includes(':')) return parseIpv4(text)
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const head = parseGroups(halves[0]!, halves.length === 1)
  const tail = halves.length === 2 ? parseGroups(halves[1]!, true) : []
  if (!head || !tail) return undefined
  const missing = 16 - head.length - tail.length
  if (halves.length === 2 ? missing < 2 : missing !== 0) return undefined
  return Uint8Array.from([...head, ...new Array<number>(missing).fill(0), ...tail])
}

function parseIpv4(text: string): Uint8Array | undefined {
  const parts = text.split('.')
  if (parts.length !== 4 || !parts.every(part => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256))
    return undefined
  return Uint8Array.from(parts, Number)
}

function parseGroups(text: string, mayEndInIpv4: boolean): number[] | undefined {
  if (text === '') return []
  const bytes: number[] = []
  const groups = text.split(':')
  for (const [i, group] of groups.entries()) {
    if (mayEndInIpv4 && i === groups.length - 1 && group.includes('.')) {
      const last = parseIpv4(group)
      if (!last) return undefined
      bytes.push(...last)
      continue
    }
    if (!/^[0-9a-f]{1,4}$/i.test(group)) return undefined
    const value = Number.parseInt(group, 16)
    bytes.push(value >>> 8, value & 255)
  }
  return bytes
}
