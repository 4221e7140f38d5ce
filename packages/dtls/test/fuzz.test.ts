// Hostile datagrams at a server, a client in its handshake, and a live association: nothing throws, nothing grows, and what
// lives goes on living. FUZZ_RUNS and FUZZ_SEED make the long form.
import { describe, expect, test } from 'vitest'
import type { PeerState } from '../src/peer-state.ts'
import { SeededRandom } from './seeded-random.ts'
import { type Crossing, type TestClient, typesOf, World } from './world.ts'

const runs = Number(process.env.FUZZ_RUNS ?? 100_000)
const seed = Number(process.env.FUZZ_SEED ?? 1)

/** A change of a datagram as an attacker would make it; now and then something of his own. */
function mutate(source: Uint8Array, other: Uint8Array, random: SeededRandom): Uint8Array {
  let bytes = source.slice()
  for (let turns = 1 + random.below(3); turns > 0; turns--) {
    const at = random.below(bytes.length || 1)
    switch (random.below(9)) {
      case 0:
        bytes[at] = random.below(256)
        break
      case 1:
        bytes[at]! ^= 1 << random.below(8)
        break
      case 2:
        bytes = bytes.slice(0, at)
        break
      case 3:
        bytes = Uint8Array.of(...bytes.slice(0, at), ...other.slice(random.below(other.length)))
        break
      case 4:
        // Lengths and numbers of the record and message headers.
        bytes[random.below(Math.min(25, bytes.length || 1))] = [0, 1, 2, 0x7f, 0x80, 0xff][random.below(6)]!
        break
      case 5:
        bytes[0] = 20 + random.below(6)
        break
      case 6:
        bytes[4] = random.below(3)
        break
      case 7:
        bytes = Uint8Array.of(...bytes, ...other)
        break
      case 8:
        if (random.below(20) === 0) bytes = Uint8Array.from(random.fill(new Uint8Array(random.below(100))))
        break
    }
  }
  return bytes.length > 3000 ? bytes.slice(0, 3000) : bytes
}

function corpus(): Crossing[] {
  const crossings: Crossing[] = []
  for (const cookies of ['always', 'never'] as const) {
    const world = new World(77, {}, { cookies })
    const client = world.connect()
    world.run(500)
    world.send(client, 'some data of the client')
    world.server.send(0, new TextEncoder().encode('some data of the server'), world.now)
    world.run(100)
    client.association.close(world.now)
    world.run(100)
    crossings.push(...world.crossings)
  }
  return crossings
}

const recorded = corpus()
const toServer = recorded.filter(crossing => crossing.to === 'server').map(crossing => crossing.bytes)
const toClient = recorded.filter(crossing => crossing.to === 'client').map(crossing => crossing.bytes)

function pick(list: readonly Uint8Array[], random: SeededRandom): Uint8Array {
  return list[random.below(list.length)]!
}

describe(`seed ${seed}, ${runs} datagrams in all`, () => {
  test('a server takes them from many endpoints; its state stays within its caps and goes away', () => {
    const random = new SeededRandom(seed)
    let references = 0
    const world = new World(
      seed,
      {},
      {
        cookies: 'under-load',
        maxHalfOpen: 40,
        retainEndpoint: () => references++,
        releaseEndpoint: () => references--,
      },
    )
    world.filter = () => false
    for (let run = 0; run < runs * 0.4; run++) {
      world.now += random.below(5)
      world.toServer(random.below(200), mutate(pick(toServer, random), pick(toClient, random), random))
      if (run % 50 === 0) world.server.handleDeadline(world.now)
      if (run % 1000 === 0) world.crossings.length = 0
      if (world.server.halfOpenCount > 40) throw new Error('more handshakes than allowed')
    }
    expect(world.server.associationCount).toBe(0)
    expect(world.server.stats()['handshakes-started']).toBeGreaterThan(10)
    world.run(61_000)
    expect(world.server.halfOpenCount).toBe(0)
    expect(references).toBe(0)
    const survivor = world.connect({}, 5000)
    world.filter = () => true
    world.run(5000)
    expect(survivor.association.state).toBe('established')
  })

  test('a client in its handshake takes them; it sends little, and ends by its deadline', () => {
    const random = new SeededRandom(seed + 1)
    for (let run = 0; run < runs * 0.2; ) {
      const world = new World(seed + run)
      world.filter = ({ to, bytes }) => to === 'server' && bytes[13] === 1 && bytes.length > 150
      const client = world.connect()
      world.run(50)
      for (let i = 0; i < 400; i++, run++) {
        world.toClient(client, mutate(pick(toClient, random), pick(toServer, random), random))
        if (client.association.state !== 'handshaking') break
      }
      run++
      world.run(61_000)
      expect(client.association.state).toBe('closed')
      expect(client.sentDatagrams).toBeLessThan(40)
    }
  })

  test('a live association takes them at both ends and lives on', () => {
    const random = new SeededRandom(seed + 2)
    const world = new World(seed)
    const client = world.connect()
    world.run(500)
    world.filter = () => false
    world.send(client, 'one more')
    world.server.send(0, new TextEncoder().encode('and back'), world.now)
    world.drain()
    const own = world.crossings.map(crossing => crossing.bytes)
    const [ours, theirs] = [
      [...toServer, ...own],
      [...toClient, ...own],
    ]
    for (let run = 0; run < runs * 0.2; run++) {
      world.now += random.below(3)
      const isOwn = random.below(50) === 0
      // Records that were really sent authenticate, so they are changed where it counts.
      const [up, down] = [pick(ours, random).slice(), pick(theirs, random).slice()]
      if (!isOwn) for (const bytes of [up, down]) bytes[bytes.length - 1]! ^= 1 + random.below(255)
      world.toServer(random.below(3), mutate(up, pick(theirs, random), random))
      world.toClient(client, mutate(down, pick(ours, random), random))
      if (run % 1000 === 0) world.crossings.length = 0
    }
    expect(boundedState(client)).toBe(true)
    expect(typesOf(world.serverOutputs)).not.toContain('closed')
    expect(typesOf(client.outputs)).not.toContain('closed')
    world.filter = () => true
    const before = world.receivedByServer.length
    client.endpoint = world.server.endpointOf(0)
    world.send(client, 'still here')
    world.run(100)
    expect(world.receivedByServer.slice(before)).toEqual(['still here'])
  })
})

function boundedState(client: TestClient): boolean {
  const { peer } = client.association as unknown as { peer: PeerState }
  const { handshake } = peer as unknown as { handshake: object }
  return 'early' in handshake && handshake.early === undefined && peer.outputs.length === 0
}
