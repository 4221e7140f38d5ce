// An association that lives: what replaces it, what moves it, what ends it, and what must not.
import { describe, expect, test, vi } from 'vitest'
import { Verdict } from '../../src/index.ts'
import type { PeerTable } from '../../src/server/peer-table.ts'
import { SeededRandom } from '../seeded-random.ts'
import { TestBatch } from '../test-batch.ts'
import { type TestClient, testSession, textOf, typesOf, World } from '../world.ts'

function established(seed: number, options: ConstructorParameters<typeof World>[2] = {}): [World, TestClient] {
  const world = new World(seed, {}, options)
  const client = world.connect()
  world.run(500)
  expect(client.association.state).toBe('established')
  return [world, client]
}

function expectAlive(world: World, client: TestClient, association = 0): void {
  const before = world.receivedByServer.length
  const heard = client.outputs.length
  world.send(client, 'alive?')
  expect(world.server.send(association, new TextEncoder().encode('alive'), world.now)).toBe(true)
  world.run(100)
  expect(world.receivedByServer.slice(before)).toEqual(['alive?'])
  expect(typesOf(client.outputs.slice(heard))).toEqual(['received'])
}

describe('is not disturbed', () => {
  test('by its whole handshake, replayed datagram by datagram', () => {
    const [world, client] = established(1)
    const recorded = world.crossings.filter(crossing => crossing.to === 'server')
    for (let round = 0; round < 3; round++) {
      for (const { bytes } of recorded) world.toServer(0, bytes)
      for (const { bytes } of recorded.toReversed()) world.toServer(0, bytes)
    }
    expect(world.server.associationCount).toBe(1)
    expect(world.server.halfOpenCount).toBe(0)
    expectAlive(world, client)
  })

  test('by its handshake replayed from another endpoint', () => {
    const [world, client] = established(2, { cookies: 'never' })
    const recorded = world.crossings.filter(crossing => crossing.to === 'server')
    for (const { bytes } of recorded) world.toServer(5, bytes)
    expect(world.server.halfOpenCount).toBe(1)
    expectAlive(world, client)
    world.run(61_000)
    expect(world.server.halfOpenCount).toBe(0)
    expect(typesOf(world.serverOutputs)).toEqual(['established', 'received', 'handshake-failed'])
    expectAlive(world, client)
  })

  test('by a new handshake at its endpoint that has not completed (RFC 6347 §4.2.8)', () => {
    const [world, client] = established(3)
    const rival = world.connect({ psk: { identity: 'psk', key: new Uint8Array(32).fill(1) } }, 0)
    world.run(2000)
    expect(world.server.halfOpenCount).toBe(1)
    expect(rival.association.state).toBe('handshaking')
    expectAlive(world, client)
  })

  test('by plaintext alerts, ChangeCipherSpec, application data of epoch 0 (CVE-2020-24585), or later epochs', () => {
    const [world, client] = established(4)
    const header = (type: number, epoch: number, length: number) => [
      type,
      0xfe,
      0xfd,
      0,
      epoch,
      0,
      0,
      0,
      0,
      0,
      9,
      0,
      length,
    ]
    for (const epoch of [0, 2]) {
      for (const datagram of [
        Uint8Array.of(...header(21, epoch, 2), 2, 40),
        Uint8Array.of(...header(21, epoch, 2), 1, 0),
        Uint8Array.of(...header(20, epoch, 1), 1),
        Uint8Array.of(...header(23, epoch, 3), 65, 66, 67),
      ]) {
        world.toServer(0, datagram)
        world.toClient(client, datagram)
      }
    }
    expect(typesOf(world.serverOutputs)).toEqual(['established'])
    expect(typesOf(client.outputs)).toEqual(['established'])
    expect(world.server.stats()['unknown-epoch']).toBe(8)
    expectAlive(world, client)
  })

  test('by forged records, and one does not spoil its neighbours in a datagram', () => {
    const [world, client] = established(5)
    world.filter = () => false
    world.send(client, 'one')
    world.send(client, 'two')
    const [one, two] = world.crossings.slice(-2).map(crossing => crossing.bytes)
    const forged = one!.slice()
    forged[forged.length - 1]! ^= 1
    world.toServer(0, Uint8Array.of(...forged, ...one!, 1, 2, 3))
    world.toServer(0, Uint8Array.of(...one!, ...two!))
    expect(world.receivedByServer).toEqual(['one', 'two'])
    const stats = world.server.stats()
    expect([stats['not-authenticated'], stats['malformed-record'], stats.replayed]).toEqual([1, 1, 1])
  })
})

