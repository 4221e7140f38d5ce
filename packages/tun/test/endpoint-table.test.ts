import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { EndpointTable } from '../src/endpoint-table.ts'

describe('naming', () => {
  test('one endpoint has one index, however its address is written', () => {
    const table = new EndpointTable()
    const index = table.intern('fe80::1', 4000)
    for (const text of ['FE80::1', 'fe80:0:0:0:0:0:0:1', 'fe80:0000::0001'])
      expect(table.intern(text, 4000)).toBe(index)
    expect(table.intern('fe80::1', 4001)).not.toBe(index)
    expect(table.describe(index)).toEqual({ family: 6, address: 'fe80::1', port: 4000 })
  })

  test('an IPv4-mapped address is its IPv4 address (RFC 4291 §2.5.5.2)', () => {
    const table = new EndpointTable()
    const index = table.intern('::ffff:192.0.2.7', 53)
    expect(table.intern('192.0.2.7', 53)).toBe(index)
    expect(table.intern('::ffff:c000:207', 53)).toBe(index)
    expect(table.describe(index)).toEqual({ family: 4, address: '192.0.2.7', port: 53 })
  })

  test('zones tell link-local addresses apart', () => {
    const table = new EndpointTable()
    const index = table.intern('fe80::1%eth0', 1)
    expect(table.intern('fe80::1%eth1', 1)).not.toBe(index)
    expect(table.addressOf(index)).toBe('fe80::1%eth0')
  })

  test('bytes are what their text is', () => {
    const table = new EndpointTable()
    const bytes = new Uint8Array(40)
    bytes.set([192, 0, 2, 7], 3)
    const v4 = table.internBytes(bytes, 3, 4, 53)
    expect(table.describe(v4)).toEqual({ family: 4, address: '192.0.2.7', port: 53 })
    expect(table.intern('192.0.2.7', 53)).toBe(v4)
    const v6 = table.intern('2001:db8::7', 53)
    table.copyAddress(v6, bytes, 9, 16)
    expect(table.internBytes(bytes, 9, 16, 53)).toBe(v6)
    expect(table.internBytes(bytes, 9, 16, 54)).not.toBe(v6)
    table.copyAddress(v4, bytes, 20, 4)
    expect(Array.from(bytes.subarray(20, 24))).toEqual([192, 0, 2, 7])
    table.copyAddress(v4, bytes, 20, 16)
    expect(table.internBytes(bytes, 20, 16, 53)).toBe(v4)
  })

  test('bytes with a zone', () => {
    const table = new EndpointTable()
    const index = table.intern('fe80::1%eth0', 1)
    const bytes = new Uint8Array(16)
    table.copyAddress(index, bytes, 0, 16)
    expect(table.internBytes(bytes, 0, 16, 1, 'eth0')).toBe(index)
    expect(table.internBytes(bytes, 0, 16, 1)).not.toBe(index)
    expect(table.zoneOf(index)).toBe('eth0')
    for (let i = 0; i < 300; i++) table.internBytes(bytes, 0, 16, 2, `x${i}`)
    expect(table.internBytes(bytes, 0, 16, 1, 'one-more')).toBe(-1)
  })

  test.each([
    '',
    'localhost',
    '1.2.3',
    '1.2.3.4.5',
    '01.2.3.4',
    '256.1.1.1',
    '1.2.3.4%eth0',
    ':',
    ':::',
    '1::2::3',
    '12345::',
    '::1.2.3.256',
    '1:2:3:4:5:6:7:8:9',
    'fe80::1/64',
  ])('refuses %j', text => {
    expect(new EndpointTable().intern(text, 1)).toBe(-1)
  })

  test.each([-1, 65_536])('refuses port %d', port => {
    expect(new EndpointTable().intern('192.0.2.1', port)).toBe(-1)
  })

  test('misuse throws', () => {
    const table = new EndpointTable()
    const index = table.intern('192.0.2.1', 1)
    expect(() => table.describe(index + 1)).toThrow(RangeError)
    expect(() => table.release(index)).toThrow(RangeError)
    expect(() => new EndpointTable({ capacity: 0 })).toThrow(RangeError)
  })
})

