import { PathMtu } from '@twinbore/core'
import { type Milliseconds, minutes } from '@twinbore/core/runtime'
import { machineComplianceTests } from '@twinbore/core/testing'
import { describe, expect, test } from 'vitest'
import { LearnedMtu } from '../../src/protocol/learned-mtu.ts'

const GRACE = 50

/** A search against a path that echoes what is no longer than `limit`. */
class Path {
  now: Milliseconds = 0
  limit: number
  probes: number[] = []
  results: string[] = []
  loses: (count: number) => boolean = () => false
  readonly search = new PathMtu(() => GRACE)
  private ids = 0

  constructor(limit: number) {
    this.limit = limit
  }

  start(ceiling = 1434, floor = 576): this {
    this.search.start(ceiling, floor, this.now)
    return this.drain()
  }

  drain(): this {
    for (let out = this.search.poll(); out !== undefined; out = this.search.poll()) {
      if (out.type !== 'probe') {
        this.results.push(out.type === 'settled' ? `${out.mtu}` : out.type)
        continue
      }
      this.probes.push(out.size)
      const id = ++this.ids
      this.search.probeSent(id)
      if (out.size <= this.limit && !this.loses(id)) this.search.handleAnswer(id, this.now)
    }
    return this
  }

  runTo(until: Milliseconds): this {
    while (this.search.deadline !== undefined && this.search.deadline <= until) {
      this.now = this.search.deadline
      this.search.handleDeadline(this.now)
      this.drain()
    }
    this.now = until
    return this
  }
}

describe('the search (RFC 8899 §5.3)', () => {
  test('costs one probe when the longest packet passes', () => {
    const path = new Path(1434).start()
    expect(path.results).toEqual(['1434'])
    expect(path.probes).toEqual([1434])
  })

  test.each([576, 580, 700, 1000, 1254, 1280, 1400, 1433])('finds %d to within 8 bytes, in 2 s', limit => {
    const path = new Path(limit).start().runTo(2000)
    expect(path.results).toHaveLength(1)
    const found = Number(path.results[0])
    expect(found).toBeLessThanOrEqual(limit)
    expect(found).toBeGreaterThan(limit - 8)
  })

  test('tries each size five times before it gives it up', () => {
    const path = new Path(1434)
    path.loses = id => id < 5
    path.start().runTo(1000)
    expect(path.results).toEqual(['1434'])
    expect(path.probes).toEqual([1434, 1434, 1434, 1434, 1434])
  })

  test('fails when not even the smallest size passes, and ends', () => {
    const path = new Path(575).start().runTo(60_000)
    expect(path.results).toEqual(['failed'])
    expect(path.search.stopped).toBe(true)
    expect(path.search.deadline).toBeUndefined()
  })

  test('stays within its bounds', () => {
    const path = new Path(9999).start(1300, 1280)
    expect(path.results).toEqual(['1300'])
    expect(new Path(1200).start(1300, 1280).runTo(5000).results).toEqual(['failed'])
    expect(new Path(9999).start(100, 1280).results).toEqual(['1280'])
  })

  test('believes only answers to its probes of the size on trial', () => {
    const path = new Path(0).start()
    path.search.handleAnswer(999, 1)
    path.drain()
    expect(path.results).toEqual([])
  })
})

describe('after it settled', () => {
  test('a smaller path is noticed by the next confirmation, once a minute of traffic', () => {
    const path = new Path(1434).start()
    path.limit = 1300
    path.search.noteTraffic(minutes(1) - 1)
    path.drain().runTo(minutes(1))
    expect(path.results).toEqual(['1434'])
    path.search.noteTraffic(path.now)
    path.drain().runTo(minutes(1) + 3000)
    expect(path.results).toHaveLength(2)
    expect(Number(path.results[1])).toBeGreaterThan(1300 - 8)
    expect(Number(path.results[1])).toBeLessThanOrEqual(1300)
  })

  test('a larger path is noticed after ten minutes (RFC 8899 §5.1.1)', () => {
    const path = new Path(1300).start().runTo(3000)
    path.limit = 1434
    expect(path.runTo(minutes(10)).results).toHaveLength(1)
    expect(path.runTo(minutes(10) + 5000).results[1]).toBe('1434')
  })

  test('a raise that fails leaves what there is', () => {
    const path = new Path(1300).start().runTo(3000)
    const found = path.results[0]
    path.runTo(minutes(11))
    expect(path.results).toEqual([found, found])
  })

  test('the operating system may say that a size is too long', () => {
    const path = new Path(1434).start()
    path.limit = 1400
    path.search.handleTooBig(1434, path.now)
    path.drain().runTo(5000)
    expect(Number(path.results[1])).toBeGreaterThan(1392)
    expect(Number(path.results[1])).toBeLessThanOrEqual(1400)
    path.search.handleTooBig(1434, path.now)
    expect(path.drain().results).toHaveLength(2)
  })
})

describe('as a machine', () => {
  const checks = machineComplianceTests(() => {
    const search = new PathMtu(() => GRACE)
    let id = 0
    return {
      machine: search,
      inputs: [
        now => search.start(1434, 576, now),
        () => search.probeSent(++id),
        now => search.handleAnswer(1, now),
        now => search.confirm(now),
        now => search.handleTooBig(1434, now),
      ],
    }
  })
  for (const check of checks) test(check.name, check.run)
})

describe('what a gateway learns from the probes of its client', () => {
  test('is the largest that arrives, once the client is done', () => {
    const learned = new LearnedMtu()
    learned.noteProbe(1000, 0)
    learned.noteProbe(1254, 300)
    learned.noteProbe(1200, 600)
    learned.noteProbe(4, 900)
    expect(learned.deadline).toBe(1600)
    expect(learned.take(1599)).toBeUndefined()
    expect(learned.take(1600)).toBe(1254)
    expect(learned.take(9999)).toBeUndefined()
  })

  test('is nothing when there are only short ones', () => {
    const learned = new LearnedMtu()
    learned.noteProbe(100, 0)
    expect(learned.deadline).toBeUndefined()
  })
})
