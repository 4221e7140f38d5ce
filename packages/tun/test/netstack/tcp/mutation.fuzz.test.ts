// Segments that are nearly right, right checksums included, at connections in every state: nothing is thrown, nothing
// grows, what is sent is well formed. The short form takes 100 000 of them; FUZZ_RUNS=1000000 more.
import { PacketBatch } from '@twinbore/core/packet'
import { expect, test } from 'vitest'
import { CHUNK_BYTES, MemoryBudget } from '../../../src/netstack/tcp/memory-budget.ts'
import { type Seeded, seededRandomOf } from './seeded.ts'
import { type Incoming, Wire } from './wire.ts'

const runs = Number(process.env.FUZZ_RUNS ?? 100_000)
const seed = Number(process.env.FUZZ_SEED ?? 1)
const receiveCap = 32_768
const sendCap = 32_768

test(`${runs} mutated segments (seed ${seed})`, () => {
  const random = seededRandomOf(seed)
  const memory = new MemoryBudget(2 ** 24)
  const states = new Map<string, number>()
  let wire = begin(random, memory)
  for (let run = 0; run < runs; ) {
    const batch = Array.from({ length: 1 + random.below(6) }, () => mutated(random, wire))
    run += batch.length
    try {
      wire.receive(...batch)
      act(random, wire)
      check(wire, memory)
    } catch (error) {
      throw new Error(`seed ${seed}, run ${run}: ${error}`, { cause: error })
    }
    const { state } = wire.connection
    states.set(state, (states.get(state) ?? 0) + 1)
    if (state === 'closed' || random.below(100) === 0) {
      wire.connection.release()
      expect(memory.usedBytes).toBe(0)
      wire = begin(random, memory)
    }
  }
  const all = [
    'established',
    'syn-received',
    'syn-sent',
    'close-wait',
    'fin-wait-1',
    'fin-wait-2',
    'closing',
    'last-ack',
  ]
  expect([...all, 'time-wait', 'dialling', 'closed'].filter(state => !states.has(state))).toEqual([])
}, 600_000)

test('any bytes in place of options', () => {
  const random = seededRandomOf(seed)
  for (let run = 0; run < 3000; run++) {
    const rawOptions = random.fill(new Uint8Array(4 * random.below(11)))
    if (random.below(2)) rawOptions[0] = random.pick([2, 3, 4, 5, 8])
    const wire = new Wire({}, { rawOptions })
    wire.connection.confirm(wire.now)
    wire.receive({ rawOptions, length: 10 })
    wire.sent()
  }
})

test('a batch that fills up loses nothing', () => {
  const wire = new Wire({}, { mss: 1000, sackPermitted: true })
  wire.connection.confirm(wire.now)
  wire.sent()
  wire.receive({})
  wire.connection.write(new Uint8Array(10_000), wire.now)
  const batch = new PacketBatch({ capacity: 1 })
  let segments = 0
  while (wire.connection.wantsToSend) {
    batch.reset()
    expect(wire.connection.emit(batch, wire.now)).toBe(1)
    expect(wire.connection.emit(batch, wire.now)).toBe(0)
    segments++
  }
  expect(segments).toBe(10)
})

function begin(random: Seeded, memory: MemoryBudget): Wire {
  const options = {
    memory,
    maxReceiveWindow: receiveCap,
    maxSendBuffer: sendCap,
    mtu: random.pick([128, 576, 1500]),
    timestamps: random.below(3) > 0,
  }
  if (random.below(6) === 0) return new Wire(options)
  const stamps = options.timestamps && random.below(2) ? { timestamps: [1000, 0] as const } : {}
  const wire = new Wire(options, {
    mss: random.pick([0, 88, 536, 1460, 65_535]),
    scale: random.below(16),
    sackPermitted: true,
    ...stamps,
  })
  if (random.below(10) === 0) return wire
  wire.connection.confirm(wire.now)
  wire.sent()
  if (random.below(8) > 0) wire.receive({ ...(stamps.timestamps ? { timestamps: [1001, wire.now] } : {}) })
  return wire
}

function mutated(random: Seeded, wire: Wire): Incoming {
  const flags = random.pick(['A', 'A', 'A', 'A', 'PA', 'PA', 'FA', 'F', 'S', 'SA', 'R', 'RA', 'UA', '', 'SFRPAU'])
  // Resets and the like are rarer than in a uniform choice, or no connection would live.
  if (/[RS]/.test(flags) && random.below(4) > 0) return mutated(random, wire)
  const near = () => random.pick([-1, 0, 0, 0, 0, 1, 2, 100, 1460, 30_000, -1460, 0x4000_0000, -0x8000_0000])
  const { next, unacknowledged, expected } = progressOf(wire)
  const sackStart = random.pick([unacknowledged, next, 1]) + near()
  return {
    flags,
    seq: expected + near(),
    ack: random.pick([unacknowledged, next, next, next]) + random.pick([0, 0, 0, 1, -1, near()]),
    window: random.pick([0, 1, 100, 5000, 65_535]),
    length: random.pick([0, 0, 1, 10, 500, 1400]),
    ...(random.below(2) ? { timestamps: [1000 + random.below(50) + near(), wire.now - random.below(300)] } : {}),
    ...(random.below(3) === 0
      ? {
          sack: Array.from({ length: 1 + random.below(2) }, (_, i) => {
            const left = sackStart + i * random.below(3000)
            return [left, left + random.pick([0, 1, 536, 1460, 3000, -5])] as const
          }),
        }
      : {}),
  }
}

/** Where both streams are, as far as the connection tells: read from what it sends. */
const progress = new WeakMap<Wire, { next: number; unacknowledged: number; expected: number }>()

function progressOf(wire: Wire) {
  const known = progress.get(wire) ?? { next: 1, unacknowledged: 1, expected: 1 }
  progress.set(wire, known)
  return known
}

function act(random: Seeded, wire: Wire): void {
  const { connection } = wire
  switch (random.below(12)) {
    case 0:
      connection.write(new Uint8Array(random.below(random.pick([100, 3000, 40_000]))), wire.now)
      break
    case 1:
      connection.read(random.below(5000))
      break
    case 2:
      if (random.below(20) === 0) connection.shutdown(wire.now)
      break
    case 3:
      if (random.below(100) === 0) connection.abort(wire.now)
      break
    case 4:
      connection.handlePathMtu(random.below(2000), random.below(2 ** 32), wire.now)
      break
    case 5:
      wire.now += random.below(700)
      if ((connection.deadline ?? Infinity) <= wire.now) connection.handleDeadline(wire.now)
      break
    case 6:
      connection.confirm(wire.now)
      break
    default:
      wire.now += 1
  }
  const known = progressOf(wire)
  for (const segment of wire.sent()) {
    known.next = Math.max(known.next, segment.seq + segment.length)
    if (segment.ack !== -1) known.expected = segment.ack
  }
  wire.outputs()
}

function check(wire: Wire, memory: MemoryBudget): void {
  const { connection } = wire
  if (connection.readableBytes > receiveCap || connection.readableBytes < 0) throw new Error('too much to read')
  if (memory.usedBytes > receiveCap + sendCap + 6 * CHUNK_BYTES) throw new Error(`${memory.usedBytes} bytes held`)
  if (memory.usedBytes !== connection.heldBytes) throw new Error('memory is lost')
  const { deadline } = connection
  if (deadline !== undefined && !Number.isFinite(deadline)) throw new Error(`deadline ${deadline}`)
}