describe('bounds', () => {
  test('a full table gives up the endpoint that was used longest ago', () => {
    const table = new EndpointTable({ capacity: 3 })
    const [a, b] = [1, 2, 3].map(port => table.intern('192.0.2.1', port)) as [number, number]
    table.startBatch()
    table.intern('192.0.2.1', 1)
    table.startBatch()
    expect(table.intern('192.0.2.1', 4)).toBe(b)
    expect(table.describe(a).port).toBe(1)
    expect(table.size).toBe(3)
  })

  test('never one that is retained, and none at all if every one is', () => {
    const table = new EndpointTable({ capacity: 2 })
    const a = table.intern('192.0.2.1', 1)
    table.retain(a)
    table.retain(a)
    const b = table.intern('192.0.2.1', 2)
    table.startBatch()
    expect(table.intern('192.0.2.1', 3)).toBe(b)
    table.retain(b)
    table.startBatch()
    expect(table.intern('192.0.2.1', 4)).toBe(-1)
    table.release(a)
    expect(table.intern('192.0.2.1', 4)).toBe(-1)
    table.release(a)
    expect(table.intern('192.0.2.1', 4)).toBe(a)
  })

  test('never one that the current batch uses', () => {
    const table = new EndpointTable({ capacity: 2 })
    table.startBatch()
    table.intern('192.0.2.1', 1)
    table.intern('192.0.2.1', 2)
    expect(table.intern('192.0.2.1', 3)).toBe(-1)
    table.startBatch()
    expect(table.intern('192.0.2.1', 3)).toBe(0)
  })
})

test('agrees with a map of texts, whatever is interned, retained and released', () => {
  const address = fc.oneof(
    fc.constantFrom('10.0.0.1', '10.0.0.2', '::1', 'fd00::1', 'fd00::2', '::ffff:10.0.0.1'),
    fc.ipV4(),
    fc.ipV6().filter(text => !/^::[0-9.]+$/.test(text)),
  )
  const step = fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({ kind: fc.constant('intern' as const), address, port: fc.integer({ min: 1, max: 6 }) }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('retain' as const), pick: fc.nat(15) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('release' as const), pick: fc.nat(15) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('batch' as const) }) },
  )
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 16 }), fc.array(step, { maxLength: 200 }), (capacity, steps) => {
      const table = new EndpointTable({ capacity })
      const known = new Map<number, string>()
      const retained = new Map<number, number>()
      const inBatch = new Set<number>()
      for (const action of steps) {
        if (action.kind === 'batch') {
          table.startBatch()
          inBatch.clear()
        } else if (action.kind === 'intern') {
          const index = table.intern(action.address, action.port)
          if (index === -1) {
            for (let i = 0; i < capacity; i++) expect((retained.get(i) ?? 0) > 0 || inBatch.has(i)).toBe(true)
            continue
          }
          const text = JSON.stringify(table.describe(index))
          const before = known.get(index)
          if (before !== text) {
            expect(retained.get(index) ?? 0).toBe(0)
            expect(inBatch.has(index)).toBe(false)
            expect([...known.values()]).not.toContain(text)
          }
          known.set(index, text)
          inBatch.add(index)
        } else if (table.has(action.pick)) {
          const count = retained.get(action.pick) ?? 0
          if (action.kind === 'retain') {
            table.retain(action.pick)
            retained.set(action.pick, count + 1)
          } else if (count > 0) {
            table.release(action.pick)
            retained.set(action.pick, count - 1)
          }
        }
        expect(table.size).toBeLessThanOrEqual(capacity)
        for (const [index, text] of known) expect(JSON.stringify(table.describe(index))).toBe(text)
      }
    }),
    { numRuns: 300 },
  )
})
