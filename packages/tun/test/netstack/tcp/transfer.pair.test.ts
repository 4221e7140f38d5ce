// Two connections and a bad link: every byte arrives, both ways, whatever happens on it. The short form runs some dozens
// of seeds; FUZZ_RUNS=5000 runs more, FUZZ_SEED=n begins with another one.
import type { LinkConditions } from '@twinbore/core/testing'
import { describe, expect, test } from 'vitest'
import { type Options, Pair, type PairOptions, transfer } from './pair.ts'
import { seededRandomOf } from './seeded.ts'

const runs = Number(process.env.FUZZ_RUNS ?? 0)
const firstSeed = Number(process.env.FUZZ_SEED ?? 1)
const bytes = 60_000

function expectIntact(pair: Pair, what: unknown): void {
  for (const side of [pair.client, pair.server]) {
    const peer = side === pair.client ? pair.server : pair.client
    const outcome = { received: side.received, wrong: side.wrong, ended: side.connection?.peerEnded }
    expect(outcome, JSON.stringify(what)).toEqual({ received: peer.toSend, wrong: 0, ended: true })
    const failure = side.outputs.findIndex(type => type === 'reset' || type === 'timed-out')
    if (failure !== -1) expect(side.outputs.indexOf('ended'), JSON.stringify(what)).toBeLessThan(failure)
  }
}

const impairments: Record<string, Partial<LinkConditions>> = {
  nothing: {},
  'loss 1 %': { loss: 0.01 },
  'loss 5 %': { loss: 0.05 },
  'loss 20 %': { loss: 0.2 },
  reordering: { reorder: 0.25, reorderMs: 10 },
  jitter: { jitterMs: 60 },
  duplicates: { duplicate: 0.2 },
  corruption: { corrupt: 0.05 },
  'a short queue': { rateBps: 2e6, queueBytes: 6000 },
  'all of it': { loss: 0.02, reorder: 0.1, duplicate: 0.05, corrupt: 0.02, jitterMs: 10 },
}

describe.each(Object.entries(impairments))('a link with %s', (name, conditions) => {
  test('carries both streams to their ends', () => {
    let corrupted = 0
    for (let seed = firstSeed; seed < firstSeed + Math.max(3, runs / 20); seed++) {
      const pair = transfer({ seed, link: { latencyMs: 15, ...conditions } }, bytes, bytes, 3_600_000)
      expectIntact(pair, { name, seed })
      corrupted += pair.corrupted
    }
    if (name === 'corruption') expect(corrupted).toBeGreaterThan(0)
  })
})

test('any two ends over any link', () => {
  for (let seed = firstSeed; seed < firstSeed + Math.max(40, runs); seed++) {
    const options = randomOptions(seed)
    const pair = transfer(options, options.up, options.down, 7_200_000)
    expectIntact(pair, { seed, ...options })
    pair.run(() => pair.client.connection!.closed && pair.server.connection!.closed, 1_000_000)
    expect([pair.client.memory.usedBytes, pair.server.memory.usedBytes], `seed ${seed}`).toEqual([0, 0])
  }
}, 600_000)

describe('the path gets narrower during a transfer', () => {
  test.each([1, 2, 3])('seed %i', seed => {
    const pair = new Pair({ seed, link: { latencyMs: 20, loss: 0.01 } })
    pair.client.toSend = 200_000
    pair.server.toSend = 200_000
    pair.open()
    pair.run(() => pair.server.received > 50_000)
    pair.link.change({ mtu: 700 })
    pair.advance(70)
    for (const side of [pair.client, pair.server]) {
      side.connection!.handlePathMtu(700, undefined, pair.now)
      pair.flush(side)
    }
    pair.run(() => pair.client.connection!.peerEnded && pair.server.connection!.peerEnded)
    expectIntact(pair, { seed })
  })
})

test('half-close each way: the other half goes on', () => {
  for (const first of ['client', 'server'] as const) {
    const pair = new Pair({ link: { latencyMs: 10, loss: 0.02 } })
    const second = first === 'client' ? 'server' : 'client'
    pair[first].toSend = 1000
    pair[second].shutdownAfter = false
    pair.open()
    pair.run(() => pair[second].connection?.peerEnded ?? false)
    expect(pair[first].connection!.state).toMatch(/fin-wait-[12]/)
    pair[second].toSend = 300_000
    pair[second].shutdownAfter = true
    pair[second].write(pair.now)
    pair.flush(pair[second])
    pair.run(() => pair[first].connection!.peerEnded)
    expectIntact(pair, { first })
  }
})

