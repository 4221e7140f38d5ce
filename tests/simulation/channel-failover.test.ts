import { randomBelow, seededRandom } from '@twinbore/core/runtime'
import { describe } from 'vitest'
import { check, checkGap, longScenario, scenario } from './scenario.ts'
import { type Flow, TwoChannelWorld, type WorldOptions } from './two-channel-world.ts'

// Failover between the two channels, client and gateway sessions on emulated links, in virtual time.

/** A world that is up, with data on the datagram channel, and packets each 5 to 20 ms both ways. */
function busyWorld(seed: number, options: Partial<WorldOptions> = {}): BusyWorld {
  const random = seededRandom(seed)
  const world = new TwoChannelWorld({ seed, streamLatencyMs: 10 + randomBelow(random, 30), ...options })
  const up = world.flow('client', 5 + randomBelow(random, 20))
  const down = world.flow('gateway', 5 + randomBelow(random, 20))
  world.advance(3000 + randomBelow(random, 1000))
  check(world, world.client.activeChannel === 'datagram', 'the client uses the datagram channel')
  check(world, world.gateway.activeChannel === 'datagram', 'the gateway uses the datagram channel')
  return { world, up, down }
}

interface BusyWorld {
  readonly world: TwoChannelWorld
  readonly up: Flow
  readonly down: Flow
}

describe('the datagram channel goes dark', () => {
  scenario('both ways: data is out for less than half a second, and returns', seed => {
    const { world, up, down } = busyWorld(seed, { link: { latencyMs: 10 + (seed % 40), jitterMs: seed % 10 } })
    const darkAt = world.now
    world.link.blackhole()
    world.advance(2000 + (seed % 7) * 1000)
    check(world, world.client.activeChannel === 'stream', 'the client uses the stream')
    check(world, world.gateway.activeChannel === 'stream', 'the gateway uses the stream')
    checkGap(world, up, darkAt, 500)
    checkGap(world, down, darkAt, 500)
    const healedAt = world.now
    world.link.restore()
    world.advance(20_000)
    check(world, world.client.activeChannel === 'datagram', 'the client is back on the datagram channel')
    check(world, world.gateway.activeChannel === 'datagram', 'the gateway is back on the datagram channel')
    checkGap(world, up, healedAt, 200)
    checkGap(world, down, healedAt, 200)
    check(world, world.changes('client').length === 4, 'the client moved there and back, once')
    return world
  })

  scenario('from client to gateway only: both ways move to the stream', seed => {
    const { world, up, down } = busyWorld(seed)
    const darkAt = world.now
    world.link.blackhole('outbound')
    world.advance(4000)
    checkGap(world, up, darkAt, 700)
    checkGap(world, down, darkAt, 500)
    world.link.restore()
    world.advance(20_000)
    check(world, world.client.activeChannel === 'datagram', 'the client is back on the datagram channel')
    check(world, world.gateway.activeChannel === 'datagram', 'the gateway is back on the datagram channel')
    return world
  })

  scenario('from gateway to client only: both ways move to the stream', seed => {
    const { world, up, down } = busyWorld(seed)
    const darkAt = world.now
    world.link.blackhole('inbound')
    world.advance(4000)
    checkGap(world, up, darkAt, 500)
    checkGap(world, down, darkAt, 500)
    world.link.restore()
    world.advance(20_000)
    check(world, world.client.activeChannel === 'datagram', 'the client is back on the datagram channel')
    check(world, world.gateway.activeChannel === 'datagram', 'the gateway is back on the datagram channel')
    return world
  })

  scenario('while only the gateway sends: the client tells it to change', seed => {
    const world = new TwoChannelWorld({ seed })
    const down = world.flow('gateway', 10)
    world.advance(4000)
    check(world, world.gateway.activeChannel === 'datagram', 'the gateway uses the datagram channel')
    const darkAt = world.now
    world.link.blackhole()
    world.advance(3000)
    checkGap(world, down, darkAt, 500)
    world.link.restore()
    world.advance(20_000)
    check(world, world.gateway.activeChannel === 'datagram', 'the gateway is back on the datagram channel')
    return world
  })

  scenario('while only the client sends', seed => {
    const world = new TwoChannelWorld({ seed })
    const up = world.flow('client', 10)
    world.advance(4000)
    const darkAt = world.now
    world.link.blackhole()
    world.advance(3000)
    checkGap(world, up, darkAt, 500)
    return world
  })

  longScenario('for minutes: it is tried again in the background until it is back', seed => {
    const { world, up, down } = busyWorld(seed)
    const darkAt = world.now
    world.link.blackhole()
    world.advance(60_000 + (seed % 10) * 20_000)
    checkGap(world, up, darkAt, 500)
    checkGap(world, down, darkAt, 500)
    world.link.restore()
    world.advance(90_000)
    check(world, world.client.activeChannel === 'datagram', 'the client is back on the datagram channel')
    check(world, world.gateway.activeChannel === 'datagram', 'the gateway is back on the datagram channel')
    return world
  })
})

