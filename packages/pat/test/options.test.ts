import { IpAddress, Prefix } from '@twinbore/core/address'
import { seededRandom } from '@twinbore/core/runtime'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { addressWords, formatAddress, parseAddress, prefixContains, prefixWords } from '../src/address.ts'
import { defaultPatOptions, type PatOptions, Translator } from '../src/index.ts'

const random = seededRandom(1)
const make = (options: Record<string, unknown>) => () =>
  new Translator({ random, outsideAddresses: ['203.0.113.7'], ...options } as PatOptions)

describe('options', () => {
  test('defaults are those of the RFCs', () => {
    const { config } = make({})()
    expect(config).toMatchObject({ ...defaultPatOptions, maxSessions: 2 * defaultPatOptions.maxMappings })
    expect(config.tcpEstablishedTtlMs).toBe((2 * 60 + 4) * 60_000)
    expect(Object.isFrozen(config)).toBe(true)
  })

  test.each([
    [{ outsideAddresses: [] }, TypeError, 'outsideAddresses'],
    [{ outsideAddresses: ['203.0.113.7', '203.0.113.7'] }, TypeError, 'outsideAddresses'],
    [{ outsideAddresses: ['203.0.113.256'] }, TypeError, "outsideAddresses: not an IP address: '203.0.113.256'"],
    [{ outsideAddresses: ['::ffff:1.2.3.4'] }, TypeError, 'outsideAddresses'],
    [{ outsideAddresses: [new Uint8Array(5)] }, TypeError, 'outsideAddresses'],
    [
      { outsideAddresses: ['10.8.0.1'], insidePrefixes: ['10.8.0.0/16'] },
      TypeError,
      '10.8.0.1 is of the insidePrefixes',
    ],
    [{ random: {} }, TypeError, 'random'],
    [{ insidePrefixes: ['10.0.0.0/33'] }, TypeError, 'insidePrefixes'],
    [{ insidePrefixes: ['10.0.0.0/8/9'] }, TypeError, 'insidePrefixes'],
    [{ insidePrefixes: ['10.0.0.0/'] }, TypeError, 'insidePrefixes'],
    [{ gatewayAddresses: ['x'] }, TypeError, 'gatewayAddresses'],
    [{ filteringBehavior: 'symmetric' }, TypeError, 'filteringBehavior'],
    [{ decrementTtl: 1 }, TypeError, 'decrementTtl'],
    [{ portRange: { first: 9, last: 8 } }, RangeError, 'portRange.last'],
    [{ portRange: { first: 9, last: 65_536 } }, RangeError, 'portRange.last'],
    [{ excludedPorts: [-1] }, RangeError, 'excludedPorts'],
    [{ udpTtlMs: 0 }, RangeError, 'udpTtlMs'],
    [{ udpTtlMs: Number.NaN }, RangeError, 'udpTtlMs'],
    [{ portQuarantineMs: -1 }, RangeError, 'portQuarantineMs'],
    [{ maxMappings: 0 }, RangeError, 'maxMappings'],
    [{ maxMappings: 1.5 }, RangeError, 'maxMappings'],
    [{ maxQuarantinedPorts: 70_000 }, RangeError, 'maxQuarantinedPorts'],
    [{ udpTimeout: 5 }, TypeError, 'udpTimeout'],
  ])('%j is refused by name', (options, type, message) => {
    expect(make(options)).toThrow(type)
    expect(make(options)).toThrow(message)
  })

  test('undefined counts as not given', () => {
    expect(make({ udpTtlMs: undefined })().config.udpTtlMs).toBe(300_000)
  })

  test('addresses may be text, bytes or address objects', () => {
    for (const address of ['2001:db8::7', IpAddress.of('2001:db8::7'), IpAddress.of('2001:db8::7').bytes]) {
      expect(formatAddress(make({ outsideAddresses: [address] })().config.outside[0]!)).toBe('2001:db8::7')
    }
    make({ insidePrefixes: [Prefix.parse('10.8.0.0/16'), '10.9.0.0/16', '10.10.0.1'] })()
    expect(() => make({})().removeInside('nonsense', 0)).toThrow(TypeError)
  })
})

describe('address text', () => {
  test.each([
    ['::', true],
    ['1::', true],
    ['::1', true],
    ['1:2:3:4:5:6:7:8', true],
    ['64:ff9b::192.0.2.1', true],
    ['1:2:3:4:5:6:192.0.2.1', true],
    ['1:2:3:4:5:6:7', false],
    ['1:2:3:4:5:6:7:8:9', false],
    ['1::2::3', false],
    ['1:2:3:4:5:6:7::8', false],
    [':1', false],
    ['1:', false],
    ['12345::', false],
    ['::1.2.3', false],
    ['1.2.3.4::', false],
    ['fe80::1%eth0', false],
    ['01.2.3.4', false],
    ['1.2.3', false],
    ['', false],
  ])("'%s': %s", (text, valid) => {
    expect(parseAddress(text) !== undefined).toBe(valid)
  })

  test('what is written reads back as the same', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ minLength: 4, maxLength: 4 }),
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
      fc.uint8Array({ minLength: 16, maxLength: 16, max: 1 }),
    )
    fc.assert(
      fc.property(bytes, address => {
        const text = formatAddress(addressWords(IpAddress.fromBytes(address), 'address'))
        expect(parseAddress(text)).toEqual(address)
        expect(IpAddress.parse(text)?.bytes).toEqual(address)
      }),
    )
  })

  test('prefixes contain what their bits say', () => {
    const words = fc.array(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), { minLength: 4, maxLength: 4 })
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 16, maxLength: 16, min: 1 }),
        fc.nat(128),
        words,
        (bytes, length, other) => {
          const prefix = Prefix.of(IpAddress.fromBytes(bytes), length)
          const [a, b, c, d] = other as [number, number, number, number]
          const address = new Uint8Array(16)
          for (const [i, word] of other.entries()) new DataView(address.buffer).setInt32(i * 4, word)
          const own = prefixWords({ address: bytes, length }, 'prefix')
          expect(prefixContains(own, a, b, c, d)).toBe(prefix.contains(IpAddress.fromBytes(address)))
          expect(prefixContains(own, own.words[0]!, own.words[1]!, own.words[2]!, own.words[3]!)).toBe(true)
        },
      ),
    )
  })
})