test('data and then RST, a thousand times: never a clean end', () => {
  for (let seed = 1; seed <= 1000; seed++) {
    const pair = new Pair({ seed, link: { latencyMs: 1, reorder: 0.2, reorderMs: 1 }, batch: 1 + (seed % 8) })
    pair.server.toSend = 100 * (seed % 50)
    pair.server.shutdownAfter = false
    pair.open()
    pair.run(() => pair.server.connection?.state === 'established')
    pair.advance(seed % 20)
    pair.server.connection!.abort(pair.now)
    pair.flush(pair.server)
    pair.run(() => pair.client.connection!.closed, 10_000)
    expect(pair.client.outputs).not.toContain('ended')
    expect(pair.client.connection!.peerEnded).toBe(false)
    // A RST that overtook data is only in the window; the challenge brings another one.
    expect(pair.client.outputs.slice(-2)).toEqual(['reset', 'closed'])
  }
})

test('a reader of 1 kB/s gets all of it, and neither side keeps more than its caps', () => {
  const pair = new Pair({
    link: { latencyMs: 20 },
    server: { maxReceiveWindow: 131_072 },
    client: { maxSendBuffer: 131_072 },
  })
  pair.client.toSend = 400_000
  pair.server.reading = false
  pair.open()
  let most = 0
  for (let second = 0; second < 500 && pair.server.received < 400_000; second++) {
    pair.advance(1000)
    most = Math.max(most, pair.server.memory.usedBytes, pair.client.memory.usedBytes)
    const piece = pair.server.connection!.read(1000)
    if (piece) pair.server.check(piece, pair.client)
    pair.flush(pair.server)
  }
  expect(most).toBeLessThanOrEqual(131_072 + 16_384)
  expectIntact(pair, 'slow reader')
})

describe('throughput in virtual time', () => {
  const rateOf = (options: PairOptions, seconds: number): number => {
    const pair = new Pair(options)
    pair.client.toSend = 1e9
    pair.open()
    pair.advance(seconds * 1000)
    expect(pair.server.wrong).toBe(0)
    return (pair.server.received * 8) / seconds
  }

  test('at 1 % loss and 40 ms: what CUBIC and Reno have there, 1.22 MSS / (RTT sqrt(p)) (RFC 9438 §5.1)', () => {
    const theory = (Math.sqrt(1.5 / 0.01) * 1348 * 8) / 0.04
    const rates = [1, 2, 3].map(seed => rateOf({ seed, link: { latencyMs: 20, loss: 0.01 } }, 30))
    expect(rates.reduce((sum, rate) => sum + rate, 0) / 3).toBeGreaterThan(0.85 * theory)
  })

  test('a clean 20 Mbit/s link is filled', () => {
    expect(rateOf({ link: { latencyMs: 20, rateBps: 20e6 } }, 10)).toBeGreaterThan(0.85 * 20e6)
  })

  test('so is one that reorders', () => {
    expect(rateOf({ link: { latencyMs: 20, rateBps: 20e6, reorder: 0.02 } }, 10)).toBeGreaterThan(0.8 * 20e6)
  })

  test('a long fat path needs windows of megabytes, and gets them', () => {
    expect(rateOf({ link: { latencyMs: 50 } }, 3)).toBeGreaterThan(150e6)
  })
})

function randomOptions(seed: number): PairOptions & { up: number; down: number } {
  const random = seededRandomOf(seed)
  const side = (): Options => {
    const scale = random.below(15)
    const receive = Math.max(2048, 2 ** (scale + 1), 4096 << random.below(6))
    return {
      initialSequence: random.pick([0, 1, 0xffff_ffff, 0xffff_f000, 0x7fff_fff0, 0xffff_0000, random.below(2 ** 32)]),
      mtu: random.pick([128, 576, 1280, 1400, 1500, 2000]),
      timestamps: random.below(4) > 0,
      selectiveAcknowledgments: random.below(4) > 0,
      windowScaling: random.below(4) > 0,
      windowScale: scale,
      initialReceiveWindow: receive,
      maxReceiveWindow: Math.max(receive, random.pick([65_536, 1_048_576])),
      minRtoMs: random.pick([200, 1000]),
      giveUpMs: 1e7,
      synRetries: 100,
    }
  }
  return {
    seed,
    v6: random.below(3) === 0,
    batch: 1 + random.below(40),
    client: side(),
    server: side(),
    up: random.below(bytes),
    down: random.below(bytes),
    link: {
      latencyMs: random.below(100),
      jitterMs: random.pick([0, 0, 5, 50]),
      loss: random.pick([0, 0.01, 0.05, 0.2]),
      reorder: random.pick([0, 0, 0.02, 0.3]),
      reorderMs: random.pick([1, 20, 200]),
      duplicate: random.pick([0, 0, 0.05]),
      corrupt: random.pick([0, 0, 0.02]),
      rateBps: random.pick([Infinity, 1e6, 10e6]),
      queueBytes: random.pick([10_000, 262_144]),
    },
  }
}
