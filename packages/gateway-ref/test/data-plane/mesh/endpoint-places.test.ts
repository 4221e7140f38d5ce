// What a worker keeps of clients that move, and what it lets them cost: both are bounded.
import { EndpointTable } from '@twinbore/tun'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { EndpointPlaces } from '../../../src/data-plane/mesh/endpoint-places.ts'
import { OfferBudget } from '../../../src/data-plane/mesh/offer-budget.ts'

describe('endpoints of others', () => {
  const fill = (capacity: number, count: number): [EndpointTable, EndpointPlaces] => {
    const table = new EndpointTable({ capacity })
    const places = new EndpointPlaces(table)
    for (let n = 0; n < count; n++) {
      table.startBatch()
      places.set(table.intern('192.0.2.1', 1000 + n), n % 3, 0)
    }
    return [table, places]
  }

  test('are at most a quarter of the table, and the oldest makes room', () => {
    const [table, places] = fill(40, 25)
    expect(places.size).toBe(10)
    for (let n = 15; n < 25; n++) expect(places.find(table.intern('192.0.2.1', 1000 + n), 0)).toBe(n % 3)
  })

  test('are 4096 at most', () => {
    expect(fill(65_536, 5000)[1].size).toBe(4096)
  })

  test('are retained while they are known, and no longer', () => {
    const [table, places] = fill(40, 5)
    const first = table.intern('192.0.2.1', 1000)
    // Strangers come and go.
    for (let n = 0; n < 200; n++) {
      table.startBatch()
      table.intern('198.51.100.1', 1 + n)
    }
    expect(table.portOf(first)).toBe(1000)
    for (let n = 0; n < 5; n++) places.forget(table.intern('192.0.2.1', 1000 + n))
    places.forget(first)
    expect(places.size).toBe(0)
    expect(() => table.release(first)).toThrow(RangeError)
  })

  test('are forgotten after two minutes of silence, not while they are used', () => {
    const [table, places] = fill(40, 2)
    const [one, two] = [1000, 1001].map(port => table.intern('192.0.2.1', port))
    for (let now = 0; now <= 600_000; now += 60_000) expect(places.find(one!, now)).toBe(0)
    expect(places.find(two!, 600_000)).toBe(-1)
    expect(places.size).toBe(1)
  })

  test('are given up only by the worker whose they are', () => {
    const [table, places] = fill(40, 1)
    const endpoint = table.intern('192.0.2.1', 1000)
    places.set(endpoint, 2, 0)
    places.release(endpoint, 0)
    expect(places.find(endpoint, 0)).toBe(2)
    places.release(endpoint, 2)
    expect([places.find(endpoint, 0), places.size]).toEqual([-1, 0])
  })
})

test('offers are so many a second at most, whoever asks how often, and one of an endpoint every 10 ms', () => {
  const asked = fc.array(fc.tuple(fc.nat(3000), fc.nat(40)), { maxLength: 600 })
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 64 }), asked, (workers, asks) => {
      const budget = new OfferBudget(workers)
      const perSecond = Math.max(1, Math.floor(128 / (workers - 1)))
      const last = new Map<number, number>()
      let now = 0
      let offers = 0
      for (const [endpoint, after] of asks) {
        now += after
        if (!budget.take(endpoint, now)) continue
        offers++
        expect(now - (last.get(endpoint) ?? Number.NEGATIVE_INFINITY)).toBeGreaterThanOrEqual(10)
        last.set(endpoint, now)
      }
      expect(offers).toBeLessThanOrEqual(perSecond + (perSecond * now) / 1000)
    }),
    { numRuns: 100 },
  )
})

test('a budget that was used up comes back', () => {
  const budget = new OfferBudget(2)
  for (let endpoint = 0; endpoint < 200; endpoint++) expect(budget.take(endpoint, 0)).toBe(endpoint < 128)
  for (let endpoint = 0; endpoint < 200; endpoint++) expect(budget.take(endpoint, 500)).toBe(endpoint < 64)
})
