import { execFileSync } from 'node:child_process'
// Every way to protect records gives the same bytes, and opens what the others sealed.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type CryptoProvider, cipherSuites, InvariantError } from '../../src/index.ts'
import { nodeCrypto, recordContexts, recordProtectionSupport, systemCrypto } from '../../src/io/index.ts'
import { loadLibcrypto } from '../../src/io/libcrypto.ts'
import { libcryptoRecords } from '../../src/io/libcrypto-records.ts'
import { testRecordCiphers } from '../../src/io/record-self-test.ts'
import { AeadRecordCipher } from '../../src/record/aead-record-cipher.ts'
import { MAX_SEQUENCE } from '../../src/record/record-header.ts'
import { RecordProtection } from '../../src/record/record-protection.ts'
import { World } from '../world.ts'

const library = loadLibcrypto()
const fast = libcryptoRecords(library, 'tls-mode')
const stepped = libcryptoRecords(library, 'evp')
const providers: readonly (readonly [string, CryptoProvider])[] = [
  ['node', nodeCrypto],
  ['tls-mode', { ...nodeCrypto, records: fast.make }],
  ['evp', { ...nodeCrypto, records: stepped.make }],
]
// A run here is some hundred records, a run of the other random tests one datagram.
const numRuns = Math.ceil(Number(process.env.FUZZ_RUNS ?? 60_000) / 1000)
const timeout = 5000 + 100 * numRuns
const seed = Number(process.env.FUZZ_SEED ?? 1)

test('this system has the fast way', () => {
  expect(recordProtectionSupport()).toEqual({ kind: 'tls-mode' })
  expect(systemCrypto.records).toBeDefined()
})

test.each(cipherSuites)('$name: the same bytes, and each opens the bytes of the others', { timeout }, suite => {
  const record = fc.record({
    key: fc.uint8Array({ minLength: suite.keyBytes, maxLength: suite.keyBytes }),
    fixedIv: fc.uint8Array({ minLength: suite.fixedIvBytes, maxLength: suite.fixedIvBytes }),
    numbers: fc.array(
      fc.tuple(
        fc.oneof(
          fc.maxSafeNat().map(n => n % MAX_SEQUENCE),
          fc.nat(3),
          fc.constant(MAX_SEQUENCE - 1),
        ),
        fc.oneof(fc.integer({ min: 1, max: 16_384 }), fc.integer({ min: 1, max: 64 }), fc.constant(16_384)),
      ),
      { minLength: 1, maxLength: 5 },
    ),
    epoch: fc.integer({ min: 1, max: 65_535 }),
    offset: fc.nat(40),
    // Short arrays take another way than slabs.
    isSlab: fc.boolean(),
    filler: fc.nat(255),
  })
  fc.assert(
    fc.property(record, ({ key, fixedIv, numbers, epoch, offset, isSlab, filler }) => {
      const protections = providers.map(([, crypto]) => new RecordProtection(crypto, suite, key, fixedIv))
      const { headerBytes, overhead } = protections[0]!
      try {
        // A run that follows on, as records mostly do.
        const run = numbers.flatMap(([sequence, length]) => [0, 1, 2].map(i => [sequence + i, length] as const))
        for (const [sequence, length] of run.filter(([sequence]) => sequence < MAX_SEQUENCE)) {
          const size = isSlab ? 20_000 : offset + overhead + length + 7
          const sealed = protections.map(protection => {
            const bytes = new Uint8Array(size).fill(filler)
            for (let i = 0; i < length; i++) bytes[offset + headerBytes + i] = i * 7 + filler
            protection.seal(bytes, offset, 23, epoch, sequence, length)
            return bytes
          })
          for (const other of sealed) expect(Buffer.compare(other, sealed[0]!)).toBe(0)
          for (const protection of protections) {
            for (const keeps of [true, false]) {
              const copy = sealed[0]!.slice()
              expect(protection.open(copy, offset, offset + overhead + length, keeps)).toBe(length)
              for (const i of [0, length >> 1, length - 1]) {
                expect(copy[offset + headerBytes + i]).toBe((i * 7 + filler) & 0xff)
              }
            }
          }
        }
      } finally {
        for (const protection of protections) protection.dispose()
      }
    }),
    { numRuns, seed },
  )
  expect(fast.contexts + stepped.contexts).toBe(0)
})

describe.each(providers)('%s', (_, crypto) => {
  test('refuses forged records, and leaves them alone when asked to', () => {
    for (const suite of cipherSuites) {
      const protection = new RecordProtection(
        crypto,
        suite,
        new Uint8Array(suite.keyBytes).fill(3),
        new Uint8Array(suite.fixedIvBytes),
      )
      for (const size of [200, 20_000]) {
        const record = new Uint8Array(size)
        protection.seal(record, 9, 23, 1, 77, 100)
        const end = 9 + protection.overhead + 100
        for (let at = 9; at < end; at++) {
          if (at === 9 + 11 || at === 9 + 12) continue
          const forged = record.slice()
          forged[at]! ^= 1
          const before = forged.slice()
          expect(protection.open(forged, 9, end, true)).toBe(-1)
          expect(Buffer.compare(forged, before)).toBe(0)
          expect(protection.open(forged, 9, end, false)).toBe(-1)
        }
        // A failure spoils nothing for the next record.
        expect(protection.open(record, 9, end, false)).toBe(100)
      }
      protection.dispose()
    }
  })
})

