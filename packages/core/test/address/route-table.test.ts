import { type Family, IpAddress, NO_ROUTE, Prefix, type RouteEntry, RouteTable } from '@twinbore/core/address'
import { seededRandom } from '@twinbore/core/runtime'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

/** Longest-prefix match the slow way; of equal prefixes the last counts. */
function linearLookup(entries: readonly RouteEntry[], address: IpAddress): number {
  let best: RouteEntry | undefined
  for (const entry of entries) {
    if (entry.prefix.contains(address) && (best === undefined || entry.prefix.length >= best.prefix.length))
      best = entry
  }
  return best?.value ?? NO_ROUTE
}

const route = (text: string, value: number): RouteEntry => ({ prefix: Prefix.of(text), value })

describe('lookup', () => {
  const table = RouteTable.compile([
    route('10.0.0.0/8', 1),
    route('10.1.0.0/16', 2),
    route('10.1.2.0/24', 3),
    route('10.1.2.128/25', 1),
    route('255.255.255.255/32', 4),
    route('fd00::/8', 5),
    route('fd00:1::/32', 6),
    route('ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 7),
  ])

  test.each([
    ['9.255.255.255', NO_ROUTE],
    ['10.0.0.0', 1],
    ['10.0.255.255', 1],
    ['10.1.0.0', 2],
    ['10.1.2.127', 3],
    ['10.1.2.128', 1],
    ['10.1.2.255', 1],
    ['10.1.3.0', 2],
    ['10.2.0.0', 1],
    ['10.255.255.255', 1],
    ['11.0.0.0', NO_ROUTE],
    ['0.0.0.0', NO_ROUTE],
    ['255.255.255.254', NO_ROUTE],
    ['255.255.255.255', 4],
    ['::', NO_ROUTE],
    ['fcff::', NO_ROUTE],
    ['fd00::1', 5],
    ['fd00:1::', 6],
    ['fd00:1:ffff:ffff:ffff:ffff:ffff:ffff', 6],
    ['fd00:2::', 5],
    ['fe00::', NO_ROUTE],
    ['ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe', NO_ROUTE],
    ['ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 7],
  ])('%s: %i', (text, value) => {
    expect(table.lookupAddress(IpAddress.of(text))).toBe(value)
  })

  test('reads addresses out of packets', () => {
    const bytes = Uint8Array.of(0, 0, 0, 10, 1, 2, 3, 0)
    expect(table.lookup(new DataView(bytes.buffer), 3, 4)).toBe(3)
    expect(table.lookupIpv4(0x0a010200)).toBe(3)
  })

  test('of equal prefixes the last counts, and they count once', () => {
    const twice = RouteTable.compile([route('10.0.0.0/8', 1), route('10.0.0.0/8', 2)])
    expect(twice.lookupIpv4(0x0a000001)).toBe(2)
    expect(twice.lookupIpv4(0x0b000000)).toBe(NO_ROUTE)
    expect(twice.size).toBe(1)
  })

  test('an empty table and one with default routes', () => {
    const empty = RouteTable.compile([])
    expect([empty.lookupIpv4(0), empty.lookupIpv4(0xffffffff), empty.size]).toEqual([NO_ROUTE, NO_ROUTE, 0])
    const all = RouteTable.compile([route('0.0.0.0/0', 8), route('::/0', 9)])
    expect([all.lookupIpv4(0), all.lookupIpv4(0xffffffff), all.lookupAddress(IpAddress.of('::1'))]).toEqual([8, 8, 9])
  })

  test('neighbouring ranges with one value are one range', () => {
    const halves = RouteTable.compile([route('10.0.0.0/9', 1), route('10.128.0.0/9', 1), route('10.1.0.0/16', 1)])
    expect(halves.footprint).toMatchObject({ ipv4Ranges: 3, ipv6Ranges: 1 })
  })

  test('values that are none are misuse', () => {
    expect(() => RouteTable.compile([route('10.0.0.0/8', -1)])).toThrow(RangeError)
    expect(() => RouteTable.compile([route('10.0.0.0/8', 2 ** 31)])).toThrow(RangeError)
  })
})

describe('equals a linear scan', () => {
  // Bytes from a small alphabet make prefixes nest, touch and repeat.
  const byte = fc.constantFrom(0, 1, 2, 127, 128, 255)
  const address = (family: Family) =>
    fc
      .array(byte, { minLength: family === 4 ? 4 : 16, maxLength: family === 4 ? 4 : 16 })
      .map(bytes => IpAddress.fromBytes(Uint8Array.from(bytes)))
  const entry = fc.constantFrom<Family>(4, 6).chain(family =>
    fc.record({
      prefix: fc
        .tuple(address(family), fc.nat({ max: family === 4 ? 32 : 128 }))
        .map(([address, length]) => Prefix.of(address, length)),
      value: fc.nat({ max: 3 }),
    }),
  )

  test.each([0, Infinity])('for any prefixes, with an index from %d ranges on', indexFromRanges => {
    fc.assert(
      fc.property(
        fc.array(entry, { maxLength: 40 }),
        fc.array(fc.oneof(address(4), address(6)), { maxLength: 20 }),
        (entries, others) => {
          const table = RouteTable.compile(entries, { indexFromRanges })
          // The corners: first and last of each prefix, and their neighbours outside.
          const corners = entries.flatMap(({ prefix }) => {
            const [first, last] = [prefix.address.toNumber(), prefix.last.toNumber()]
            const top = 2n ** (prefix.family === 4 ? 32n : 128n) - 1n
            return [first, last, first > 0n ? first - 1n : 0n, last < top ? last + 1n : top].map(number =>
              IpAddress.fromNumber(number, prefix.family),
            )
          })
          for (const address of [...corners, ...others]) {
            expect(table.lookupAddress(address)).toBe(linearLookup(entries, address))
          }
        },
      ),
      { numRuns: indexFromRanges === 0 ? 60 : 150 },
    )
  })
})

describe('a million prefixes', () => {
  const count = 1_000_000
  const random = seededRandom(11)
  // Lengths of a full table (mostly /24 and /16 to /23), in one /4 so that they nest.
  const lengths = [24, 24, 24, 24, 24, 24, 22, 23, 21, 20, 19, 18, 17, 16, 12, 32]

  test('of IPv4 compile, and answer like a reference with one map for each length', () => {
    const maps = new Map<number, Map<number, number>>(
      Array.from({ length: 33 }, (_, length) => [length, new Map<number, number>()]),
    )
    const bytes = new Uint8Array(4)
    const view = new DataView(bytes.buffer)
    function* entries(): Generator<RouteEntry> {
      for (let value = 0; value < count; value++) {
        const length = lengths[random.uint32() % lengths.length]!
        view.setUint32(0, (random.uint32() >>> 4) | 0x40000000)
        const prefix = Prefix.of(IpAddress.fromBytes(bytes), length)
        maps.get(length)!.set(new DataView(prefix.address.bytes.buffer).getUint32(0), value)
        yield { prefix, value }
      }
    }
    const table = RouteTable.compile(entries())
    expect(table.size).toBe([...maps.values()].reduce((sum, map) => sum + map.size, 0))
    expect(table.footprint.bytes).toBeLessThan(20_000_000)
    let wrong = 0
    let found = 0
    for (let i = 0; i < 200_000; i++) {
      const address = ((random.uint32() >>> 4) | 0x40000000) >>> 0
      let expected = NO_ROUTE
      for (let length = 32; length >= 0 && expected === NO_ROUTE; length--) {
        const network = length === 0 ? 0 : (address & (0xffffffff << (32 - length))) >>> 0
        expected = maps.get(length)!.get(network) ?? NO_ROUTE
      }
      if (expected !== NO_ROUTE) found++
      if (table.lookupIpv4(address) !== expected) wrong++
    }
    expect(wrong).toBe(0)
    expect(found).toBeGreaterThan(100_000)
  }, 60_000)

  test('of IPv6 compile, and find each of a sample at its own place', () => {
    const sample: RouteEntry[] = []
    const bytes = new Uint8Array(16)
    const view = new DataView(bytes.buffer)
    function* entries(): Generator<RouteEntry> {
      for (let value = 0; value < count; value++) {
        // Distinct /48s, so that each is the longest match of its own addresses.
        view.setUint32(0, 0x20000000 | (value >>> 12))
        view.setUint32(4, ((value & 0xfff) << 20) | 0x00050000)
        const entry = { prefix: Prefix.of(IpAddress.fromBytes(bytes), 48), value }
        if (value % 997 === 0) sample.push(entry)
        yield entry
      }
    }
    const table = RouteTable.compile(entries())
    expect(table.size).toBe(count)
    expect(sample.filter(({ prefix, value }) => table.lookupAddress(prefix.last) !== value)).toEqual([])
    expect(table.lookupAddress(IpAddress.of('3fff::'))).toBe(NO_ROUTE)
  }, 60_000)
})
