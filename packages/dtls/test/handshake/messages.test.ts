import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readClientHello, writeClientHello } from '../../src/handshake/messages/client-hello.ts'
import { readPskIdentity, writePskIdentity } from '../../src/handshake/messages/client-key-exchange.ts'
import { readHelloVerifyRequest, writeHelloVerifyRequest } from '../../src/handshake/messages/hello-verify-request.ts'
import { readServerHello, writeServerHello } from '../../src/handshake/messages/server-hello.ts'
import { readPskIdentityHint } from '../../src/handshake/messages/server-key-exchange.ts'
import { bytes } from '../bytes.ts'

const uint8 = fc.integer({ min: 0, max: 0xff })
const uint16 = fc.integer({ min: 0, max: 0xffff })
const random = fc.uint8Array({ minLength: 32, maxLength: 32 })
const sessionId = fc.uint8Array({ maxLength: 32 })
const extensions = fc
  .uniqueArray(fc.tuple(uint16, fc.uint8Array({ maxLength: 40 })), { selector: ([type]) => type, maxLength: 8 })
  .map(list => new Map(list))
const clientHello = fc.record({
  version: uint16,
  random,
  sessionId,
  cookie: fc.uint8Array({ maxLength: 255 }),
  cipherSuites: fc.array(uint16, { minLength: 1, maxLength: 40 }),
  compressionMethods: fc.uint8Array({ minLength: 1, maxLength: 4 }),
  extensions,
})
const serverHello = fc.record({
  version: uint16,
  random,
  sessionId,
  cipherSuite: uint16,
  compressionMethod: uint8,
  extensions,
})

describe('what is written is read', () => {
  test('ClientHello', () => {
    fc.assert(
      fc.property(clientHello, hello => {
        expect(readClientHello(writeClientHello(hello))).toEqual(hello)
      }),
    )
  })
  test('ServerHello', () => {
    fc.assert(
      fc.property(serverHello, hello => {
        expect(readServerHello(writeServerHello(hello))).toEqual(hello)
      }),
    )
  })
  test('HelloVerifyRequest', () => {
    fc.assert(
      fc.property(uint16, fc.uint8Array({ maxLength: 255 }), (version, cookie) => {
        expect(readHelloVerifyRequest(writeHelloVerifyRequest(version, cookie))).toEqual(cookie)
      }),
    )
  })
  test('ClientKeyExchange, with an identity of any bytes, zeros included (CVE-2026-42010)', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), identity => {
        expect(readPskIdentity(writePskIdentity(identity))).toEqual(identity)
      }),
    )
    expect(readPskIdentity(bytes('0004 70730073'))).toEqual(bytes('70730073'))
  })
})

describe('parsers', () => {
  const parsers = { readClientHello, readServerHello, readHelloVerifyRequest, readPskIdentity, readPskIdentityHint }

  test.each(Object.entries(parsers))('%s takes any bytes', (_name, read) => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), body => {
        read(body)
      }),
      { numRuns: 2000 },
    )
  })

  test.each(Object.entries(parsers))('%s takes whole messages only', (_name, read) => {
    const body: Record<string, Uint8Array> = {
      readClientHello: writeClientHello({
        version: 0xfefd,
        random: new Uint8Array(32),
        sessionId: new Uint8Array(32),
        cookie: new Uint8Array(20),
        cipherSuites: [0xa8, 0xa9],
        compressionMethods: Uint8Array.of(0),
        extensions: new Map([[1, Uint8Array.of(1, 2)]]),
      }),
      readServerHello: writeServerHello({
        version: 0xfefd,
        random: new Uint8Array(32),
        sessionId: new Uint8Array(0),
        cipherSuite: 0xa8,
        compressionMethod: 0,
        extensions: new Map([[1, Uint8Array.of(1, 2)]]),
      }),
      readHelloVerifyRequest: writeHelloVerifyRequest(0xfeff, new Uint8Array(20)),
      readPskIdentity: writePskIdentity(new Uint8Array(9)),
      readPskIdentityHint: writePskIdentity(new Uint8Array(9)),
    }
    const message = body[_name]!
    expect(read(message)).toBeDefined()
    expect(read(Uint8Array.of(...message, 0))).toBeUndefined()
    // Hellos may end before their extensions.
    const end = _name.endsWith('ClientHello') || _name.endsWith('ServerHello') ? message.length - 8 : -1
    for (let length = 0; length < message.length; length++) {
      if (length === end) expect(read(message.slice(0, length))).toMatchObject({ extensions: new Map() })
      else expect(read(message.slice(0, length))).toBeUndefined()
    }
  })

  test('an extension that comes twice spoils a hello', () => {
    const hello = bytes(`fefd ${'01'.repeat(32)} 00 00 0002 00a8 01 00 000a 0017 0000 ff01 0001 00 00`)
    expect(readClientHello(hello)).toBeUndefined()
    const twice = bytes(`fefd ${'01'.repeat(32)} 00 00 0002 00a8 01 00 0008 0017 0000 0017 0000`)
    expect(readClientHello(twice)).toBeUndefined()
    const once = bytes(`fefd ${'01'.repeat(32)} 00 00 0002 00a8 01 00 0008 0017 0000 0018 0000`)
    expect(readClientHello(once)?.extensions.size).toBe(2)
  })
})

test('the hello of openconnect 9.01 is read as captured', () => {
  const hello = readClientHello(
    bytes(`
      fefd ${'11'.repeat(32)}
      20 ${'a1'.repeat(32)}
      00
      0010 00a9 ccab c0a5 008d 00a8 c0a4 008c 00ae
      01 00
      0023 000d 0010 000e 0401 0809 0804 0403 0807 0501 080a 0023 0000 ff01 0001 00 001c 0002 4000`),
  )
  expect(hello?.sessionId).toEqual(new Uint8Array(32).fill(0xa1))
  expect(hello?.cipherSuites).toEqual([0xa9, 0xccab, 0xc0a5, 0x8d, 0xa8, 0xc0a4, 0x8c, 0xae])
  expect([...hello!.extensions.keys()]).toEqual([13, 35, 65_281, 28])
})