describe('is replaced', () => {
  test('by a completed handshake at its endpoint or with its session id; the new one is announced first', () => {
    for (const [endpoint, sessionId] of [
      [0, Uint8Array.of(9)],
      [50, testSession],
      [0, testSession],
    ] as const) {
      const [world] = established(6)
      const next = world.connect({ sessionId }, endpoint)
      world.run(500)
      expect(next.association.state).toBe('established')
      expect(world.serverOutputs).toMatchObject([
        { type: 'established', association: 0 },
        { type: 'established', association: 1, endpoint },
        { type: 'closed', association: 0, reason: 'replaced' },
      ])
      expect(world.server.associationCount).toBe(1)
      expectAlive(world, next, 1)
    }
  })

  test('but not by one with no session id at another endpoint', () => {
    const world = new World(7)
    const clients = [0, 1].map(endpoint => world.connect({ sessionId: new Uint8Array(0) }, endpoint))
    world.run(500)
    expect(world.server.associationCount).toBe(2)
    for (const [association, client] of clients.entries()) expectAlive(world, client, association)
  })

  test('and its number is not given out again soon', () => {
    const [world] = established(8, { maxAssociations: 3 })
    for (let round = 0; round < 5; round++) {
      world.connect({}, 0)
      world.run(500)
    }
    const numbers = world.serverOutputs.flatMap(o => (o.type === 'established' ? [o.association] : []))
    // Six numbers for three associations; then the one that has been free for longest.
    expect(numbers).toEqual([0, 1, 2, 3, 4, 5])
    world.connect({}, 0)
    world.run(500)
    expect(world.serverOutputs.at(-2)).toMatchObject({ type: 'established', association: 0 })
  })
})

