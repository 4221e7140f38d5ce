import { seededRandom } from '@twinbore/core/runtime'
import { describe, expect, test } from 'vitest'
import { excludedPortsBitmap, PortPool } from '../src/port-pool.ts'

const whole = { first: 1024, last: 65_535 }
const make = (range = whole, seed = 1, maxResting = 16_384) =>
  new PortPool(range, excludedPortsBitmap(range, []), seededRandom(seed), maxResting)

describe('port pool (RFC 6056)', () => {
  test('gives every port once, then none', () => {
    const pool = make()
    const ports = new Set<number>()
    for (let i = 0; i < 64_512; i++) ports.add(pool.allocate(0))
    expect(ports.size).toBe(64_512)
    expect(Math.min(...ports)).toBe(1024)
    expect(Math.max(...ports)).toBe(65_535)
    expect(pool.allocate(0)).toBe(-1)
    pool.release(4711, 0, 0)
    expect(pool.allocate(0)).toBe(4711)
  })

  test('draws uniformly: chi-square of 100 000 draws over 64 bins', () => {
    const pool = make()
    const bins = new Int32Array(63)
    const draws = 100_000
    for (let i = 0; i < draws; i++) {
      const port = pool.allocate(0)
      bins[(port - 1024) >>> 10]!++
      pool.release(port, 0, 0)
    }
    const expected = draws / 63
    const chiSquare = bins.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0)
    // 62 degrees of freedom: 120 is beyond the 99.999th percentile.
    expect(chiSquare).toBeLessThan(120)
  })

  test('successive ports are unrelated', () => {
    const pool = make()
    const ports = Array.from({ length: 20_000 }, () => pool.allocate(0))
    const mean = ports.reduce((sum, port) => sum + port, 0) / ports.length
    let covariance = 0
    let variance = 0
    for (let i = 1; i < ports.length; i++) {
      covariance += (ports[i]! - mean) * (ports[i - 1]! - mean)
      variance += (ports[i]! - mean) ** 2
    }
    expect(Math.abs(covariance / variance)).toBeLessThan(0.03)
    const other = make(whole, 2)
    expect(Array.from({ length: 20 }, () => other.allocate(0))).not.toEqual(ports.slice(0, 20))
  })

  test('resting ports wait, in the order they came, and not more than allowed', () => {
    const pool = make({ first: 10, last: 13 }, 1, 2)
    const ports = [0, 1, 2, 3].map(() => pool.allocate(0))
    pool.release(ports[0]!, 100, 0)
    pool.release(ports[1]!, 100, 50)
    expect([pool.allocate(99), pool.resting(99)]).toEqual([-1, 2])
    expect(pool.allocate(100)).toBe(ports[0])
    expect(pool.allocate(149)).toBe(-1)
    // The third one pushes the longest resting out.
    pool.release(ports[2]!, 100, 120)
    pool.release(ports[3]!, 100, 120)
    expect(pool.allocate(121)).toBe(ports[1])
    expect(pool.allocate(219)).toBe(-1)
    expect(pool.resting(220)).toBe(0)
  })

  test('the ring of resting ports survives growth around its end', () => {
    const pool = make({ first: 1000, last: 1999 }, 1, 1000)
    const taken: number[] = []
    let now = 0
    const resting: { port: number; until: number }[] = []
    for (let round = 0; round < 3000; round++) {
      now += 7
      while (resting.length > 0 && resting[0]!.until <= now) resting.shift()
      const port = pool.allocate(now)
      if (port !== -1) {
        expect(resting.some(entry => entry.port === port) || taken.includes(port)).toBe(false)
        taken.push(port)
      }
      if (round % 3 !== 0 || taken.length > 400) {
        const freed = taken.shift()!
        if (freed === undefined) continue
        pool.release(freed, 2000, now)
        resting.push({ port: freed, until: now + 2000 })
      }
    }
    expect(pool.resting(now)).toBe(resting.length)
  })
})
