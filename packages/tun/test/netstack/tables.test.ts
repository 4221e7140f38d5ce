import { KeyedHash } from '@twinbore/core/packet'
import { seededRandom } from '@twinbore/core/runtime'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { choosePort } from '../../src/netstack/ephemeral-port.ts'
import { type Flow, FlowTable } from '../../src/netstack/flow-table.ts'
import type { Source } from '../../src/netstack/source.ts'
import { DeadlineQueue } from '../../src/netstack/table/deadline-queue.ts'
import { TokenBucket } from '../../src/netstack/table/token-bucket.ts'

describe('DeadlineQueue', () => {
  test('gives keys out in the order of their deadlines, as a sorted list does', () => {
    const step = fc.oneof(
      fc.record({ key: fc.nat(200), deadline: fc.option(fc.nat(50), { nil: undefined }) }),
      fc.record({ now: fc.nat(50) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), steps => {
        const queue = new DeadlineQueue()
        const model = new Map<number, number>()
        for (const one of steps) {
          if ('now' in one) {
            const key = queue.takeExpired(one.now)
            const earliest = Math.min(...model.values())
            if (key === -1) expect(earliest).toBeGreaterThan(one.now)
            else {
              expect(model.get(key)).toBe(earliest)
              expect(earliest).toBeLessThanOrEqual(one.now)
              model.delete(key)
            }
          } else if (one.deadline === undefined) {
            queue.set(one.key, undefined)
            model.delete(one.key)
          } else {
            queue.set(one.key, one.deadline)
            model.set(one.key, one.deadline)
          }
          expect(queue.size).toBe(model.size)
          expect(queue.deadline).toBe(model.size === 0 ? undefined : Math.min(...model.values()))
        }
      }),
      { numRuns: 200 },
    )
  })
})

describe('FlowTable', () => {
  const words = (n: number): Int32Array => Int32Array.of(0, 0, 0xffff, n)
  const flowOf = (id: number, inside: number, insidePort: number, outside: number, outsidePort: number): Flow => ({
    id,
    protocol: 6,
    source: { words: words(inside) } as unknown as Source,
    insidePort,
    outside: words(outside),
    outsidePort,
    isScheduled: false,
    nextScheduled: undefined,
    wantsToSend: false,
    emit: () => 0,
  })

  test('finds by 5-tuple what a Map finds, through insertions and removals', () => {
    const end = fc.tuple(fc.nat(3), fc.nat(3), fc.nat(3), fc.nat(3))
    const step = fc.record({ remove: fc.boolean(), end })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400 }), steps => {
        const table = new FlowTable<Flow>(1000, new KeyedHash(seededRandom(1)))
        const model = new Map<string, Flow>()
        for (const { remove, end } of steps) {
          const [inside, insidePort, outside, outsidePort] = end
          const key = end.join()
          const found = table.find(6, words(inside), insidePort, words(outside), outsidePort)
          expect(found).toBe(model.get(key))
          expect(table.find(17, words(inside), insidePort, words(outside), outsidePort)).toBe(undefined)
          if (found && remove) {
            table.remove(found)
            model.delete(key)
            table.forget(found.id)
          } else if (!found) {
            const flow = flowOf(table.takeId(), ...end)
            table.insert(flow)
            model.set(key, flow)
          }
          expect(table.size).toBe(model.size)
        }
      }),
      { numRuns: 100 },
    )
  })

  test('gives an id out again only when the flow is gone and its last output was taken', () => {
    const table = new FlowTable<Flow>(4, new KeyedHash(seededRandom(1)))
    const first = flowOf(table.takeId(), 1, 1, 1, 1)
    table.insert(first)
    table.remove(first)
    const second = flowOf(table.takeId(), 1, 1, 1, 1)
    expect(second.id).not.toBe(first.id)
    expect(table.known(first.id)).toBe(first)
    table.forget(first.id)
    expect(table.known(first.id)).toBe(undefined)
    const later = Array.from({ length: 1200 }, () => {
      const id = table.takeId()
      const flow = flowOf(id, 9, 9, 9, 9)
      table.insert(flow)
      table.remove(flow)
      table.forget(id)
      return id
    })
    // Not at once: a stale id would be taken for the new flow's.
    expect(later.indexOf(first.id)).toBeGreaterThan(1000)
    expect(new Set(later).size).toBeLessThan(1100)
  })
})

describe('TokenBucket', () => {
  test('gives its burst at once and then its rate', () => {
    const bucket = new TokenBucket(10, 3)
    const taken = (now: number): number => {
      let count = 0
      while (bucket.take(now)) count++
      return count
    }
    expect(taken(1000)).toBe(3)
    expect(taken(1099)).toBe(0)
    expect(taken(1100)).toBe(1)
    expect(taken(1500)).toBe(3)
    expect(taken(9e9)).toBe(3)
    expect(taken(5)).toBe(0)
  })

  test('of rate 0 gives its burst once', () => {
    const bucket = new TokenBucket(0, 1)
    expect([bucket.take(1), bucket.take(1e9)]).toEqual([true, false])
  })
})

describe('choosePort', () => {
  test('finds the only free port, and says when there is none', () => {
    const random = seededRandom(3)
    expect(choosePort([100, 199], random, port => port === 142)).toBe(142)
    expect(choosePort([100, 199], random, () => false)).toBe(-1)
  })

  test('spreads over the whole range', () => {
    const random = seededRandom(4)
    const seen = new Set(Array.from({ length: 2000 }, () => choosePort([1, 100], random, () => true)))
    expect(seen.size).toBe(100)
  })
})