describe('the datagram channel is bad but works', () => {
  scenario('1 to 5 % loss, jitter, reordering, duplicates: no change of channel', seed => {
    const conditions = { loss: 0.01 + (seed % 5) * 0.01, jitterMs: seed % 20, reorder: 0.02, duplicate: 0.02 }
    const { world } = busyWorld(seed, { link: { latencyMs: 10 + (seed % 60), ...conditions } })
    const upAt = world.now
    world.advance(30_000)
    check(world, world.changes('client', upAt).length === 0, 'the client never moved')
    check(world, world.changes('gateway', upAt).length === 0, 'the gateway never moved')
    return world
  })

  scenario('5 % loss and one-way data: no change of channel', seed => {
    const world = new TwoChannelWorld({ seed, link: { loss: 0.05, latencyMs: 5 + (seed % 80) } })
    world.flow(seed % 2 === 0 ? 'client' : 'gateway', 20)
    world.advance(5000)
    const upAt = world.now
    world.advance(30_000)
    check(world, world.changes('client', upAt).length === 0, 'the client never moved')
    check(world, world.changes('gateway', upAt).length === 0, 'the gateway never moved')
    return world
  })

  scenario('a satellite hop: no change of channel', seed => {
    const world = new TwoChannelWorld({
      seed,
      link: { latencyMs: 300, jitterMs: 40, loss: 0.01 },
      streamLatencyMs: 300,
    })
    world.flow('client', 200)
    world.flow('gateway', 90)
    world.advance(10_000)
    check(world, world.client.activeChannel === 'datagram', 'the client uses the datagram channel')
    const upAt = world.now
    world.advance(30_000)
    check(world, world.changes('client', upAt).length === 0, 'the client never moved')
    return world
  })

  longScenario('it goes dark and comes back again and again: changes become rare', seed => {
    const { world } = busyWorld(seed)
    const since = world.now
    for (let i = 0; i < 30; i++) {
      world.link.blackhole()
      world.advance(1000 + world.chance(1000))
      world.link.restore()
      world.advance(1000 + world.chance(1000))
    }
    const changes = world.changes('client', since).length
    check(world, changes <= 24, `the client moved ${changes} times in 30 outages`)
    world.advance(120_000)
    check(world, world.client.activeChannel === 'datagram', 'the client is back on the datagram channel')
    return world
  })

  scenario('only packets up to a size pass: the tunnel MTU follows', seed => {
    const mtu = 700 + ((seed * 37) % 700)
    const { world } = busyWorld(seed, { link: { mtu, loss: (seed % 3) * 0.01 } })
    // A record of the simulated channel has 9 bytes around the frame, and the frame a type byte.
    const largest = mtu - 10
    check(
      world,
      world.client.mtu <= largest && world.client.mtu > largest - 16,
      `client ${world.client.mtu} of ${largest}`,
    )
    check(world, world.gateway.mtu === world.client.mtu, `gateway ${world.gateway.mtu}, client ${world.client.mtu}`)
    return world
  })
})

describe('the stream fails', () => {
  scenario('it is cut: data by datagram goes on, the stream is brought back', seed => {
    const { world, up, down } = busyWorld(seed)
    const cutAt = world.now
    world.stream.cut()
    world.advance(10_000)
    checkGap(world, up, cutAt, 150)
    checkGap(world, down, cutAt, 150)
    check(world, world.client.activeChannel === 'datagram', 'the client uses the datagram channel')
    return world
  })

  longScenario('it goes dark for a minute: data by datagram goes on', seed => {
    const { world, up, down } = busyWorld(seed)
    const darkAt = world.now
    world.stream.dark = true
    world.advance(60_000)
    checkGap(world, up, darkAt, 150)
    checkGap(world, down, darkAt, 150)
    world.stream.restore()
    world.advance(20_000)
    checkGap(world, up, darkAt, 150)
    checkGap(world, down, darkAt, 150)
    return world
  })

  scenario('it is cut while the datagram channel is blocked from the start', seed => {
    const world = new TwoChannelWorld({ seed })
    world.link.blackhole()
    const up = world.flow('client', 10)
    world.advance(3000)
    const cutAt = world.now
    world.stream.cut()
    world.advance(5000)
    checkGap(world, up, cutAt, 1000)
    return world
  })
})

describe('both channels fail', () => {
  longScenario('everything is dark for a while: data is back soon after the network is', seed => {
    const { world, up, down } = busyWorld(seed)
    world.link.blackhole()
    world.stream.dark = true
    world.advance(5000 + (seed % 12) * 5000)
    const backAt = world.now
    world.link.restore()
    world.stream.restore()
    world.advance(60_000)
    checkGap(world, up, backAt, 8000)
    checkGap(world, down, backAt, 8000)
    check(world, world.client.activeChannel === 'datagram', 'the client is back on the datagram channel')
    check(world, world.gateway.activeChannel === 'datagram', 'the gateway is back on the datagram channel')
    return world
  })

  longScenario('random outages of both: whatever happened, the session heals', seed => {
    const { world, up, down } = busyWorld(seed, { link: { latencyMs: 10 + (seed % 50), loss: 0.01 } })
    for (let i = 0; i < 12; i++) {
      const what = Math.floor(world.chance(6))
      if (what === 0) world.link.blackhole()
      else if (what === 1) world.link.blackhole(world.chance(2) < 1 ? 'outbound' : 'inbound')
      else if (what === 2) world.link.restore()
      else if (what === 3) world.stream.cut()
      else if (what === 4) world.stream.dark = true
      else world.stream.restore()
      world.advance(world.chance(8000))
    }
    world.link.restore()
    world.stream.restore()
    world.advance(100_000)
    const calmAt = world.now
    world.advance(5000)
    checkGap(world, up, calmAt, 200)
    checkGap(world, down, calmAt, 200)
    check(world, world.client.activeChannel === 'datagram', 'the client is back on the datagram channel')
    check(world, world.gateway.activeChannel === 'datagram', 'the gateway is back on the datagram channel')
    return world
  })
})
