import { type LinkConditions, machineComplianceTests, NetworkEmulator } from '@twinbore/core/testing'
import { describe, expect, test } from 'vitest'

/** Sends numbered datagrams one millisecond apart and returns what arrives, when and in which order. */
function run(conditions: Partial<LinkConditions>, count = 1000, seed = 7) {
  const link = new NetworkEmulator({ seed, conditions })
  const arrived: { number: number; at: number; bytes: Uint8Array }[] = []
  const collect = (now: number) => {
    for (let out = link.poll(); out; out = link.poll()) {
      arrived.push({ number: (out.bytes[0]! << 8) | out.bytes[1]!, at: now, bytes: out.bytes })
    }
  }
  const runTo = (end: number) => {
    while (link.deadline !== undefined && link.deadline <= end) {
      const now = link.deadline
      link.handleDeadline(now)
      collect(now)
    }
  }
  for (let i = 0; i < count; i++) {
    runTo(i)
    link.send('outbound', Uint8Array.of(i >>> 8, i & 0xff, 0, 0), i)
    collect(i)
  }
  runTo(Infinity)
  return { link, arrived, numbers: arrived.map(entry => entry.number), stats: link.stats('outbound') }
}

const inOrder = (numbers: number[]) => numbers.every((number, i) => i === 0 || number > numbers[i - 1]!)

test('a perfect link delivers everything at once, in order and unchanged', () => {
  const { arrived, stats } = run({})
  expect(arrived.map(entry => entry.number)).toEqual(Array.from({ length: 1000 }, (_, i) => i))
  expect(arrived.every(entry => entry.at === entry.number)).toBe(true)
  expect(stats).toMatchObject({ sent: 1000, delivered: 1000, lost: 0 })
})

test('latency delays every datagram by exactly that much', () => {
  expect(run({ latencyMs: 40 }).arrived.every(entry => entry.at === entry.number + 40)).toBe(true)
})

test('jitter spreads delays and keeps the order', () => {
  const { arrived, numbers } = run({ latencyMs: 40, jitterMs: 30 })
  const delays = arrived.map(entry => entry.at - entry.number)
  expect(Math.min(...delays)).toBeGreaterThanOrEqual(40)
  expect(Math.max(...delays)).toBeLessThanOrEqual(70)
  expect(new Set(delays).size).toBeGreaterThan(10)
  expect(inOrder(numbers)).toBe(true)
})

test('loss takes about its share', () => {
  const { stats, numbers } = run({ loss: 0.2 })
  expect(stats.lost).toBeGreaterThan(140)
  expect(stats.lost).toBeLessThan(260)
  expect(numbers.length).toBe(1000 - stats.lost)
})

test('reordered datagrams are overtaken by later ones and still arrive', () => {
  const { stats, numbers } = run({ reorder: 0.1, reorderMs: 5 })
  expect(stats.reordered).toBeGreaterThan(50)
  expect(inOrder(numbers)).toBe(false)
  expect(numbers.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 1000 }, (_, i) => i))
})

test('duplicates arrive twice', () => {
  const { stats, numbers } = run({ duplicate: 0.1 })
  expect(stats.duplicated).toBeGreaterThan(50)
  expect(numbers.length).toBe(1000 + stats.duplicated)
})

test('corruption flips exactly one bit', () => {
  const { stats, arrived } = run({ corrupt: 1 })
  expect(stats.corrupted).toBe(1000)
  const flipped = arrived.map(({ bytes }, i) => {
    const sent = [i >>> 8, i & 0xff, 0, 0]
    return sent.reduce((sum, byte, at) => sum + (byte ^ bytes[at]!).toString(2).replaceAll('0', '').length, 0)
  })
  expect(flipped.every(count => count === 1)).toBe(true)
})

test('datagrams longer than the MTU disappear', () => {
  const link = new NetworkEmulator({ conditions: { mtu: 100 } })
  link.send('inbound', new Uint8Array(100), 0)
  link.send('inbound', new Uint8Array(101), 0)
  expect(link.poll()?.bytes.length).toBe(100)
  expect(link.poll()).toBeUndefined()
  expect(link.stats('inbound')).toMatchObject({ tooBig: 1, delivered: 1 })
})

test('the rate spaces datagrams out, and what the queue has no room for disappears', () => {
  const link = new NetworkEmulator({ conditions: { rateBps: 8_000_000, queueBytes: 3000 } })
  for (let i = 0; i < 5; i++) link.send('outbound', new Uint8Array(1000), 0)
  const arrivals: number[] = []
  while (link.deadline !== undefined) {
    arrivals.push(link.deadline)
    link.handleDeadline(link.deadline)
  }
  expect(arrivals).toEqual([1, 2, 3])
  expect(link.stats('outbound').queueOverflow).toBe(2)
})

describe('a blackhole', () => {
  test('swallows one direction, lets pass what is on its way, and ends', () => {
    const link = new NetworkEmulator({ conditions: { latencyMs: 10 } })
    link.send('outbound', Uint8Array.of(1), 0)
    link.blackhole('outbound')
    link.send('outbound', Uint8Array.of(2), 1)
    link.send('inbound', Uint8Array.of(3), 1)
    link.restore()
    link.send('outbound', Uint8Array.of(4), 2)
    link.handleDeadline(100)
    const bytes: number[] = []
    for (let out = link.poll(); out; out = link.poll()) bytes.push(out.bytes[0]!)
    expect(bytes).toEqual([1, 3, 4])
    expect(link.stats('outbound').blackholed).toBe(1)
  })
})

test('the sender may use its buffer again at once', () => {
  const link = new NetworkEmulator({ conditions: { latencyMs: 1 } })
  const buffer = Uint8Array.of(5)
  link.send('outbound', buffer, 0)
  buffer[0] = 9
  link.handleDeadline(1)
  expect(link.poll()).toEqual({ type: 'delivery', direction: 'outbound', bytes: Uint8Array.of(5) })
})

test('the same seed gives the same link, another seed another one', () => {
  const bad = { loss: 0.1, jitterMs: 20, reorder: 0.1, duplicate: 0.1, corrupt: 0.1 }
  expect(run(bad, 300, 5).arrived).toEqual(run(bad, 300, 5).arrived)
  expect(run(bad, 300, 5).numbers).not.toEqual(run(bad, 300, 6).numbers)
})

test('conditions out of range are misuse', () => {
  expect(() => new NetworkEmulator({ conditions: { loss: 1.1 } })).toThrow('loss must be from 0 to 1')
  expect(() => new NetworkEmulator().change({ latencyMs: -1 })).toThrow(RangeError)
  expect(() => new NetworkEmulator().change({ rateBps: 0 })).toThrow(RangeError)
})

describe('keeps the machine contract', () => {
  const checks = machineComplianceTests(() => {
    const machine = new NetworkEmulator({
      seed: 3,
      conditions: { latencyMs: 20, jitterMs: 10, duplicate: 0.3, reorder: 0.3 },
    })
    const inputs = Array.from(
      { length: 30 },
      (_, i) => (now: number) => machine.send(i % 2 ? 'inbound' : 'outbound', Uint8Array.of(i), now),
    )
    return { machine, inputs }
  })
  test.each(checks)('$name', ({ run }) => run())
})