describe('follows its peer', () => {
  test.each([
    ['another port', 7],
    ['another address', 700],
  ])('to %s, on the first authenticated newer record', (_name, to) => {
    const references: number[] = []
    const [world, client] = established(9, {
      retainEndpoint: endpoint => references.push(endpoint + 1),
      releaseEndpoint: endpoint => references.push(-endpoint - 1),
    })
    client.endpoint = to
    world.send(client, 'from elsewhere')
    world.run(100)
    expect(world.serverOutputs.slice(1)).toMatchObject([
      { type: 'received', association: 0 },
      { type: 'endpoint-changed', association: 0, from: 0, to },
    ])
    expect(world.server.endpointOf(0)).toBe(to)
    expect(references).toEqual([1, to + 1, -1])
    expectAlive(world, client)
    world.server.close(0, world.now)
    world.drain()
    expect(references.reduce((sum, reference) => sum + reference, 0)).toBe(0)
  })

  test('not for a record that is forged, replayed or older than the highest', () => {
    const [world, client] = established(10)
    world.filter = () => false
    world.send(client, 'late')
    const late = world.crossings.at(-1)!.bytes
    world.send(client, 'newer')
    const newer = world.crossings.at(-1)!.bytes
    world.toServer(0, newer)
    world.toServer(7, newer)
    world.toServer(7, late)
    world.send(client, 'newest')
    const forged = world.crossings.at(-1)!.bytes.slice()
    forged[40]! ^= 1
    world.toServer(7, forged)
    expect(world.server.endpointOf(0)).toBe(0)
    expect(world.receivedByServer).toEqual(['newer'])
    expect(world.server.stats()['unknown-endpoint']).toBe(3)
    world.toServer(0, late)
    expect(world.receivedByServer).toEqual(['newer', 'late'])
  })

  test('among many of one host, at a bounded number of trials per second', () => {
    const world = new World(11, {}, { maxRoamingTrials: 20 })
    const clients = Array.from({ length: 6 }, (_, i) => world.connect({ sessionId: Uint8Array.of(i) }, i))
    world.run(500)
    clients[4]!.endpoint = 60
    world.send(clients[4]!, 'moved')
    world.run(100)
    expect(world.server.endpointOf(4)).toBe(60)
    const garbage = Uint8Array.of(23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 9, 0, 40, ...new Uint8Array(40))
    const before = world.server.stats()['roaming-limit']
    for (let i = 0; i < 50; i++) world.toServer(61, garbage)
    expect(world.server.stats()['roaming-limit'] - before).toBeGreaterThan(40)
    world.run(2000)
    clients[2]!.endpoint = 62
    world.send(clients[2]!, 'moved too')
    world.run(100)
    expect(world.server.endpointOf(2)).toBe(62)
  })

  test('without a search through all associations for every forged record', () => {
    const [world, client] = established(14, { maxRoamingTrials: 20 })
    const { peers } = world.server as unknown as { peers: PeerTable }
    const searches = vi.spyOn(peers, 'established', 'get')
    // Numbers that no association has come near: nothing is tried, so only the search costs.
    const far = Uint8Array.of(23, 0xfe, 0xfd, 0, 1, 0x70, 0, 0, 0, 0, 0, 0, 24, ...new Uint8Array(24))
    for (let i = 0; i < 500; i++) world.toServer(700 + i, far)
    expect(searches.mock.calls.length).toBe(40)
    expect(world.server.stats()['roaming-limit']).toBe(460)
    world.run(2000)
    client.endpoint = 900
    world.send(client, 'moved')
    world.run(100)
    expect(world.server.endpointOf(0)).toBe(900)
  })

  test('to the endpoint of another one, who is doubted from then on', () => {
    const [world, client] = established(15)
    const other = world.connect({ sessionId: Uint8Array.of(2) }, 300)
    world.run(500)
    expect(world.server.associationCount).toBe(2)
    const before = world.receivedByServer.length
    client.endpoint = 300
    other.endpoint = 301
    for (const word of ['a', 'b', 'c']) world.send(client, word)
    world.run(100)
    expect(world.receivedByServer.slice(before).at(-1)).toBe('c')
    expect(world.receivedByServer.length - before).toBeGreaterThanOrEqual(2)
    expect(world.server.endpointOf(0)).toBe(300)
    world.send(other, 'and I')
    world.run(100)
    expect(world.receivedByServer.at(-1)).toBe('and I')
    expect(world.server.endpointOf(1)).toBe(301)
  })

  test('in a batch as well', () => {
    const [world, client] = established(16)
    world.connect({ sessionId: Uint8Array.of(2) }, 300)
    world.run(500)
    const batch = new TestBatch(4)
    for (const word of ['a', 'b', 'c']) batch.push(new TextEncoder().encode(word), 0)
    client.association.sealDatagrams(batch, world.now)
    batch.owners.fill(300)
    world.server.openDatagrams(batch, world.now)
    // The first record was taken for one of the peer that was there, and is lost where the cipher wipes what it can't open.
    expect(batch.forwarded.slice(-2)).toEqual([
      [0, 'b'],
      [0, 'c'],
    ])
    expect(world.server.endpointOf(0)).toBe(300)
    expect(world.server.stats()['not-authenticated']).toBeLessThanOrEqual(1)
  })

  test('not at all when that is turned off', () => {
    const [world, client] = established(12, { maxRoamingTrials: 0 })
    client.endpoint = 7
    world.send(client, 'from elsewhere')
    world.run(100)
    expect(world.server.endpointOf(0)).toBe(0)
    expect(world.receivedByServer).toEqual([])
  })
})

