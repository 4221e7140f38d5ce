import { expect, test } from 'vitest'
import { equalBytes } from '../../src/crypto/constant-time.ts'
import { prf } from '../../src/crypto/prf.ts'
import { nodeCrypto } from '../../src/io/index.ts'
import { bytes } from '../bytes.ts'

// The vectors for P_SHA256 and P_SHA384 that went over the TLS working group's list in 2008 and 2009.
const vectors = [
  {
    hash: 'sha256',
    secret: '9bbe436ba940f017b17652849a71db35',
    seed: 'a0ba9f936cda311827a6f796ffd5198c',
    output:
      'e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af0fa0' +
      '22f7077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff70187347b66',
  },
  {
    hash: 'sha384',
    secret: 'b80b733d6ceefcdc71566ea48e5567df',
    seed: 'cd665cf6a8447dd6ff8b27555edb7465',
    output:
      '7b0c18e9ced410ed1804f2cfa34a336a1c14dffb4900bb5fd7942107e81c83cde9ca0faa60be9fe34f82b1233c9146a0e534' +
      'cb400fed2700884f9dc236f80edd8bfa961144c9e8d792eca722a7b32fc3d416d473ebc2c5fd4abfdad05d9184259b5bf8cd' +
      '4d90fa0d31e2dec479e4f1a26066f2eea9a69236a3e52655c9e9aee691c8f3a26854308d5eaa3be85e0990703d73e56f',
  },
] as const

test.each(vectors)(
  'the TLS 1.2 PRF with $hash gives the known bytes (RFC 5246 §5)',
  ({ hash, secret, seed, output }) => {
    const expected = bytes(output)
    expect(prf(nodeCrypto, hash, bytes(secret), 'test label', bytes(seed), expected.length)).toEqual(expected)
    // Any shorter output is its beginning.
    for (const length of [1, 12, 31, 32, 33, 48, 49]) {
      const part = prf(nodeCrypto, hash, bytes(secret), 'test label', bytes(seed), length)
      expect(part).toEqual(expected.slice(0, length))
    }
  },
)

test('bytes are equal only if all are', () => {
  expect(equalBytes(bytes('0102'), bytes('0102'))).toBe(true)
  expect(equalBytes(bytes(''), bytes(''))).toBe(true)
  expect(equalBytes(bytes('0102'), bytes('0103'))).toBe(false)
  expect(equalBytes(bytes('8102'), bytes('0102'))).toBe(false)
  expect(equalBytes(bytes('0102'), bytes('010200'))).toBe(false)
})
