import { createCipheriv } from 'node:crypto'
import { expect, test } from 'vitest'
import { cipherSuites } from '../../src/index.ts'
import { nodeCrypto } from '../../src/io/index.ts'
import { OpenFailure, ReadEpoch, WriteEpoch } from '../../src/record/epoch-keys.ts'
import { MAX_SEQUENCE } from '../../src/record/record-header.ts'
import { RecordProtection } from '../../src/record/record-protection.ts'
import { bytes, text } from '../bytes.ts'

const [gcm128, , chacha] = cipherSuites
const content = text('a record of the data channel')

function protection(suite = gcm128!): RecordProtection {
  const key = new Uint8Array(suite.keyBytes).map((_, i) => i)
  const iv = new Uint8Array(suite.fixedIvBytes).map((_, i) => 0xa0 + i)
  return new RecordProtection(nodeCrypto, suite, key, iv)
}

function sealed(suite = gcm128!, sequence = 0x010203040506): Uint8Array {
  const keys = protection(suite)
  const record = new Uint8Array(keys.overhead + content.length)
  record.set(content, keys.headerBytes)
  keys.seal(record, 0, 23, 1, sequence, content.length)
  return record
}

test('a GCM record carries epoch and sequence number as its explicit nonce (RFC 5288 §3)', () => {
  const record = sealed()
  expect(record.slice(0, 13)).toEqual(bytes(`17 fefd 0001 010203040506 00${(8 + content.length + 16).toString(16)}`))
  expect(record.slice(13, 21)).toEqual(bytes('0001 010203040506'))
  // The same by hand: nonce = fixed IV, explicit nonce; additional data = RFC 5246 §6.2.3.3.
  const key = Uint8Array.from({ length: 16 }, (_, i) => i)
  const cipher = createCipheriv('aes-128-gcm', key, bytes('a0a1a2a3 0001010203040506'))
  cipher.setAAD(bytes(`0001010203040506 17 fefd 00${content.length.toString(16)}`))
  const expected = Buffer.concat([cipher.update(content), cipher.final(), cipher.getAuthTag()])
  expect(record.slice(21)).toEqual(Uint8Array.from(expected))
})

test('a ChaCha20-Poly1305 record has no explicit nonce; the IV is XORed with the number (RFC 7905 §2)', () => {
  const record = sealed(chacha)
  const key = Uint8Array.from({ length: 32 }, (_, i) => i)
  const nonce = bytes('a0a1a2a3 a4a4a7a5abadafad')
  const cipher = createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: 16 })
  cipher.setAAD(bytes(`0001010203040506 17 fefd 00${content.length.toString(16)}`), { plaintextLength: content.length })
  const expected = Buffer.concat([cipher.update(content), cipher.final(), cipher.getAuthTag()])
  expect(record.slice(13)).toEqual(Uint8Array.from(expected))
})

test('every bit of a record is authenticated', () => {
  for (const suite of cipherSuites) {
    const keys = protection(suite)
    const record = sealed(suite)
    for (let bit = 0; bit < record.length * 8; bit++) {
      const byte = bit >> 3
      // The length is checked by whoever finds the end of the record.
      if (byte === 11 || byte === 12) continue
      const forged = record.slice()
      forged[byte]! ^= 1 << (bit & 7)
      expect(keys.open(forged, 0, forged.length, true)).toBe(-1)
    }
    expect(keys.open(record, 0, record.length, false)).toBe(content.length)
    expect(record.slice(keys.headerBytes, keys.headerBytes + content.length)).toEqual(content)
  }
})

test('a record that is too short for nonce and tag is not tried (CVE-2026-75806)', () => {
  for (const suite of cipherSuites) {
    const keys = protection(suite)
    for (let length = 13; length < keys.overhead; length++) {
      expect(keys.open(new Uint8Array(length), 0, length, false)).toBe(-2)
    }
    expect(keys.open(new Uint8Array(keys.overhead), 0, keys.overhead, false)).toBe(-1)
  }
})

test('the replay window moves only for records that authenticate (CVE-2016-2181)', () => {
  const epoch = new ReadEpoch(protection())
  const forged = sealed(gcm128, 5000)
  forged[30]! ^= 1
  expect(epoch.open(forged, 0, forged.length, 5000, true)).toBe(OpenFailure.notAuthenticated)
  expect(epoch.forgeries).toBe(1)
  expect(epoch.window.highest).toBe(-1)
  const record = sealed(gcm128, 7)
  const copy = record.slice()
  expect(epoch.open(record, 0, record.length, 7, false)).toBe(content.length)
  expect(epoch.open(copy, 0, copy.length, 7, false)).toBe(OpenFailure.replayed)
  expect(epoch.window.highest).toBe(7)
})

test('a sequence number is used once, and the last one never', () => {
  const epoch = new WriteEpoch(1, protection(), MAX_SEQUENCE - 2)
  const record = new Uint8Array(epoch.overhead)
  for (const last of [0xfd, 0xfe]) {
    expect(epoch.exhausted).toBe(false)
    epoch.write(record, 0, 23, 0, 0xfefd)
    expect(record.slice(5, 11)).toEqual(bytes(`ffffffffff${last.toString(16)}`))
  }
  expect(epoch.exhausted).toBe(true)
})
