// Connects that nobody answers, and how many there may be.
import { createServer } from 'node:net'
import { systemRandom } from '@twinbore/core/io'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { SocketRelayOptions } from '../../../src/io/index.ts'
import { BlackHole } from './black-hole.ts'
import { type ClientFlow, client4, outside, RelayWorld } from './relay-world.ts'

const other4 = '10.77.0.3'
let hole: BlackHole
let livePort = 0
const server = createServer(socket => {
  socket.on('error', () => {})
  socket.end('alive')
})
const closing: (() => void)[] = []

beforeAll(async () => {
  hole = await BlackHole.open()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.77', resolve))
  livePort = (server.address() as { port: number }).port
})
afterEach(() => {
  for (const step of closing.splice(0)) step()
})
afterAll(() => {
  hole.close()
  server.close()
})

function makeWorld(options: Partial<SocketRelayOptions> = {}): RelayWorld {
  const world = new RelayWorld(options, [client4, other4])
  closing.push(() => world.close())
  return world
}

const dark = (n: number) => ({ address: outside(`127.0.0.${n}`), port: hole.port })

async function isServed(flow: ClientFlow): Promise<void> {
  await flow.until(() => flow.text() === 'alive' || flow.isReset)
  expect(flow.text()).toBe('alive')
}

test('a connect that is not answered in time is told as "host unreachable"', async () => {
  const world = makeWorld({ limits: { dialTimeoutMs: 100 } })
  const flow = world.connect(dark(1))
  await flow.until(() => flow.has('icmp-error'))
  expect(flow.outputs).toContainEqual({ type: 'icmp-error', flow: flow.id, kind: 'host-unreachable' })
  expect(world.relay.stats()).toMatchObject({ dials: 1, dialsFailed: 1, stack: { dials: 0 } })
  await expect.poll(() => world.relay.stats().tcpSockets).toBe(0)
})

test('a connect ends with the session of its client', async () => {
  const world = makeWorld()
  world.connect(dark(1))
  await expect.poll(() => world.relay.stats().dials).toBe(1)
  world.relay.removeSource(client4)
  expect(world.relay.stats()).toMatchObject({ dialsAbandoned: 1, dialsFailed: 0 })
  await expect.poll(() => world.relay.stats().tcpSockets).toBe(0)
})

test('30 hosts that never answer one client delay neither another client nor the connects of that one that came before', async () => {
  const world = makeWorld()
  await isServed(world.connect({ address: outside('127.0.0.77'), port: livePort }))
  for (let n = 1; n <= 30; n++) for (let i = 0; i < 10; i++) world.connect(dark(n), client4)
  // 64 is what one client may have under way; the rest was dropped.
  await expect.poll(() => world.relay.stats().stack.dialLimitHits).toBe(300 - 64)
  expect(world.relay.stats().stack.dials).toBe(64)
  await isServed(world.connect({ address: outside('127.0.0.77'), port: livePort }, other4))
  expect(world.relay.stats().stack.dials).toBe(64)
})

test('one host that never answers leaves its client half of its connects for other hosts', async () => {
  const world = makeWorld()
  for (let i = 0; i < 100; i++) world.connect(dark(1))
  await expect.poll(() => world.relay.stats().dialLimitHits + world.relay.stats().stack.dialLimitHits).toBe(100 - 32)
  await isServed(world.connect({ address: outside('127.0.0.77'), port: livePort }))
})

test('many short connections leave neither sockets nor memory', async () => {
  const rates = { newFlowsPerSecondPerSource: 1e6, newFlowBurstPerSource: 1e6 }
  const world = makeWorld({ stack: { random: systemRandom, limits: rates } })
  const rounds = Number(process.env.RELAY_ROUNDS ?? 40)
  for (let round = 0; round < rounds; round++) {
    const flows = Array.from({ length: 30 }, () => world.connect({ address: outside('127.0.0.77'), port: livePort }))
    for (const flow of flows) {
      await isServed(flow)
      flow.end()
      await flow.until(() => flow.has('flow-closed'))
      world.flows.delete(flow.id)
    }
  }
  await expect.poll(() => world.relay.stats()).toMatchObject({ tcpSockets: 0, stack: { bufferBytes: 0, dials: 0 } })
  expect(world.relay.stats().dials).toBe(rounds * 30)
}, 60_000)
