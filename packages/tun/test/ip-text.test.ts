import { isIPv4, isIPv6 } from 'node:net'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { addressBytes, addressText, parsePrefix } from '../src/ip-text.ts'

const addresses = fc.oneof(fc.ipV4(), fc.ipV6())

test('reads exactly what the system takes for an address', () => {
  const texts = fc.oneof(addresses, fc.stringMatching(/^[0-9a-f:.]{0,20}$/), fc.string())
  fc.assert(
    fc.property(texts, text => {
      const valid = isIPv4(text) || (isIPv6(text) && !text.includes('%'))
      expect(addressBytes(text) !== undefined).toBe(valid)
    }),
    { numRuns: 5000 },
  )
})

test('bytes to text to bytes is identity', () => {
  const bytes = fc.oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }))
  fc.assert(fc.property(bytes, value => void expect(addressBytes(addressText(value))).toEqual(value)))
})

test('text is canonical (RFC 5952 §4)', () => {
  for (const [given, canonical] of [
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['1:0:0:0:0:0:0:0', '1::'],
    ['::1', '::1'],
  ]) {
    expect(addressText(addressBytes(given!)!)).toBe(canonical)
  }
})

test.each([
  ['10.0.0.1/24', 4, 24],
  ['10.0.0.1', 4, 32],
  ['fd00::1/0', 16, 0],
  ['fd00::1', 16, 128],
])('reads the prefix %s', (text, size, length) => {
  expect(parsePrefix(text)).toMatchObject({ length })
  expect(parsePrefix(text)!.bytes).toHaveLength(size)
})

test.each(['10.0.0.1/33', '10.0.0.1/', '10.0.0.1/-1', '10.0.0.1/08', 'fd00::/129', '/24', '10.0.0.1/255.0.0.0'])(
  'refuses the prefix %j',
  text => {
    expect(parsePrefix(text)).toBeUndefined()
  },
)