describe('ends', () => {
  test('for both sides when either says close_notify', () => {
    const [world, client] = established(13)
    client.association.close(world.now)
    world.run(100)
    expect(client.outputs.at(-1)).toEqual({ type: 'closed', reason: 'local' })
    expect(world.serverOutputs.at(-1)).toEqual({ type: 'closed', association: 0, reason: 'peer' })
    expect(world.server.associationCount).toBe(0)
    expect(client.association.send(Uint8Array.of(1), world.now)).toBe(false)

    const [other, peer] = established(14)
    other.server.close(0, other.now)
    other.server.close(0, other.now)
    other.run(100)
    expect(other.serverOutputs.at(-1)).toEqual({ type: 'closed', association: 0, reason: 'local' })
    expect(peer.outputs.at(-1)).toEqual({ type: 'closed', reason: 'peer' })
    expect(other.server.send(0, Uint8Array.of(1), other.now)).toBe(false)
    expect(() => other.server.exportKeyingMaterial(0, 32, 'EXPORTER-x')).toThrow(RangeError)
  })
})

describe('in batches', () => {
  test('datagrams are opened in place: data stays, handshakes leave, the rest is dropped', () => {
    const [world, client] = established(15)
    world.filter = () => false
    for (const text of ['a', 'bb', 'ccc']) world.send(client, text)
    const [a, bb, ccc] = world.crossings.slice(-3).map(crossing => crossing.bytes)
    world.connect({}, 3)
    const hello = world.crossings.at(-1)!.bytes
    const batch = new TestBatch(8)
    batch.push(Uint8Array.of(...a!, ...bb!), 0)
    batch.push(hello, 3)
    batch.push(Uint8Array.of(1, 2, 3), 4)
    batch.push(ccc!, 0)
    batch.push(ccc!, 0)
    batch.verdicts[batch.push(new SeededRandom(1).fill(new Uint8Array(30)), 0)] = Verdict.divert
    world.server.openDatagrams(batch, world.now)
    expect([...batch.verdicts.slice(0, 7)]).toEqual([0, 2, 1, 0, 1, 2, 0])
    expect(batch.forwarded).toEqual([
      [0, 'a'],
      [0, 'ccc'],
      [0, 'bb'],
    ])
    expect(world.server.poll()).toMatchObject({ type: 'transmit', endpoint: 3 })
  })

  test('what finds no slot is dropped and counted', () => {
    const [world, client] = established(16)
    world.filter = () => false
    world.send(client, 'one')
    world.send(client, 'two')
    const [one, two] = world.crossings.slice(-2).map(crossing => crossing.bytes)
    const batch = new TestBatch(1)
    batch.push(Uint8Array.of(...one!, ...two!), 0)
    world.server.openDatagrams(batch, world.now)
    expect(batch.forwarded).toEqual([[0, 'one']])
    expect(world.server.stats()['batch-full']).toBe(1)
  })

  test('plaintexts are sealed in place, between 21 bytes of headroom and 16 of tailroom', () => {
    for (const cipherSuite of ['TLS_PSK_WITH_AES_256_GCM_SHA384', 'TLS_PSK_WITH_CHACHA20_POLY1305_SHA256'] as const) {
      const [world, client] = established(17, { cipherSuites: [cipherSuite] })
      const batch = new TestBatch()
      batch.push(new TextEncoder().encode('first'), 0)
      batch.push(new TextEncoder().encode('to nobody'), 5)
      batch.push(new Uint8Array(0), 0)
      batch.verdicts[batch.push(new TextEncoder().encode('not this one'), 0)] = Verdict.drop
      batch.push(new TextEncoder().encode('second'), 0)
      const untouched = batch.at(3)
      world.server.sealDatagrams(batch, world.now)
      expect([...batch.verdicts.slice(0, 5)]).toEqual([0, 1, 1, 1, 0])
      expect(batch.at(3)).toEqual(untouched)
      const overhead = cipherSuite.includes('GCM') ? 37 : 29
      expect([...batch.lengths.slice(0, 5)]).toEqual([5 + overhead, 9, 0, 12, 6 + overhead])
      const incoming = new TestBatch()
      for (const slot of [0, 4]) {
        expect(batch.owners[slot]).toBe(0)
        incoming.push(batch.at(slot), 42)
      }
      client.association.openDatagrams(incoming, world.now)
      expect(incoming.forwarded).toEqual([
        [42, 'first'],
        [42, 'second'],
      ])
      const stats = world.server.stats()
      expect([stats['unknown-association'], stats['plaintext-length']]).toEqual([1, 1])
    }
  })

  test('a client seals in batches too', () => {
    const [world, client] = established(18)
    const batch = new TestBatch()
    batch.push(new TextEncoder().encode('from a batch'), 0)
    client.association.sealDatagrams(batch, world.now)
    world.toServer(0, batch.at(0))
    expect(world.serverOutputs.flatMap(o => (o.type === 'received' ? [textOf(o.bytes)] : []))).toEqual(['from a batch'])
  })

  test('an empty record is no data (RFC 5246 §6.2.1), and costs nothing but a counter', () => {
    const [world, client] = established(19)
    const { write } = (
      client.association as unknown as { peer: { write: import('../../src/record/epoch-keys.ts').WriteEpoch } }
    ).peer
    const record = new Uint8Array(write.overhead)
    write.write(record, 0, 23, 0, 0xfefd)
    world.toServer(0, record)
    expect(world.server.stats()['empty-record']).toBe(1)
    expect(world.receivedByServer).toEqual([])
    expectAlive(world, client)
  })
})

