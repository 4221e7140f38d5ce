import { IpAddress } from '../address/ip-address.ts'
import { MAX_ANNOUNCED_SECONDS, MAX_MTU, MIN_MTU } from './limits.ts'

// What the headers of CONNECT have in common in both directions. Every reader clamps or gives `undefined`; none throws.

/** An MTU of at most five digits, clamped to 576...16384. */
export function readMtu(text: string): number | undefined {
  return /^\d{1,5}$/.test(text) ? Math.min(MAX_MTU, Math.max(MIN_MTU, Number(text))) : undefined
}

/** A time in seconds; `none` is 0. Longer than a year and a day is cut to that. */
export function readSeconds(text: string): number | undefined {
  if (text.toLowerCase() === 'none') return 0
  return /^\d{1,10}$/.test(text) ? Math.min(MAX_ANNOUNCED_SECONDS, Number(text)) : undefined
}

/** Names between `separator`s: at most 32, each of at most 64 letters, digits and `. _ + -`; others are left out. */
export function readNames(text: string, separator: string): string[] {
  const names: string[] = []
  for (const part of text.split(separator, 64)) {
    const name = part.trim()
    if (/^[\w.+-]{1,64}$/.test(name) && names.length < 32) names.push(name)
  }
  return names
}

/** A domain name of letters, digits, hyphens and underscores (RFC 1035 §2.3.1, RFC 8552 for the underscore), dot at the end removed. */
export function readDomain(text: string): string | undefined {
  const name = text.endsWith('.') ? text.slice(0, -1) : text
  if (name.length === 0 || name.length > 253) return undefined
  const wellFormed = name.split('.').every(label => /^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/.test(label))
  return wellFormed ? name : undefined
}

/** An address with or without a prefix length: `fd00::7/64`. */
export function readInterfaceAddress(text: string): { address: IpAddress; prefixLength: number } | undefined {
  const [first, length, rest] = text.split('/', 3)
  const address = IpAddress.parse(first!)
  if (!address || rest !== undefined) return undefined
  const bits = address.family === 4 ? 32 : 128
  if (length === undefined) return { address, prefixLength: bits }
  return /^\d{1,3}$/.test(length) && Number(length) <= bits ? { address, prefixLength: Number(length) } : undefined
}

/** 32 bytes from 64 hexadecimal digits. The length is checked before anything is decoded. */
export function readAppId(text: string): Uint8Array | undefined {
  if (!/^[0-9a-fA-F]{64}$/.test(text)) return undefined
  return Uint8Array.from({ length: 32 }, (_, i) => Number.parseInt(text.slice(2 * i, 2 * i + 2), 16))
}
