import { describe, expect, test } from 'vitest'
import { transfer } from './pair.ts'

test('clean', () => {
  const pair = transfer({ link: { latencyMs: 10 } }, 3_000_000, 2_000_000)
  console.log(
    pair.now,
    pair.client.outputs,
    pair.server.outputs,
    pair.link.stats('outbound'),
    pair.link.stats('inbound'),
  )
  expect([pair.server.received, pair.client.received, pair.server.wrong, pair.client.wrong]).toEqual([
    3_000_000, 2_000_000, 0, 0,
  ])
})
test('lossy', () => {
  for (const loss of [0.01, 0.05, 0.2]) {
    const pair = transfer(
      { link: { latencyMs: 20, loss, reorder: 0.02, duplicate: 0.02, corrupt: 0.01 } },
      1_000_000,
      1_000_000,
    )
    console.log(
      loss,
      pair.now,
      pair.corrupted,
      pair.client.connection!.state,
      pair.link.stats('outbound'),
      pair.link.stats('inbound'),
    )
    expect([pair.server.received, pair.client.received, pair.server.wrong, pair.client.wrong]).toEqual([
      1_000_000, 1_000_000, 0, 0,
    ])
  }
})
