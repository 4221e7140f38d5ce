import { describe, expect, test } from 'vitest'
import { COOKIE_BYTES, CookieJar } from '../../src/handshake/cookie.ts'
import type { ClientHello } from '../../src/handshake/messages/client-hello.ts'
import { nodeCrypto } from '../../src/io/index.ts'
import { SeededRandom } from '../seeded-random.ts'

const hello: ClientHello = {
  version: 0xfefd,
  random: new Uint8Array(32).fill(3),
  sessionId: new Uint8Array(32).fill(4),
  cookie: new Uint8Array(0),
  cipherSuites: [0xa8, 0xa9],
  compressionMethods: Uint8Array.of(0),
  extensions: new Map(),
}

function jar(): CookieJar {
  return new CookieJar(nodeCrypto, new SeededRandom(1), 30_000)
}

describe('a cookie (RFC 6347 §4.2.1)', () => {
  test('is accepted from the same endpoint with the same hello, whatever its extensions', () => {
    const cookies = jar()
    const cookie = cookies.make('192.0.2.1', 4433, hello, 0)
    expect(cookie.length).toBe(COOKIE_BYTES)
    expect(cookies.accepts('192.0.2.1', 4433, { ...hello, cookie }, 10)).toBe(true)
    const extensions = new Map([[23, new Uint8Array(0)]])
    expect(cookies.accepts('192.0.2.1', 4433, { ...hello, cookie, extensions }, 10)).toBe(true)
  })

  const changes: [string, string, number, Partial<ClientHello>][] = [
    ['another host', '192.0.2.2', 4433, {}],
    ['another port', '192.0.2.1', 4434, {}],
    ['another version', '192.0.2.1', 4433, { version: 0xfeff }],
    ['another random', '192.0.2.1', 4433, { random: new Uint8Array(32).fill(5) }],
    ['another session id', '192.0.2.1', 4433, { sessionId: new Uint8Array(31).fill(4) }],
    ['other suites', '192.0.2.1', 4433, { cipherSuites: [0xa9, 0xa8] }],
    ['other compression', '192.0.2.1', 4433, { compressionMethods: Uint8Array.of(0, 1) }],
  ]
  test.each(changes)('is refused with %s', (_name, host, port, fields) => {
    const cookies = jar()
    const cookie = cookies.make('192.0.2.1', 4433, hello, 0)
    expect(cookies.accepts(host, port, { ...hello, ...fields, cookie }, 10)).toBe(false)
  })

  test('is refused when any bit is wrong, or when it is shorter or longer', () => {
    const cookies = jar()
    const cookie = cookies.make('h', 1, hello, 0)
    for (let bit = 0; bit < cookie.length * 8; bit++) {
      const forged = cookie.slice()
      forged[bit >> 3]! ^= 1 << (bit & 7)
      expect(cookies.accepts('h', 1, { ...hello, cookie: forged }, 0)).toBe(false)
    }
    expect(cookies.accepts('h', 1, { ...hello, cookie: cookie.slice(1) }, 0)).toBe(false)
    expect(cookies.accepts('h', 1, { ...hello, cookie: Uint8Array.of(...cookie, 0) }, 0)).toBe(false)
    expect(cookies.accepts('h', 1, hello, 0)).toBe(false)
  })

  test('lives for one to two lifetimes', () => {
    for (const madeAt of [0, 29_000]) {
      const cookies = jar()
      cookies.make('h', 1, hello, 0)
      const cookie = cookies.make('h', 1, hello, madeAt)
      expect(cookies.accepts('h', 1, { ...hello, cookie }, madeAt + 30_000)).toBe(true)
      expect(cookies.accepts('h', 1, { ...hello, cookie }, madeAt + 60_000)).toBe(false)
    }
  })

  test('dies while nothing happens', () => {
    const cookies = jar()
    const cookie = cookies.make('h', 1, hello, 0)
    expect(cookies.accepts('h', 1, { ...hello, cookie }, 1_000_000)).toBe(false)
  })

  test('of another server is worth nothing', () => {
    const cookie = jar().make('h', 1, hello, 0)
    const other = new CookieJar(nodeCrypto, new SeededRandom(2), 30_000)
    expect(other.accepts('h', 1, { ...hello, cookie }, 0)).toBe(false)
  })
})
