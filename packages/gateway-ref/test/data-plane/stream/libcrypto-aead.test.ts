import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { nodeTlsCrypto, type TlsAeadMaker, type TlsAeadName } from '@twinbore/core/io'
import { randomBelow, seededRandom } from '@twinbore/core/runtime'
import { loadLibcrypto } from '@twinbore/dtls/io'
import { describe, expect, test } from 'vitest'
import { libcryptoAead } from '../../../src/data-plane/stream/io/libcrypto-aead.ts'
import {
  streamCipher,
  streamCipherSupport,
  testStreamCiphers,
} from '../../../src/data-plane/stream/io/stream-ciphers.ts'

const names: readonly TlsAeadName[] = ['aes-128-gcm', 'aes-256-gcm', 'chacha20-poly1305']
const keyOf = (name: TlsAeadName, fill: number) => new Uint8Array(name === 'aes-128-gcm' ? 16 : 32).fill(fill)

test('here records go through libcrypto', () => {
  expect(streamCipherSupport()).toEqual({ kind: 'evp' })
})

describe.each(names)('%s', name => {
  test('gives the bytes of node:crypto both ways, at any place of any buffer', () => {
    const random = seededRandom(5)
    const next = (bound: number) => randomBelow(random, bound)
    const make = libcryptoAead(loadLibcrypto())
    const [seal, open] = [make(name, keyOf(name, 3), 'seal'), make(name, keyOf(name, 3), 'open')]
    const reference = nodeTlsCrypto.aead(name, keyOf(name, 3), 'seal')
    const slab = new Uint8Array(new ArrayBuffer(40_000))
    for (let round = 0; round < 400; round++) {
      const length = next(4) === 0 ? next(16_385) : next(1500)
      const at = 13 + next(100)
      const bytes = next(2) === 0 ? slab : new Uint8Array(at + length + 16 + next(3))
      random.fill(bytes.subarray(0, at + length))
      const plaintext = bytes.slice(at, at + length)
      const nonce = random.fill(new Uint8Array(12))
      const aadLength = next(2) === 0 ? 5 : 13
      const expected = bytes.slice(0, at + length + 16)
      reference.seal(expected, at, length, nonce, expected, at - aadLength, aadLength)
      seal.seal(bytes, at, length, nonce, bytes, at - aadLength, aadLength)
      expect(Buffer.compare(bytes.subarray(0, at + length + 16), expected)).toBe(0)
      // To another buffer, or to another place of the same one.
      const output = next(2) === 0 ? slab : new Uint8Array(length + 20)
      const outputAt = output === slab ? 20_000 : next(20)
      expect(open.open(bytes, at, length, output, outputAt, nonce, bytes, at - aadLength, aadLength)).toBe(true)
      expect(Buffer.compare(output.subarray(outputAt, outputAt + length), plaintext)).toBe(0)
    }
    for (const aead of [seal, open, reference]) aead.dispose()
  })

  test('opens nothing that was changed, and goes on after it', () => {
    const make = libcryptoAead(loadLibcrypto())
    const [seal, open] = [make(name, keyOf(name, 1), 'seal'), make(name, keyOf(name, 1), 'open')]
    const nonce = new Uint8Array(12)
    const sealed = new Uint8Array(5 + 20 + 16)
    seal.seal(sealed, 5, 20, nonce, sealed, 0, 5)
    const output = new Uint8Array(20)
    for (let at = 0; at < sealed.length; at++) {
      const changed = sealed.slice()
      changed[at]! ^= 1
      expect(open.open(changed, 5, 20, output, 0, nonce, changed, 0, 5)).toBe(false)
      expect(open.open(sealed, 5, 20, output, 0, nonce, sealed, 0, 5)).toBe(true)
    }
    expect(open.open(sealed, 5, 20, output, 0, new Uint8Array(12).fill(1), sealed, 0, 5)).toBe(false)
    seal.dispose()
    open.dispose()
  })

  test('refuses ranges beyond its buffers, and work after its end', () => {
    const make = libcryptoAead(loadLibcrypto())
    const [seal, open] = [make(name, keyOf(name, 1), 'seal'), make(name, keyOf(name, 1), 'open')]
    const bytes = new Uint8Array(100)
    const nonce = new Uint8Array(12)
    expect(() => seal.seal(bytes, 5, 80, nonce, bytes, 0, 5)).toThrow(RangeError)
    expect(() => seal.seal(bytes, -1, 8, nonce, bytes, 0, 5)).toThrow(RangeError)
    expect(() => open.open(bytes, 5, 80, bytes, 0, nonce, bytes, 0, 5)).toThrow(RangeError)
    expect(() => open.open(bytes, 5, 50, bytes, 60, nonce, bytes, 0, 5)).toThrow(RangeError)
    seal.dispose()
    seal.dispose()
    expect(() => seal.seal(bytes, 5, 10, nonce, bytes, 0, 5)).toThrow(TypeError)
    open.dispose()
  })

  test('a buffer whose address is not told is worked on in a copy', () => {
    const library = loadLibcrypto()
    let told = true
    const make = libcryptoAead({
      ...library,
      addressOf: buffer => {
        if (!told) throw new TypeError('no address')
        return library.addressOf(buffer)
      },
    })
    told = false
    expect(testStreamCiphers(make)).toBeUndefined()
  })
})

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

test('ciphers that wait do not keep the buffers of their last records', async () => {
  const make = libcryptoAead(loadLibcrypto())
  const nonce = new Uint8Array(12)
  const buffers: WeakRef<Uint8Array>[] = []
  const use = (): ReturnType<TlsAeadMaker>[] => {
    const [seal, open] = [
      make('aes-128-gcm', keyOf('aes-128-gcm', 1), 'seal'),
      make('aes-128-gcm', keyOf('aes-128-gcm', 1), 'open'),
    ]
    const [sealed, opened] = [new Uint8Array(new ArrayBuffer(65_536)), new Uint8Array(new ArrayBuffer(65_536))]
    seal.seal(sealed, 5, 20, nonce, sealed, 0, 5)
    open.open(sealed, 5, 20, opened, 0, nonce, sealed, 0, 5)
    buffers.push(new WeakRef(sealed), new WeakRef(opened))
    return [seal, open]
  }
  const ciphers = Array.from({ length: 50 }, use).flat()
  // A WeakRef that was made or read in this turn holds on to its target.
  await new Promise(setImmediate)
  collect()
  // Those of the last call are still known.
  expect(buffers.filter(buffer => buffer.deref() !== undefined).length).toBeLessThanOrEqual(2)
  for (const cipher of ciphers) cipher.dispose()
})

describe('the self-test', () => {
  const broken = (change: Partial<ReturnType<TlsAeadMaker>>): TlsAeadMaker => {
    return (name, key, direction) => {
      const aead = streamCipher(name, key, direction)
      return {
        seal: aead.seal.bind(aead),
        open: aead.open.bind(aead),
        dispose: aead.dispose.bind(aead),
        ...change,
      }
    }
  }
  test('passes what is right', () => expect(testStreamCiphers(broken({}))).toBeUndefined())
  test.each([
    ['sealed differently', { seal: () => {} }],
    ['not opened', { open: () => false }],
    ['opened differently', { open: () => true }],
  ])('finds what is wrong: %s', (failure, change) => {
    expect(testStreamCiphers(broken(change))).toMatch(new RegExp(`^aes-128-gcm, 1 bytes: ${failure}$`))
  })
})
