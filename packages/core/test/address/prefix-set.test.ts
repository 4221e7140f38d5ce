import { type Family, IpAddress, Prefix, PrefixSet } from '@twinbore/core/address'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

const set = (...texts: string[]) => PrefixSet.of(texts.map(text => Prefix.of(text)))

describe('minimal cover', () => {
  test.each([
    [['10.0.0.0/25', '10.0.0.128/25'], '10.0.0.0/24'],
    [['10.0.0.0/24', '10.0.0.0/24', '10.0.0.5'], '10.0.0.0/24'],
    [['10.0.1.0/24', '10.0.2.0/24'], '10.0.1.0/24, 10.0.2.0/24'],
    [['0.0.0.0/1', '128.0.0.0/1', '::/1', '8000::/1'], '0.0.0.0/0, ::/0'],
    [['fd00::/64', '10.0.0.0/8', 'fd00:0:0:1::/64'], '10.0.0.0/8, fd00::/63'],
  ])('of %j is %s', (texts, expected) => {
    expect(set(...texts).toString()).toBe(expected)
  })

  test('of the worst range takes 62 prefixes in IPv4 and 254 in IPv6', () => {
    expect(PrefixSet.ofRange(IpAddress.of('0.0.0.1'), IpAddress.of('255.255.255.254')).prefixes.length).toBe(62)
    const last = IpAddress.of('ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe')
    expect(PrefixSet.ofRange(IpAddress.of('::1'), last).prefixes.length).toBe(254)
  })
})

test('everything except private addresses', () => {
  const rest = set('0.0.0.0/0').subtract(set('10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'))
  expect(rest.has(IpAddress.of('11.0.0.1'))).toBe(true)
  expect(rest.has(IpAddress.of('172.31.255.255'))).toBe(false)
  expect(rest.prefixes.length).toBe(31)
})

test('500 scattered hosts out of everything', () => {
  const hosts = Array.from({ length: 500 }, (_, i) =>
    Prefix.of(IpAddress.fromNumber(BigInt((i * 8_589_917 + 7_919) >>> 0), 4), 32),
  )
  const rest = set('0.0.0.0/0').subtract(PrefixSet.of(hosts))
  expect(rest.union(PrefixSet.of(hosts)).toString()).toBe('0.0.0.0/0')
  expect(hosts.some(host => rest.overlaps(host))).toBe(false)
})

describe('against a set of 256 addresses (model)', () => {
  const bases = { 4: IpAddress.of('10.0.0.0').toNumber(), 6: IpAddress.of('fd00::').toNumber() }
  // Prefixes inside one small block of either family, so that every address can be looked at.
  const part = fc.record({
    family: fc.constantFrom(4 as const, 6 as const),
    start: fc.nat({ max: 255 }),
    hostBits: fc.nat({ max: 8 }),
  })
  const prefixes = fc.array(
    part.map(({ family, start, hostBits }) =>
      Prefix.of(IpAddress.fromNumber(bases[family] + BigInt(start), family), (family === 4 ? 32 : 128) - hostBits),
    ),
    { maxLength: 12 },
  )
  const universe = ([4, 6] as const).flatMap(family =>
    Array.from({ length: 256 }, (_, i) => IpAddress.fromNumber(bases[family] + BigInt(i), family)),
  )
  const bitset = (all: readonly Prefix[]) => universe.map(address => all.some(prefix => prefix.contains(address)))
  const bitsOf = (set: PrefixSet) => universe.map(address => set.has(address))

  test('union, subtraction and intersection, and their covers, hold the right addresses', () => {
    fc.assert(
      fc.property(prefixes, prefixes, (a, b) => {
        const [inA, inB] = [bitset(a), bitset(b)]
        const [setA, setB] = [PrefixSet.of(a), PrefixSet.of(b)]
        expect(bitsOf(setA)).toEqual(inA)
        expect(bitset(setA.prefixes)).toEqual(inA)
        expect(bitsOf(setA.union(setB))).toEqual(inA.map((bit, i) => bit || inB[i]))
        expect(bitsOf(setA.intersect(setB))).toEqual(inA.map((bit, i) => bit && inB[i]))
        const difference = setA.subtract(setB)
        expect(bitsOf(difference)).toEqual(inA.map((bit, i) => bit && !inB[i]))
        expect(bitset(difference.prefixes)).toEqual(bitsOf(difference))
        expect(setA.equals(setB)).toBe(inA.every((bit, i) => bit === inB[i]))
        expect(difference.isEmpty).toBe(!bitsOf(difference).includes(true))
        for (const prefix of b) {
          const inside = universe.flatMap((address, i) => (prefix.contains(address) ? [inA[i]!] : []))
          expect(setA.covers(prefix)).toBe(inside.every(Boolean))
          expect(setA.overlaps(prefix)).toBe(inside.some(Boolean))
        }
      }),
      { numRuns: 250 },
    )
  })

  test('no cover can be made of fewer prefixes: none is a half whose other half is there', () => {
    fc.assert(
      fc.property(prefixes, all => {
        const { prefixes: cover } = PrefixSet.of(all)
        const parents = cover.map(prefix => `${prefix.parent}`)
        expect(new Set(parents).size).toBe(parents.length)
        expect(cover.some((a, i) => cover.some((b, j) => i !== j && a.covers(b)))).toBe(false)
      }),
      { numRuns: 500 },
    )
  })
})

