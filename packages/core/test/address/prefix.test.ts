import { IpAddress, Prefix, prefixTextHasHostBits } from '@twinbore/core/address'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

describe('parse', () => {
  test.each([
    ['10.0.0.0/8', '10.0.0.0/8'],
    ['10.1.2.3/8', '10.0.0.0/8'],
    ['10.1.2.3/255.255.0.0', '10.1.0.0/16'],
    ['10.1.2.3/0.0.0.0', '0.0.0.0/0'],
    ['10.1.2.3/255.255.255.255', '10.1.2.3/32'],
    ['10.1.2.3', '10.1.2.3/32'],
    ['fd00::1', 'fd00::1/128'],
    ['fd12:3456::1/20', 'fd12:3000::/20'],
    ['::/0', '::/0'],
  ])('reads %s as %s', (text, expected) => {
    expect(Prefix.parse(text)?.toString()).toBe(expected)
  })

  test.each([
    '',
    '/',
    '10.0.0.0/',
    '10.0.0.0/33',
    '10.0.0.0/-1',
    '10.0.0.0/08',
    '10.0.0.0/8 ',
    '10.0.0.0/255.0.255.0',
    '10.0.0.0/0.0.0.255',
    'fd00::/129',
    'fd00::/255.0.0.0',
    'fd00::/ffff::',
    '10.0.0.0/8/8',
    '10/8',
  ])('refuses %j', text => {
    expect(Prefix.parse(text)).toBeUndefined()
  })

  test('host bits are noticed', () => {
    expect(prefixTextHasHostBits('10.1.2.3/8')).toBe(true)
    expect(prefixTextHasHostBits('10.0.0.0/255.0.0.0')).toBe(false)
    expect(prefixTextHasHostBits('fd00::1')).toBe(false)
    expect(prefixTextHasHostBits('nonsense')).toBe(false)
  })
})

/** An address as its bits, the slow and plain model of all that follows. */
const bitsOf = (address: IpAddress) => Array.from(address.bytes, byte => byte.toString(2).padStart(8, '0')).join('')
const address = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }).map(bytes => IpAddress.fromBytes(bytes)),
  fc.uint8Array({ minLength: 16, maxLength: 16 }).map(bytes => IpAddress.fromBytes(bytes)),
)
const prefix = fc
  .tuple(address, fc.nat({ max: 128 }))
  .map(([address, length]) => Prefix.of(address, address.family === 4 ? length % 33 : length))

test('contains, first, last and mask follow from the bits', () => {
  fc.assert(
    fc.property(prefix, address, fc.nat({ max: 128 }), (prefix, other, flip) => {
      const length = bitsOf(prefix.address).length
      const kept = bitsOf(prefix.address).slice(0, prefix.length)
      expect(bitsOf(prefix.address)).toBe(kept.padEnd(length, '0'))
      expect(bitsOf(prefix.last)).toBe(kept.padEnd(length, '1'))
      expect(bitsOf(prefix.netmask)).toBe('1'.repeat(prefix.length).padEnd(length, '0'))
      // A neighbour that differs in one bit, so that both outcomes occur.
      const bytes = prefix.last.bytes.slice()
      bytes[(flip >>> 3) % bytes.length]! ^= 0x80 >>> (flip & 7)
      for (const candidate of [other, IpAddress.fromBytes(bytes), prefix.address, prefix.last]) {
        const inside = candidate.family === prefix.family && bitsOf(candidate).startsWith(kept)
        expect(prefix.contains(candidate)).toBe(inside)
      }
    }),
    { numRuns: 2000 },
  )
})

test('covers, overlaps and parents agree with each other', () => {
  fc.assert(
    fc.property(prefix, prefix, (a, b) => {
      expect(a.overlaps(b)).toBe(b.overlaps(a))
      expect(a.covers(b)).toBe(
        b.family === a.family && b.length >= a.length && a.contains(b.address) && a.contains(b.last),
      )
      for (let parent = a.parent, length = a.length; parent; parent = parent.parent) {
        expect(parent.length).toBe(--length)
        expect(parent.covers(a)).toBe(true)
        expect(a.covers(parent)).toBe(false)
      }
    }),
    { numRuns: 500 },
  )
})

test('misuse throws', () => {
  expect(() => Prefix.of('10.0.0.0/33')).toThrow("not a prefix: '10.0.0.0/33'")
  expect(() => Prefix.of(IpAddress.of('10.0.0.0'), 33)).toThrow('length must be 0 to 32')
  expect(() => Prefix.of(IpAddress.of('fd00::'), 1.5)).toThrow(RangeError)
})
