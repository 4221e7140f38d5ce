import { expect, test } from 'vitest'
import { addressKey } from '../../src/protocol/address-key.ts'
import { CookieJar, isCookieValue, requestCookie, setCookie } from '../../src/protocol/cookies.ts'
import { base64url, hex } from '../../src/protocol/text-codes.ts'

test.each([
  ['webvpn=abc', 'abc'],
  ['other=1; webvpn=a=b==; x=2', 'a=b=='],
  [' webvpn = abc ', 'abc'],
  ['webvpn=first; webvpn=second', 'first'],
  ['webvpncontext=no; xwebvpn=no', undefined],
  ['webvpn=', undefined],
  ['webvpn', undefined],
  ['webvpn=a b', undefined],
  ['webvpn="abc"', undefined],
  ['webvpn=a\u00e9', undefined],
  [`webvpn=${'a'.repeat(16_385)}`, undefined],
])('finds the session cookie of %j', (header, expected) => {
  expect(requestCookie([['COOKIE', header]], 'webvpn')).toBe(expected)
})

test('a cookie longer than asked for is no cookie', () => {
  const headers = [['Cookie', 'webvpncontext=1234']] as const
  expect(requestCookie(headers, 'webvpncontext', 4)).toBe('1234')
  expect(requestCookie(headers, 'webvpncontext', 3)).toBeUndefined()
})

test('the jar follows what a gateway sets, renews and deletes', () => {
  const jar = new CookieJar()
  jar.update([
    setCookie('webvpncontext', 'one'),
    setCookie('webvpn', 'two'),
    ['Set-Cookie', 'webvpnc=bu:/&p:t; path=/'],
  ])
  expect(jar.header()).toBe('webvpncontext=one; webvpn=two; webvpnc=bu:/&p:t')
  jar.update([setCookie('webvpncontext', ''), setCookie('webvpn', 'three')])
  expect(jar.header()).toBe('webvpn=three; webvpnc=bu:/&p:t')
  jar.clear()
  expect(jar.header()).toBeUndefined()
})

test('the jar holds 16 cookies and no nonsense', () => {
  const jar = new CookieJar()
  jar.update(Array.from({ length: 100 }, (_, i) => ['Set-Cookie', `c${i}=${i}`] as const))
  jar.update([
    ['Set-Cookie', 'bad name=1'],
    ['Set-Cookie', 'c0=a\r\nX: y'],
    ['Set-Cookie', 'noequals'],
  ])
  expect(jar.header()?.split('; ')).toHaveLength(16)
  expect(jar.get('c0')).toBe('0')
  expect(jar.get('c16')).toBeUndefined()
})

test('cookie values are printable ASCII of a bounded length', () => {
  expect(isCookieValue('abc_-=/+')).toBe(true)
  for (const text of ['', 'a b', 'a;b', 'a,b', 'a"b', 'a\\b', 'a\nb', 'ü', 'a'.repeat(16_385)]) {
    expect(isCookieValue(text)).toBe(false)
  }
})

test('base64url and hexadecimal digits agree with Node', () => {
  for (let length = 0; length < 40; length++) {
    const bytes = Uint8Array.from({ length }, (_, i) => (i * 151 + 7) & 255)
    expect(base64url(bytes)).toBe(Buffer.from(bytes).toString('base64url'))
    expect(hex(bytes)).toBe(Buffer.from(bytes).toString('hex'))
  }
})

test.each([
  ['192.0.2.7', '192.0.2.7'],
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:1:2::9', '2001:db8:1:2::/64'],
  ['/run/socket', '/run/socket'],
])('limits count %s as %s', (address, key) => {
  expect(addressKey(address)).toBe(key)
})
