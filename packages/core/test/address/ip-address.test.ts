import { isIP } from 'node:net'
import { IpAddress } from '@twinbore/core/address'
import fc from 'fast-check'
import { Address6 } from 'ip-address'
import { describe, expect, test } from 'vitest'

describe('parse', () => {
  test.each([
    ['192.0.2.1', '192.0.2.1'],
    ['0.0.0.0', '0.0.0.0'],
    ['2001:0DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['::', '::'],
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
    ['1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'],
    ['::ffff:192.0.2.1', '::ffff:192.0.2.1'],
    ['::ffff:c000:201', '::ffff:192.0.2.1'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
  ])('reads %s, whose canonical form is %s (RFC 5952 §4)', (text, canonical) => {
    expect(IpAddress.of(text).toString()).toBe(canonical)
    expect(IpAddress.of(canonical).equals(IpAddress.of(text))).toBe(true)
  })

  test.each([
    '',
    ' ',
    '1.2.3',
    '1.2.3.4.5',
    '256.0.0.1',
    '01.2.3.4',
    '1.2.3.04',
    '1.2.3.4/8',
    '0x1.2.3.4',
    '1',
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    'fe80::1%eth0',
    '::1/128',
    '::12345',
    '::00001',
    '::g',
    '1.2.3.4::',
    '::1.2.3',
    '::1.2.3.256',
    '::01.2.3.4',
    '[::1]',
    ' ::1',
    '::1 ',
    '10.0.0.1\n',
  ])('refuses %j', text => {
    expect(IpAddress.parse(text)).toBeUndefined()
  })

  test('agrees with node:net on what an address is', () => {
    const pieces = fc.constantFrom(
      '0',
      '1',
      '10',
      '255',
      '256',
      '00',
      'f',
      'ffff',
      'abcd',
      '12345',
      '.',
      ':',
      '::',
      '1.2.3.4',
      '%',
      '/',
      ' ',
      'g',
    )
    fc.assert(
      fc.property(
        fc.oneof(
          fc.array(pieces, { maxLength: 17 }).map(all => all.join('')),
          fc.ipV4(),
          fc.ipV6(),
        ),
        text => {
          // Zones are addresses to Node and not to us: they mean nothing outside one host.
          if (text.includes('%')) return
          expect(IpAddress.parse(text)?.family ?? 0).toBe(isIP(text))
        },
      ),
      { numRuns: 5000 },
    )
  })
})

test('reads every way to write an IPv6 address', () => {
  const group = fc.oneof(fc.constant(0), fc.nat({ max: 0xffff }))
  fc.assert(
    fc.property(
      fc.array(group, { minLength: 8, maxLength: 8 }),
      fc.array(fc.constantFrom('plain', 'padded', 'upper'), { minLength: 8, maxLength: 8 }),
      fc.boolean(),
      fc.nat({ max: 8 }),
      fc.nat({ max: 8 }),
      (groups, styles, dotted, from, length) => {
        const bytes = Uint8Array.from(groups.flatMap(group => [group >> 8, group & 0xff]))
        const written = groups.map((group, i) => {
          const text = group.toString(16)
          return styles[i] === 'padded' ? text.padStart(4, '0') : styles[i] === 'upper' ? text.toUpperCase() : text
        })
        if (dotted) written.splice(6, 2, bytes.subarray(12).join('.'))
        // Any run of zero groups may be left out, of whichever length.
        const run = groups.slice(from, from + length)
        const compressible = run.length > 0 && run.every(group => group === 0) && (!dotted || from + run.length <= 6)
        const text = compressible
          ? `${written.slice(0, from).join(':')}::${written.slice(from + run.length).join(':')}`
          : written.join(':')
        expect(IpAddress.of(text).bytes).toEqual(bytes)
        expect(IpAddress.of(text).bytes).toEqual(bytesByPackage(text))
      },
    ),
    { numRuns: 2000 },
  )
})

/** What the package `ip-address` reads. */
function bytesByPackage(text: string): Uint8Array {
  const bytes = new Address6(text).toUnsignedByteArray()
  const result = new Uint8Array(16)
  result.set(bytes.slice(-16), 16 - Math.min(16, bytes.length))
  return result
}

test('two addresses are deeply equal whether they were printed before or not', () => {
  const printed = IpAddress.of('fd00::1')
  expect([printed.toString(), printed.bytes.length]).toEqual(['fd00::1', 16])
  expect(printed).toEqual(IpAddress.of('fd00::1'))
  expect(printed).not.toEqual(IpAddress.of('fd00::2'))
})

test('bytes, numbers and text are the same address', () => {
  const bytes = fc.oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }))
  fc.assert(
    fc.property(bytes, bytes => {
      const address = IpAddress.fromBytes(bytes)
      expect(IpAddress.of(address.toString()).bytes).toEqual(bytes)
      expect(IpAddress.fromNumber(address.toNumber(), address.family).equals(address)).toBe(true)
    }),
    { numRuns: 2000 },
  )
})

test('reads from the middle of a packet and keeps a copy', () => {
  const packet = Uint8Array.of(9, 9, 10, 0, 0, 1, 9)
  const address = IpAddress.fromBytes(packet, 2, 4)
  packet.fill(0)
  expect(address.toString()).toBe('10.0.0.1')
})

test('what is no address is misuse', () => {
  expect(() => IpAddress.of('nonsense')).toThrow("not an IP address: 'nonsense'")
  expect(() => IpAddress.fromBytes(new Uint8Array(5))).toThrow(RangeError)
  expect(() => IpAddress.fromBytes(new Uint8Array(4), 1, 4)).toThrow(RangeError)
  expect(() => IpAddress.fromNumber(2n ** 32n, 4)).toThrow(RangeError)
  expect(() => IpAddress.fromNumber(-1n, 6)).toThrow(RangeError)
})

test('IPv4-mapped addresses give their inside away', () => {
  expect(IpAddress.of('::ffff:10.1.2.3').unmapped.toString()).toBe('10.1.2.3')
  expect(IpAddress.of('::fffe:10.1.2.3').isIpv4Mapped).toBe(false)
  expect(IpAddress.of('fd00::1').unmapped.toString()).toBe('fd00::1')
})

test('sorts IPv4 before IPv6, and by number', () => {
  const sorted = ['::', '10.0.0.10', 'fd00::1', '9.255.0.0', '10.0.0.9'].map(IpAddress.of).sort((a, b) => a.compare(b))
  expect(sorted.join(' ')).toBe('9.255.0.0 10.0.0.9 10.0.0.10 :: fd00::1')
})
