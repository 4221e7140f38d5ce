import { expect, test } from 'vitest'
import type { PlaneStats } from '../../src/data-plane/engine.ts'
import { addStats } from '../../src/data-plane/plane-stats.ts'

test('counts go on over a successor, levels are its own', () => {
  const stats = (n: number, drops: Record<string, number>) =>
    ({
      sessions: n,
      drops,
      device: { reads: n },
      socket: { sendCalls: n },
      datagram: undefined,
    }) as unknown as PlaneStats
  expect(addStats(stats(5, { replayed: 1, queueFull: 2 }), stats(3, { replayed: 4, malformed: 1 }))).toEqual({
    sessions: 3,
    translator: undefined,
    drops: { replayed: 5, queueFull: 2, malformed: 1 },
    device: { reads: 8 },
    socket: { sendCalls: 8 },
    datagram: undefined,
  })
})
