import { type HeaderLines, headerValues } from './http-message.ts'
import { MAX_COOKIE_LENGTH, MAX_COOKIES } from './limits.ts'

/** The cookie of a session. */
export const SESSION_COOKIE = 'webvpn'
/** The cookie that ties the requests of one unfinished login together. */
export const LOGIN_COOKIE = 'webvpncontext'

const NAME = /^[\w!#$%&'*+.^`|~-]{1,64}$/
const VALUE = /^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*$/

/** Whether a text can be the value of a cookie: 1 to 16384 printable ASCII characters without blanks, quotes, commas, semicolons, backslashes. */
export function isCookieValue(text: string): boolean {
  return text.length > 0 && text.length <= MAX_COOKIE_LENGTH && VALUE.test(text)
}

/**
 * The value of a cookie in a request (RFC 6265 §4.2). Undefined when it is absent, empty, longer than `maxLength`, or holds
 * characters that no cookie value has. Of several with one name the first counts.
 */
export function requestCookie(
  headers: HeaderLines,
  name: string,
  maxLength: number = MAX_COOKIE_LENGTH,
): string | undefined {
  for (const header of headerValues(headers, 'cookie')) {
    for (const pair of header.split(';', MAX_COOKIES)) {
      const equals = pair.indexOf('=')
      if (equals === -1 || pair.slice(0, equals).trim() !== name) continue
      const value = pair.slice(equals + 1).trim()
      return value.length <= maxLength && isCookieValue(value) ? value : undefined
    }
  }
  return undefined
}

/** A `Set-Cookie` line of a gateway. An empty value deletes the cookie. */
export function setCookie(name: string, value: string): readonly [string, string] {
  const expiry = value === '' ? '; expires=Thu, 01 Jan 1970 00:00:00 GMT' : ''
  return ['Set-Cookie', `${name}=${value}${expiry}; path=/; Secure; HttpOnly`]
}

/** The cookies of one login as its client keeps them: at most 16, values of at most 16 KiB; what is beyond is not kept. */
export class CookieJar {
  private readonly values = new Map<string, string>()

  /** Takes over the `Set-Cookie` lines of a reply. */
  update(headers: HeaderLines): void {
    for (const line of headerValues(headers, 'set-cookie')) {
      const end = line.indexOf(';')
      const pair = end === -1 ? line : line.slice(0, end)
      const equals = pair.indexOf('=')
      if (equals === -1) continue
      const name = pair.slice(0, equals).trim()
      const value = pair.slice(equals + 1).trim()
      if (!NAME.test(name)) continue
      if (value === '') this.values.delete(name)
      else if (!isCookieValue(value)) continue
      else if (this.values.has(name) || this.values.size < MAX_COOKIES) this.values.set(name, value)
    }
  }

  get(name: string): string | undefined {
    return this.values.get(name)
  }

  clear(): void {
    this.values.clear()
  }

  /** The `Cookie` line for a request, if there is anything to send. */
  header(): string | undefined {
    return this.values.size === 0 ? undefined : [...this.values].map(([name, value]) => `${name}=${value}`).join('; ')
  }
}
