// One-time codes by time: TOTP, RFC 6238, as authenticator apps make them (HMAC-SHA-1, 6 digits, 30 seconds).

/** Length of a time step. RFC 6238 §5.2. */
export const codeStepSeconds = 30
const digits = 6

/** HMAC-SHA-1 of eight bytes under a secret. */
export type HmacSha1 = (secret: Uint8Array, message: Uint8Array) => Uint8Array

/** The code of a time step. RFC 4226 §5.3. */
export function codeAt(secret: Uint8Array, step: number, hmac: HmacSha1, length: number = digits): string {
  const counter = new Uint8Array(8)
  new DataView(counter.buffer).setBigUint64(0, BigInt(step))
  const mac = hmac(secret, counter)
  const offset = mac[mac.length - 1]! & 0x0f
  const value = new DataView(mac.buffer, mac.byteOffset).getUint32(offset) & 0x7fff_ffff
  return String(value % 10 ** length).padStart(length, '0')
}

/** What became of a code. */
export type CodeVerdict = 'accepted' | 'wrong' | 'blocked'

interface UserState {
  /** The last time step whose code was used; it and earlier ones are refused from then on. */
  usedStep: number
  /** Wrong codes since the last right one. */
  failures: number
  /** Seconds since the epoch until which every code is refused. */
  blockedUntil: number
}

/**
 * Checks codes, each at most once (RFC 6238 §5.2), and slows guessing down (RFC 4226 §7.3): from the fifth wrong code in
 * a row on, a user's codes are refused for 30 seconds, then 60, up to an hour. Codes of the step before and after count
 * as well, for clocks that differ. Memory: one small entry for each user who has a secret and has tried.
 */
export class OneTimeCodes {
  private readonly states = new Map<string, UserState>()
  private readonly hmac: HmacSha1

  constructor(hmac: HmacSha1) {
    this.hmac = hmac
  }

  /** @param wallClock milliseconds since 1970-01-01T00:00:00Z */
  check(username: string, secret: Uint8Array, code: string, wallClock: number): CodeVerdict {
    const now = Math.floor(wallClock / 1000)
    const state = this.states.get(username) ?? { usedStep: -1, failures: 0, blockedUntil: 0 }
    this.states.set(username, state)
    if (now < state.blockedUntil) return 'blocked'

    const typed = code.replace(/\s/g, '')
    const current = Math.floor(now / codeStepSeconds)
    // All three are computed whatever the first says, so that time tells nothing.
    const match = [current - 1, current, current + 1]
      .filter(step => equals(codeAt(secret, step, this.hmac), typed))
      .at(-1)
    if (match !== undefined && match > state.usedStep) {
      this.states.set(username, { usedStep: match, failures: 0, blockedUntil: 0 })
      return 'accepted'
    }
    state.failures += 1
    if (state.failures >= 5) state.blockedUntil = now + Math.min(3600, 30 * 2 ** (state.failures - 5))
    return 'wrong'
  }

  /** Forgets users who are gone, so that the table never outgrows the users file. */
  retain(usernames: ReadonlySet<string>): void {
    for (const username of this.states.keys()) if (!usernames.has(username)) this.states.delete(username)
  }
}

/** What an authenticator app reads as text or QR code: the `otpauth` URI. */
export function codeUri(username: string, secretBase32: string, issuer: string): string {
  const label = `${encodeURIComponent(issuer)}:${encodeURIComponent(username)}`
  return `otpauth://totp/${label}?secret=${secretBase32}&issuer=${encodeURIComponent(issuer)}&algorithm=SHA1&digits=${digits}&period=${codeStepSeconds}`
}

/** Compares without leaving at the first difference. */
function equals(a: string, b: string): boolean {
  let difference = a.length ^ b.length
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ (b.charCodeAt(i) || 0)
  return difference === 0
}
