/** Costs of scrypt (RFC 7914 §2): memory is `128 * N * r` bytes, time grows with `N * r * p`. */
export interface ScryptCosts {
  /** A power of two. */
  readonly N: number
  readonly r: number
  readonly p: number
}

/** A stored password: what it costs to check it, and what must come out. */
export interface PasswordRecord extends ScryptCosts {
  readonly salt: Uint8Array
  readonly hash: Uint8Array
}

/** About 120 ms and 16 MiB for one password on a small server, as OWASP recommends for logins. */
export const defaultScryptCosts: ScryptCosts = Object.freeze({ N: 16_384, r: 8, p: 5 })

/** A record in a users file must not be able to cost more than this. */
const maxMemoryBytes = 256 * 1024 * 1024
const maxWork = 16 * 1024 * 1024

/** Reads `scrypt$N$r$p$salt$hash`, with salt (16 bytes and more) and hash (32 bytes) in base64. */
export function parsePasswordRecord(text: string): PasswordRecord | undefined {
  const match = /^scrypt\$(\d{1,8})\$(\d{1,4})\$(\d{1,4})\$([A-Za-z0-9+/]+=*)\$([A-Za-z0-9+/]+=*)$/.exec(text)
  if (!match) return undefined
  const [N, r, p] = [Number(match[1]), Number(match[2]), Number(match[3])]
  if (N < 1024 || (N & (N - 1)) !== 0 || r < 1 || p < 1) return undefined
  if (128 * N * r > maxMemoryBytes || N * r * p > maxWork) return undefined
  const salt = fromBase64(match[4]!)
  const hash = fromBase64(match[5]!)
  return salt && hash && salt.length >= 16 && salt.length <= 64 && hash.length === 32
    ? { N, r, p, salt, hash }
    : undefined
}

/** The text form of a record. */
export function formatPasswordRecord({ N, r, p, salt, hash }: PasswordRecord): string {
  return `scrypt$${N}$${r}$${p}$${toBase64(salt)}$${toBase64(hash)}`
}

function toBase64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
}

function fromBase64(text: string): Uint8Array | undefined {
  try {
    return Uint8Array.from(atob(text), character => character.charCodeAt(0))
  } catch {
    return undefined
  }
}
