// Clients whose datagrams come to arrive at another worker than the one that has their association: two or three engines in one
// thread, real DTLS, memory in place of UDP.
import { seededRandom } from '@twinbore/core/runtime'
import { describe, expect, test } from 'vitest'
import type { PlaneEvent } from '../../../src/data-plane/events.ts'
import {
  clientAddress,
  outside,
  portsOf,
  query,
  reply,
  type TestClient,
  WorkersWorld,
} from '../../support/workers-world.ts'

/** Sends a query and has it answered; returns how often it came out, and the answers. */
function ask(world: WorkersWorld, client: TestClient, session: number): { queries: number; answers: number } {
  client.send(query(session))
  const sent = world.sent()
  for (const { worker, packet } of sent) {
    world.devices[worker]!.send(reply(outside, portsOf(packet).source, Uint8Array.of(session)))
  }
  world.pump()
  return { queries: sent.length, answers: client.take().length }
}

function eventsOf<Type extends PlaneEvent['type']>(world: WorkersWorld, type: Type) {
  return world.events.flatMap(({ worker, event }) =>
    event.type === type ? [{ worker, event: event as PlaneEvent & { readonly type: Type } }] : [],
  )
}

const through = { queries: 1, answers: 1 }

describe.each([2, 3])('a client among %i workers', workers => {
  test('is followed to another worker by its first record there, and answered from where it was known', () => {
    const world = new WorkersWorld(workers)
    const client = world.connect(0, 0)
    expect(ask(world, client, 0)).toEqual(through)
    const answered = world.sockets[0]!.sent.length
    client.roam(1, 50_000)
    for (let n = 0; n < 5; n++) expect(ask(world, client, 0)).toEqual(through)
    expect(world.sockets[0]!.sent.length).toBe(answered + 5)
    expect(world.roaming(1)).toEqual({
      offered: 1,
      offersLimited: 0,
      adopted: 0,
      refused: 0,
      handedOver: 4,
      endpoints: 1,
    })
    expect(world.roaming(0)).toMatchObject({ offered: 0, adopted: 1, refused: 0 })
    if (workers === 3) expect(world.roaming(2)).toMatchObject({ adopted: 0, refused: 1 })
    expect(eventsOf(world, 'association-moved')).toMatchObject([
      { worker: 0, event: { session: 0, from: clientAddress, to: clientAddress, port: 50_000 } },
    ])
    expect(eventsOf(world, 'association-established')).toHaveLength(1)
    expect(world.engines[0]!.stats().datagram!['handshakes-completed']).toBe(1)
    expect(world.places.ownerOf(0)).toBe(0)
    expect(world.drops()).toEqual({})
  })

  test('may roam from worker to worker and back, with another address too', () => {
    const world = new WorkersWorld(workers)
    const client = world.connect(0, 0)
    const others = [world.connect(1, 1), world.connect(2, 0)]
    const stops = [1, 0, workers - 1, 1, 0, 0, 1]
    for (const [n, worker] of stops.entries()) {
      world.now += 1000
      client.roam(worker, 50_000 + (n % 3), n % 2 === 0 ? '203.0.113.99' : clientAddress)
      for (let times = 0; times < 3; times++) expect(ask(world, client, 0)).toEqual(through)
      for (const [at, other] of others.entries()) expect(ask(world, other, at + 1)).toEqual(through)
      // Only the worker that hears it now knows the endpoint as another's.
      expect(world.sizes()).toEqual(
        Array.from({ length: workers }, (_, self) => (self === worker && worker !== 0 ? 1 : 0)),
      )
    }
    expect(eventsOf(world, 'association-established')).toHaveLength(3)
    expect(eventsOf(world, 'association-closed')).toEqual([])
    expect(world.drops()).toEqual({})
  })

  test('is not moved by records that are old, replayed or forged', () => {
    const world = new WorkersWorld(workers)
    const client = world.connect(0, 0)
    const old = client.record(query(0))
    const seen = client.record(query(0))
    client.sendRaw(seen.slice())
    expect(world.sent()).toHaveLength(1)
    const forged = client.record(query(0))
    forged[forged.length - 1]! ^= 1
    const thief = world.udp.open('203.0.113.66', 6666)
    for (const record of [old, seen, forged]) {
      world.now += 1000
      thief.sendTo(thief.endpoints.intern('192.0.2.1', 4431), record)
      world.pump()
    }
    expect(world.sent()).toEqual([])
    expect(world.roaming(1)).toMatchObject({ offered: 3, handedOver: 0 })
    expect(world.roaming(0)).toMatchObject({ adopted: 0, refused: 3 })
    expect(eventsOf(world, 'association-moved')).toEqual([])
    expect(world.sizes()).toEqual(Array.from({ length: workers }, () => 0))
    expect(ask(world, client, 0)).toEqual(through)
    expect(thief.waiting).toEqual([])
  })

  test('keeps its old association while it makes a new one where it is heard now, and then lives there', () => {
    const world = new WorkersWorld(workers)
    const client = world.connect(0, 0)
    client.roam(1, 50_000)
    expect(ask(world, client, 0)).toEqual(through)
    let meanwhile = 0
    const before = () => {
      if (world.places.ownerOf(0) !== 0) return
      client.send(query(0))
      expect(world.sent()).toHaveLength(1)
      meanwhile++
    }
    const renewed = world.connect(0, 1, { port: 50_000, before })
    expect(meanwhile).toBeGreaterThan(1)
    expect(world.places.ownerOf(0)).toBe(1)
    expect(eventsOf(world, 'association-established').map(({ worker }) => worker)).toEqual([0, 1])
    const handedOver = world.roaming(1).handedOver
    expect(handedOver).toBeGreaterThan(0)
    for (let n = 0; n < 3; n++) expect(ask(world, renewed, 0)).toEqual(through)
    expect(world.roaming(1).handedOver).toBe(handedOver)
    // As the control plane's side of several workers does.
    const { association } = eventsOf(world, 'association-established')[0]!.event
    world.engines[0]!.handleCommand({ type: 'close-association', session: 0, association }, 0)
    world.pump()
    expect(world.sizes()).toEqual(Array.from({ length: workers }, () => 0))
    expect(ask(world, renewed, 0)).toEqual(through)
    // Now the other way round: it is followed from there.
    world.now += 1000
    renewed.roam(0, 50_001)
    expect(ask(world, renewed, 0)).toEqual(through)
    expect(world.roaming(1).adopted).toBe(1)
  })

  test('that moves in the middle of a new handshake goes on with its old association, and the next handshake succeeds', () => {
    const world = new WorkersWorld(workers)
    const client = world.connect(0, 0)
    let flights = 0
    world.connect(0, 0, {
      before: renewing => {
        if (++flights !== 2) return
        renewing.roam(1, 50_000)
        client.roam(1, 50_000)
      },
    })
    expect(eventsOf(world, 'association-established')).toHaveLength(1)
    for (let n = 0; n < 3; n++) expect(ask(world, client, 0)).toEqual(through)
    expect(world.places.ownerOf(0)).toBe(0)
    const renewed = world.connect(0, 1, { port: 50_000 })
    expect(world.places.ownerOf(0)).toBe(1)
    expect(ask(world, renewed, 0)).toEqual(through)
    expect(world.roaming(1).endpoints).toBe(0)
  })

  test('leaves nothing behind when its session ends', () => {
    const world = new WorkersWorld(workers)
    const client = world.connect(0, 0)
    client.roam(1, 50_000)
    expect(ask(world, client, 0)).toEqual(through)
    expect(world.sizes()[1]).toBe(1)
    world.command({ type: 'remove-session', session: 0 })
    world.pump()
    expect(world.sizes()).toEqual(Array.from({ length: workers }, () => 0))
  })
})