test('a range must have two ends in order', () => {
  expect(() => PrefixSet.ofRange(IpAddress.of('10.0.0.2'), IpAddress.of('10.0.0.1'))).toThrow(RangeError)
  expect(() => PrefixSet.ofRange(IpAddress.of('10.0.0.2'), IpAddress.of('fd00::'))).toThrow(RangeError)
})

describe('against lists of numbers (model), up to both ends of the address space and over the borders of words', () => {
  interface Range {
    first: bigint
    last: bigint
  }
  const rangesOf = (bits: bigint): fc.Arbitrary<Range[]> => {
    const top = 2n ** bits - 1n
    const corners = [0n, 32n, 64n, 96n, bits].filter(bit => bit <= bits).map(bit => 2n ** bit - 1n)
    const near = fc
      .tuple(fc.constantFrom(...corners), fc.bigInt({ min: -3n, max: 3n }))
      .map(([corner, by]) => (corner + by < 0n ? 0n : corner + by > top ? top : corner + by))
    const number = fc.oneof(near, fc.bigInt({ min: 0n, max: top }))
    const range = fc.tuple(number, number).map(([a, b]) => (a < b ? { first: a, last: b } : { first: b, last: a }))
    return fc.array(range, { maxLength: 6 })
  }
  const setOf = (ranges: readonly Range[], family: Family) =>
    ranges
      .map(({ first, last }) =>
        PrefixSet.ofRange(IpAddress.fromNumber(first, family), IpAddress.fromNumber(last, family)),
      )
      .reduce((all, one) => all.union(one), PrefixSet.empty)
  const within = (ranges: readonly Range[], number: bigint) =>
    ranges.some(({ first, last }) => first <= number && number <= last)

  test.each<[Family, bigint]>([
    [4, 32n],
    [6, 128n],
  ])('IPv%d', (family, bits) => {
    const top = 2n ** bits - 1n
    fc.assert(
      fc.property(rangesOf(bits), rangesOf(bits), (a, b) => {
        // Membership can only change at the ends of ranges.
        const probes = [...a, ...b]
          .flatMap(({ first, last }) => [first - 1n, first, last, last + 1n])
          .filter(number => number >= 0n && number <= top)
        const [setA, setB] = [setOf(a, family), setOf(b, family)]
        const results: [PrefixSet, (inA: boolean, inB: boolean) => boolean][] = [
          [setA.union(setB), (inA, inB) => inA || inB],
          [setA.subtract(setB), (inA, inB) => inA && !inB],
          [setA.intersect(setB), (inA, inB) => inA && inB],
        ]
        for (const [result, rule] of results) {
          const ranges = result.ranges(family)
          for (const [i, range] of ranges.entries()) {
            if (i > 0) expect(range.first > ranges[i - 1]!.last + 1n).toBe(true)
          }
          for (const number of probes) {
            const expected = rule(within(a, number), within(b, number))
            const address = IpAddress.fromNumber(number, family)
            expect(result.has(address)).toBe(expected)
            expect(within(ranges, number)).toBe(expected)
            expect(result.prefixes.some(prefix => prefix.contains(address))).toBe(expected)
          }
          expect(PrefixSet.of(result.prefixes.toReversed()).equals(result)).toBe(true)
          // Minimal: of no block both halves are there.
          expect(new Set(result.prefixes.map(prefix => `${prefix.parent}`)).size).toBe(result.prefixes.length)
        }
      }),
      { numRuns: 120 },
    )
  })
})