describe('what no association knows', () => {
  function open(world: World, endpoint: number, ...datagrams: Uint8Array[]): TestBatch {
    const batch = new TestBatch()
    for (const datagram of datagrams) batch.push(datagram, endpoint)
    world.server.openDatagrams(batch, world.now)
    return batch
  }
  const record = (client: TestClient, world: World): Uint8Array => {
    client.association.send(Uint8Array.of(1, 2, 3), world.now)
    const output = client.association.poll()
    if (output?.type !== 'transmit') throw new TypeError('no record')
    return output.bytes
  }

  test('is offered to takeUnknown as it came, if it is one whole record of data', () => {
    const taken: { endpoint: number; bytes: Uint8Array }[] = []
    const [world] = established(30, {
      takeUnknown: (batch, slot) => {
        const at = batch.offsets[slot]!
        taken.push({ endpoint: batch.owners[slot]!, bytes: batch.bytes.slice(at, at + batch.lengths[slot]!) })
        return taken.length === 1
      },
    })
    const [otherWorld, stranger] = established(31)
    const datagram = record(stranger, otherWorld)
    const another = record(stranger, otherWorld)
    const before = world.server.stats()
    const batch = open(world, 7, datagram.slice(), another.slice())
    expect([...batch.verdicts.subarray(0, 2)]).toEqual([Verdict.divert, Verdict.drop])
    expect(taken).toEqual([
      { endpoint: 7, bytes: datagram },
      { endpoint: 7, bytes: another },
    ])
    // What was taken is no drop.
    expect(world.server.stats()).toEqual({ ...before, 'unknown-endpoint': before['unknown-endpoint'] + 1 })
    const two = new Uint8Array([...datagram, ...another])
    const alert = datagram.slice()
    alert[0] = 21
    open(world, 7, two, alert, datagram.slice(0, -1))
    expect(taken).toHaveLength(2)
  })

  test('is not offered when it is the record of a client that has moved', () => {
    let offered = 0
    const [world, client] = established(32, {
      takeUnknown: () => {
        offered++
        return true
      },
    })
    const batch = open(world, 7, record(client, world))
    expect([batch.verdicts[0], batch.owners[0], offered]).toEqual([Verdict.forward, 0, 0])
    expect(world.server.endpointOf(0)).toBe(7)
  })
})