describe('a worker that dies', () => {
  test.each([
    [0, 'that has the association: its successor goes on with what others hand over'],
    [1, 'that hears the client: its successor asks again'],
  ])('%i, %s', dead => {
    const world = new WorkersWorld(2)
    const client = world.connect(0, 0)
    client.roam(1, 50_000)
    expect(ask(world, client, 0)).toEqual(through)
    world.replace(dead)
    for (let n = 0; n < 3; n++) {
      client.send(query(0))
      expect(world.sent()).toHaveLength(1)
    }
    expect(world.roaming(1).offered).toBe(1)
    expect(world.roaming(1).handedOver).toBeGreaterThanOrEqual(2)
    expect(eventsOf(world, 'association-established')).toHaveLength(1)
  })

  test('and has lost the association says so to who hands over, and the client may make a new one', () => {
    const world = new WorkersWorld(2)
    const client = world.connect(0, 0)
    client.roam(1, 50_000)
    expect(ask(world, client, 0)).toEqual(through)
    world.replace(0, { withAssociations: false })
    client.send(query(0))
    expect(world.sent()).toEqual([])
    expect(world.sizes()).toEqual([0, 0])
  })
})

describe('strangers', () => {
  test('cost no more than a budget, whatever they send, and nothing is offered twice', () => {
    const world = new WorkersWorld(3)
    const client = world.connect(0, 0)
    const random = seededRandom(1)
    const strangers = Array.from({ length: 200 }, (_, n) => world.udp.open(`203.0.113.${n}`, 7000 + n))
    const forged = (sequence: number): Uint8Array => {
      const record = new Uint8Array(90)
      random.fill(record)
      record.set([23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, sequence >> 8, sequence & 0xff, 0, record.length - 13])
      return record
    }
    const seconds = 5
    let sent = 0
    for (let tick = 0; tick < seconds * 100; tick++) {
      world.now += 10
      for (const stranger of strangers.slice(tick % 10, (tick % 10) + 20)) {
        stranger.sendTo(stranger.endpoints.intern('192.0.2.1', 4431 + (tick % 2)), forged(1 + (tick % 100)))
        sent++
      }
      world.pump()
    }
    const stats = [0, 1, 2].map(worker => world.roaming(worker))
    const offered = stats.map(each => each.offered)
    // 128 a second for each that gets them, from two others, and one second's worth at the start.
    for (const each of offered.slice(1)) expect(each).toBeLessThanOrEqual((seconds + 1) * 64)
    expect(offered[0]).toBe(0)
    expect(stats.reduce((sum, { refused }) => sum + refused, 0)).toBe(2 * (offered[1]! + offered[2]!))
    expect(stats.reduce((sum, each) => sum + each.offered + each.offersLimited, 0)).toBe(sent)
    expect(stats.map(({ adopted, handedOver }) => adopted + handedOver)).toEqual([0, 0, 0])
    expect(strangers.flatMap(({ waiting }) => waiting)).toEqual([])
    expect(world.sizes()).toEqual([0, 0, 0])
    // Nobody was moved, and a client that is not a stranger still gets through.
    world.now += 1000
    client.roam(1, 50_000)
    expect(ask(world, client, 0)).toEqual(through)
  })

  test('that speak in the name of a client that has moved do not cut it off', () => {
    const world = new WorkersWorld(2)
    const client = world.connect(0, 0)
    client.roam(1, 50_000)
    expect(ask(world, client, 0)).toEqual(through)
    const forged = client.record(query(0))
    forged[40]! ^= 1
    for (let n = 0; n < 20; n++) client.sendRaw(forged.slice())
    expect(world.sent()).toEqual([])
    expect(ask(world, client, 0)).toEqual(through)
    expect(world.sizes()).toEqual([0, 1])
  })

  test('that send handshakes from there are answered there', () => {
    const world = new WorkersWorld(2)
    const client = world.connect(0, 0)
    client.roam(1, 50_000)
    expect(ask(world, client, 0)).toEqual(through)
    const other = world.connect(1, 1, { port: 50_000 })
    expect(world.places.ownerOf(1)).toBe(1)
    expect(ask(world, other, 1)).toEqual(through)
    // Who is heard at an endpoint comes first; the one from before is found wherever it speaks from.
    world.now += 1000
    client.roam(1, 50_001)
    expect(ask(world, client, 0)).toEqual(through)
    expect(ask(world, other, 1)).toEqual(through)
  })
})

test('an endpoint of which nothing was heard for long is asked for anew', () => {
  const world = new WorkersWorld(2)
  const client = world.connect(0, 0)
  client.roam(1, 50_000)
  expect(ask(world, client, 0)).toEqual(through)
  world.now += 10 * 60_000
  for (let n = 0; n < 2; n++) expect(ask(world, client, 0)).toEqual(through)
  expect(world.roaming(1)).toMatchObject({ offered: 2, handedOver: 1 })
  expect(world.roaming(0).adopted).toBe(2)
})
