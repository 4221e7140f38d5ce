import { describe } from 'vitest'
import { check, checkGap, longScenario, scenario } from './scenario.ts'
import { StockClient, StockGateway } from './stock-peers.ts'
import { type Flow, TwoChannelWorld, type WorldOptions } from './two-channel-world.ts'

// Our sessions with other programs on the other side: no notices are understood, no quick watch is run there.

const timers = { dpdSeconds: 5, keepaliveSeconds: 20, rekeySeconds: 0, rekeyMethod: 'none' } as const
const parameters = { stream: timers, datagram: { ...timers, port: 443, appId: new Uint8Array(32) } }

interface Busy {
  readonly world: TwoChannelWorld
  readonly up: Flow
  readonly down: Flow
}

function busy(options: WorldOptions): Busy {
  const world = new TwoChannelWorld({ parameters, ...options })
  const up = world.flow('client', 10)
  const down = world.flow('gateway', 15)
  world.advance(4000)
  check(world, world.client.activeChannel === 'datagram', 'the client uses the datagram channel')
  check(world, world.gateway.activeChannel === 'datagram', 'the gateway uses the datagram channel')
  return { world, up, down }
}

const withStockClient = (seed: number, link: WorldOptions['link'] = {}) =>
  busy({ seed, link: { latencyMs: 5 + (seed % 45), ...link }, stockClient: granted => new StockClient(granted) })

const withStockGateway = (seed: number, link: WorldOptions['link'] = {}) =>
  busy({ seed, link: { latencyMs: 5 + (seed % 45), ...link }, stockGateway: granted => new StockGateway(granted) })

describe('our gateway and a stock client', () => {
  longScenario('stock client: dark both ways, what the gateway sends is out for half a second', seed => {
    const { world, up, down } = withStockClient(seed)
    const darkAt = world.now
    world.link.blackhole()
    world.advance(15_000)
    checkGap(world, down, darkAt, 500)
    // A stock client needs twice its DPD interval.
    checkGap(world, up, darkAt, 10_600)
    world.link.restore()
    world.advance(80_000)
    check(world, world.gateway.activeChannel === 'datagram', 'the gateway is back on the datagram channel')
    check(world, world.client.activeChannel === 'datagram', 'the client is back on the datagram channel')
    return world
  })

  scenario('stock client: 1 to 5 % loss, reordering, duplicates: the gateway never moves', seed => {
    const { world } = withStockClient(seed, { loss: 0.01 + (seed % 5) * 0.01, reorder: 0.02, duplicate: 0.02 })
    const since = world.now
    world.advance(20_000)
    check(world, world.changes('gateway', since).length === 0, 'the gateway never moved')
    return world
  })

  scenario('stock client: hardly any data: the gateway uses the datagram channel and stays there', seed => {
    const stockClient = (granted: TwoChannelWorld['parameters']) => new StockClient(granted)
    const world = new TwoChannelWorld({ parameters, seed, link: { latencyMs: 20, loss: 0.01 }, stockClient })
    world.advance(8000)
    check(world, world.gateway.activeChannel === 'datagram', 'the gateway uses the datagram channel')
    world.flow('gateway', 2500 + seed)
    world.advance(60_000)
    check(world, world.changes('gateway', 8000).length === 0, 'the gateway never moved')
    return world
  })

  longScenario('stock client: only what it sends is lost: it notices after twice its DPD interval', seed => {
    const { world, up, down } = withStockClient(seed)
    const darkAt = world.now
    world.link.blackhole('outbound')
    world.advance(15_000)
    checkGap(world, down, darkAt, 500)
    checkGap(world, up, darkAt, 11_000)
    world.link.restore()
    world.advance(80_000)
    check(world, world.gateway.activeChannel === 'datagram', 'the gateway is back on the datagram channel')
    return world
  })

  longScenario('stock client: only what it gets is lost: it notices after twice its DPD interval', seed => {
    const { world, up, down } = withStockClient(seed)
    const darkAt = world.now
    world.link.blackhole('inbound')
    world.advance(15_000)
    checkGap(world, down, darkAt, 11_000)
    checkGap(world, up, darkAt, 500)
    world.link.restore()
    world.advance(80_000)
    check(world, world.gateway.activeChannel === 'datagram', 'the gateway is back on the datagram channel')
    return world
  })

  scenario('stock client: it is cut and reconnects: the session goes on', seed => {
    const { world, up, down } = withStockClient(seed)
    const cutAt = world.now
    world.stream.cut()
    world.advance(10_000)
    checkGap(world, up, cutAt, 150)
    checkGap(world, down, cutAt, 150)
    return world
  })
})

describe('our client and a stock gateway', () => {
  scenario('stock gateway: dark both ways, data is out for half a second', seed => {
    const { world, up, down } = withStockGateway(seed)
    const darkAt = world.now
    world.link.blackhole()
    world.advance(3000)
    checkGap(world, up, darkAt, 500)
    checkGap(world, down, darkAt, 600)
    world.link.restore()
    world.advance(20_000)
    check(world, world.client.activeChannel === 'datagram', 'the client is back on the datagram channel')
    check(world, world.gateway.activeChannel === 'datagram', 'the gateway is back on the datagram channel')
    return world
  })

  scenario('stock gateway: 1 to 5 % loss, reordering, duplicates: the client never moves', seed => {
    const { world } = withStockGateway(seed, { loss: 0.01 + (seed % 5) * 0.01, reorder: 0.02, duplicate: 0.02 })
    const since = world.now
    world.advance(20_000)
    check(world, world.changes('client', since).length === 0, 'the client never moved')
    return world
  })

  scenario('stock gateway: it forgets the association when the client reconnects: hardly a gap', seed => {
    const { world, up, down } = withStockGateway(seed)
    const cutAt = world.now
    world.stream.cut()
    world.advance(10_000)
    checkGap(world, up, cutAt, 400)
    checkGap(world, down, cutAt, 400)
    check(world, world.client.activeChannel === 'datagram', 'the client is back on the datagram channel')
    check(world, world.gateway.activeChannel === 'datagram', 'the gateway is back on the datagram channel')
    return world
  })

  longScenario('stock gateway: dark for minutes', seed => {
    const { world, up, down } = withStockGateway(seed)
    const darkAt = world.now
    world.link.blackhole()
    world.advance(60_000 + (seed % 10) * 10_000)
    checkGap(world, up, darkAt, 500)
    checkGap(world, down, darkAt, 600)
    world.link.restore()
    world.advance(80_000)
    check(world, world.client.activeChannel === 'datagram', 'the client is back on the datagram channel')
    return world
  })
})