describe('the self-test', () => {
  test('passes for every way', () => {
    expect(testRecordCiphers((name, key, iv) => new AeadRecordCipher(nodeCrypto.aead(name, key), iv))).toBeUndefined()
    expect(testRecordCiphers(fast.make)).toBeUndefined()
    expect(testRecordCiphers(stepped.make)).toBeUndefined()
  })

  test('passes for the libcrypto of the system, too, where it is as old as that of node; another one is refused', () => {
    const system = execFileSync('openssl', ['version'], { encoding: 'utf8' }).split(' ')[1]!
    const minorOf = (version: string) => version.split('.').slice(0, 2).join('.')
    if (minorOf(system) !== minorOf(process.versions.openssl)) {
      expect(() => loadLibcrypto(['libcrypto.so.3'])).toThrow(`it is OpenSSL ${minorOf(system)}, node has`)
      return
    }
    const other = loadLibcrypto(['libcrypto.so.3'])
    expect(other.origin).toBe('libcrypto.so.3')
    for (const mode of ['tls-mode', 'evp'] as const) {
      expect(testRecordCiphers(libcryptoRecords(other, mode).make)).toBeUndefined()
    }
    expect(() => loadLibcrypto([])).toThrow(Error)
  })

  test('finds a cipher that opens everything, one that seals with another nonce, and one that spoils what it should keep', () => {
    expect(
      testRecordCiphers((name, key, iv, direction) => {
        const cipher = fast.make(name, key, iv, direction)
        return { seal: cipher.seal.bind(cipher), dispose: () => cipher.dispose(), open: () => true }
      }),
    ).toMatch(/wrong byte/)
    expect(
      testRecordCiphers((name, key, iv, direction) => {
        const cipher = fast.make(name, key, iv, direction)
        return {
          seal: (bytes, at, length, epoch, sequence) => {
            cipher.seal(bytes, at, length, epoch, sequence)
            if (sequence > 2 ** 32) bytes[at + 13]! ^= 1
          },
          open: cipher.open.bind(cipher),
          dispose: () => cipher.dispose(),
        }
      }),
    ).toMatch(/differs/)
    expect(
      testRecordCiphers((name, key, iv, direction) => {
        const cipher = fast.make(name, key, iv, direction)
        return {
          seal: cipher.seal.bind(cipher),
          open: (bytes, at, length) => cipher.open(bytes, at, length, false),
          dispose: () => cipher.dispose(),
        }
      }),
    ).toMatch(/was changed/)
  })
})

describe('contexts outside the heap', () => {
  const suite = cipherSuites[0]!
  const crypto = { ...nodeCrypto, records: fast.make }

  const expectContexts = (count: number): void => {
    if (fast.contexts !== count) throw new Error(`${fast.contexts} contexts instead of ${count}`)
  }

  test('are made at first use and given back, over 100,000 associations', () => {
    const record = new Uint8Array(20_000)
    const use = (n: number): void => {
      const protection = new RecordProtection(crypto, suite, new Uint8Array(16), new Uint8Array(4))
      expectContexts(0)
      protection.seal(record, 0, 23, 1, n, 10)
      if (protection.open(record, 0, 10 + protection.overhead, false) !== 10) throw new Error('not opened')
      expectContexts(2)
      protection.dispose()
      protection.dispose()
      expectContexts(0)
    }
    for (let n = 0; n < 20_000; n++) use(n)
    const before = process.memoryUsage.rss()
    for (let n = 0; n < 100_000; n++) use(n)
    // 200,000 contexts of more than 700 bytes would be 140 MB.
    expect(process.memoryUsage.rss() - before).toBeLessThan(70e6)
  })

  test('are not used after that, nor is memory outside an array', () => {
    for (const records of [fast, stepped]) {
      const cipher = records.make('aes-128-gcm', new Uint8Array(16), new Uint8Array(4), 'open')
      const slab = new Uint8Array(20_000)
      for (const [at, length] of [
        [-1, 10],
        [19_990, 10],
        [0, 20_000],
      ] as const) {
        expect(() => cipher.open(slab, at, length, false)).toThrow(InvariantError)
        expect(() => cipher.seal(slab, at, length, 1, 0)).toThrow(InvariantError)
      }
      structuredClone(slab.buffer, { transfer: [slab.buffer] })
      expect(() => cipher.open(slab, 0, 10, false)).toThrow(InvariantError)
      cipher.dispose()
      expect(() => cipher.open(new Uint8Array(20_000), 0, 10, false)).toThrow(InvariantError)
      expect(() => cipher.seal(new Uint8Array(100), 0, 10, 1, 0)).toThrow(InvariantError)
    }
  })

  test('go with the association, however it ends', () => {
    const before = recordContexts()
    const world = new World(1, {}, { crypto: systemCrypto })
    for (let n = 0; n < 20; n++) world.connect({ crypto: systemCrypto, sessionId: Uint8Array.of(n) })
    world.run(1000)
    for (const client of world.clients) world.send(client, 'a')
    world.run(1000)
    expect(world.receivedByServer.length).toBe(20)
    expect(recordContexts() - before).toBe(4 * 20)
    // Ended by the server, by the client, and by another handshake with the same session id.
    for (let n = 0; n < 5; n++) world.server.close(n, world.now)
    for (const client of world.clients.slice(5, 10)) client.association.close(world.now)
    for (let n = 10; n < 20; n++) world.connect({ crypto: systemCrypto, sessionId: Uint8Array.of(n) }, 100 + n)
    world.run(1000)
    expect(world.server.associationCount).toBe(10)
    for (const client of world.clients) client.association.close(world.now)
    world.run(1000)
    expect(world.server.associationCount).toBe(0)
    expect(recordContexts()).toBe(before)
  })
})
