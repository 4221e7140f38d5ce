import { createHash, createHmac } from 'node:crypto'
import { expect, test } from 'vitest'
import { nodeCrypto } from '../../src/io/index.ts'
import { bytes } from '../bytes.ts'
import { SeededRandom } from '../seeded-random.ts'

const plaintext60 =
  'd9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39'

// Test cases 4 and 16 of the GCM specification (McGrew, Viega), and RFC 8439 §2.8.2.
const vectors = [
  {
    name: 'aes-128-gcm',
    key: 'feffe9928665731c6d6a8f9467308308',
    nonce: 'cafebabefacedbaddecaf888',
    aad: 'feedfacedeadbeeffeedfacedeadbeefabaddad2',
    plaintext: plaintext60,
    sealed:
      '42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091' +
      '5bc94fbc3221a5db94fae95ae7121a47',
  },
  {
    name: 'aes-256-gcm',
    key: 'feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308',
    nonce: 'cafebabefacedbaddecaf888',
    aad: 'feedfacedeadbeeffeedfacedeadbeefabaddad2',
    plaintext: plaintext60,
    sealed:
      '522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662' +
      '76fc6ece0f4e1768cddf8853bb2d551b',
  },
  {
    name: 'chacha20-poly1305',
    key: '808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f',
    nonce: '070000004041424344454647',
    aad: '50515253c0c1c2c3c4c5c6c7',
    plaintext:
      '4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a204966204920636f756c64206f66666572' +
      '20796f75206f6e6c79206f6e652074697020666f7220746865206675747572652c2073756e73637265656e20776f756c642062652069742e',
    sealed:
      'd31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6' +
      'a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b6116' +
      '1ae10b594f09e26a7e902ecbd0600691',
  },
] as const

test.each(vectors)('$name seals and opens the known bytes in place', vector => {
  const aead = nodeCrypto.aead(vector.name, bytes(vector.key))
  const plaintext = bytes(vector.plaintext)
  const slab = new Uint8Array(plaintext.length + 16 + 20).fill(0xee)
  slab.set(plaintext, 7)
  aead.seal(slab, 7, plaintext.length, bytes(vector.nonce), bytes(vector.aad))
  expect(slab.slice(7, 7 + plaintext.length + 16)).toEqual(bytes(vector.sealed))
  expect(slab.slice(0, 7)).toEqual(new Uint8Array(7).fill(0xee))
  expect(slab.slice(-13)).toEqual(new Uint8Array(13).fill(0xee))
  expect(aead.open(slab, 7, plaintext.length, bytes(vector.nonce), bytes(vector.aad))).toBe(true)
  expect(slab.slice(7, 7 + plaintext.length)).toEqual(plaintext)
})

test.each(vectors)('$name leaves bytes alone that do not authenticate', vector => {
  const aead = nodeCrypto.aead(vector.name, bytes(vector.key))
  const sealed = bytes(vector.sealed)
  for (const at of [0, sealed.length - 17, sealed.length - 1]) {
    const forged = sealed.slice()
    forged[at]! ^= 1
    const before = forged.slice()
    expect(aead.open(forged, 0, forged.length - 16, bytes(vector.nonce), bytes(vector.aad))).toBe(false)
    expect(forged).toEqual(before)
  }
})

test('hash and hmac take their input in parts', () => {
  const [a, b] = [bytes('616263'), bytes('646566')]
  const joined = bytes('616263646566')
  for (const name of ['sha256', 'sha384'] as const) {
    expect(nodeCrypto.hash(name, a, b)).toEqual(nodeCrypto.hash(name, joined))
    expect(nodeCrypto.hmac(name, a, a, b)).toEqual(nodeCrypto.hmac(name, a, joined))
  }
  // FIPS 180-4, "abc"
  const digest = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
  expect(Uint8Array.from(nodeCrypto.hash('sha256', a))).toEqual(bytes(digest))
})

test('hash and hmac are those of RFC 2104 and node:crypto, for keys and inputs of any length', () => {
  const random = new SeededRandom(3)
  const some = (length: number): Uint8Array => random.fill(new Uint8Array(length))
  for (const name of ['sha256', 'sha384'] as const) {
    for (const keyBytes of [0, 1, 32, 48, 63, 64, 65, 127, 128, 129, 512]) {
      for (const length of [0, 1, 100, 3900, 3968, 4032, 4095, 4096, 4097, 70_000]) {
        const [key, a, b] = [some(keyBytes), some(length >> 1), some(length - (length >> 1))]
        expect(nodeCrypto.hmac(name, key, a, b)).toEqual(createHmac(name, key).update(a).update(b).digest())
        expect(nodeCrypto.hash(name, a, b)).toEqual(createHash(name).update(a).update(b).digest())
      }
    }
  }
  // RFC 4231 §4.3
  const digest = '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843'
  const mac = nodeCrypto.hmac(
    'sha256',
    bytes('4a656665'),
    bytes('7768617420646f2079612077616e7420666f72206e6f7468696e673f'),
  )
  expect(Uint8Array.from(mac)).toEqual(bytes(digest))
})
