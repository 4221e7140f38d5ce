// An association goes on in another machine, from a snapshot and from sequence numbers in shared memory.
import { describe, expect, test } from 'vitest'
import { type AssociationSnapshot, cipherSuites, DtlsAssociation, DtlsServer } from '../src/index.ts'
import { nodeCrypto } from '../src/io/index.ts'
import { SeededRandom } from './seeded-random.ts'
import { type TestClient, testCrypto, testKey, textOf, World } from './world.ts'

const text = (value: string): Uint8Array => new TextEncoder().encode(value)

function freshServer(sequences?: Float64Array, crypto = testCrypto): DtlsServer {
  return new DtlsServer({
    crypto,
    random: new SeededRandom(9),
    findPsk: () => testKey,
    maxAssociations: 100,
    ...(sequences === undefined ? {} : { sequences }),
  })
}

/** What a server says, by type. */
function drain(server: DtlsServer): { transmit: Uint8Array[]; received: string[]; others: string[] } {
  const result = { transmit: [] as Uint8Array[], received: [] as string[], others: [] as string[] }
  for (let output = server.poll(); output !== undefined; output = server.poll()) {
    if (output.type === 'transmit') result.transmit.push(output.bytes)
    else if (output.type === 'received') result.received.push(textOf(output.bytes))
    else result.others.push(output.type)
  }
  return result
}

function takeFrom(client: TestClient): string[] {
  const found = client.outputs.flatMap(output => (output.type === 'received' ? [textOf(output.bytes)] : []))
  client.outputs.length = 0
  return found
}

/** A server with an established client at endpoint 0, after two records each way. */
function established(suite = cipherSuites[0]!.name, sequences?: Float64Array): { world: World; client: TestClient } {
  const world = new World(4, {}, { maxAssociations: 100, ...(sequences === undefined ? {} : { sequences }) })
  const client = world.connect({ cipherSuites: [suite] })
  world.run(500)
  for (const word of ['one', 'two']) {
    world.send(client, word)
    world.server.send(0, text(word), world.now)
  }
  world.run(500)
  expect(takeFrom(client)).toEqual(['one', 'two'])
  return { world, client }
}

/** A datagram of the client, without sending it. */
function sealedBy(client: TestClient, word: string): Uint8Array {
  client.association.send(text(word), 0)
  const output = client.association.poll()
  if (output?.type !== 'transmit') throw new Error('nothing to transmit')
  return output.bytes
}

describe.each(cipherSuites)('$name', ({ name }) => {
  test('goes on in another server without a handshake, and by another provider', () => {
    for (const crypto of [testCrypto, nodeCrypto]) {
      const { world, client } = established(name)
      const replayed = sealedBy(client, 'three')
      world.toServer(0, replayed)
      const snapshot = structuredClone(world.server.exportAssociation(0))
      const other = freshServer(undefined, crypto)
      expect(other.installAssociation(snapshot, 7, 0)).toBe(0)
      expect(other.associationCount).toBe(1)
      expect(other.endpointOf(0)).toBe(7)

      other.handleDatagram(7, sealedBy(client, 'four'), 0)
      other.send(0, text('answer'), 0)
      const { transmit, received, others } = drain(other)
      expect(received).toEqual(['four'])
      expect(others).toEqual([])
      for (const bytes of transmit) world.toClient(client, bytes)
      expect(takeFrom(client)).toEqual(['answer'])
      // The replay window came along.
      other.handleDatagram(7, replayed.slice(), 0)
      expect(drain(other).received).toEqual([])
      expect(other.stats().replayed).toBe(1)
      expect(other.exportKeyingMaterial(0, 32, 'EXPORTER-test')).toEqual(
        client.association.exportKeyingMaterial(32, 'EXPORTER-test'),
      )
    }
  })

  test('a client goes on, too', () => {
    const { world, client } = established(name)
    const snapshot = structuredClone(client.association.exportAssociation())
    const other = DtlsAssociation.installAssociation(
      { role: 'client', crypto: testCrypto, random: new SeededRandom(1), psk: { identity: 'psk', key: testKey } },
      snapshot,
    )
    expect(other.state).toBe('established')
    expect(other.negotiated).toEqual(client.association.negotiated)
    other.send(text('from elsewhere'), 0)
    const output = other.poll()
    if (output?.type !== 'transmit') throw new Error('nothing to transmit')
    world.toServer(0, output.bytes)
    expect(world.receivedByServer.at(-1)).toBe('from elsewhere')
    world.server.send(0, text('back'), world.now)
    for (let out = world.server.poll(); out !== undefined; out = world.server.poll()) {
      if (out.type === 'transmit') other.handleDatagram(out.bytes, 0)
    }
    expect(other.poll()).toMatchObject({ type: 'received' })
  })
})

describe('sequence numbers in shared memory', () => {
  test('are those that the next owner goes on from: no number is used twice, nothing is received twice', () => {
    const sequences = new Float64Array(new SharedArrayBuffer(8 * 400))
    const { world, client } = established(undefined, sequences)
    // Finished, and two records of data.
    expect([...sequences.slice(0, 2)]).toEqual([3, 2])
    const snapshot = world.server.exportAssociation(0)
    // The old owner goes on for a while and then dies.
    const sent = new Set<string>()
    const late = sealedBy(client, 'late')
    for (const word of ['a', 'b', 'c']) {
      world.toServer(0, sealedBy(client, word))
      world.server.send(0, text(word), world.now)
    }
    expect([...sequences.slice(0, 2)]).toEqual([6, 6])
    const numberOf = (bytes: Uint8Array): string => bytes.slice(3, 11).join()
    for (let out = world.server.poll(); out !== undefined; out = world.server.poll()) {
      if (out.type === 'transmit') sent.add(numberOf(out.bytes))
    }
    const used = world.crossings.filter(({ to }) => to === 'client').map(({ bytes }) => numberOf(bytes))
    const next = freshServer(sequences)
    expect(next.installAssociation(snapshot, 0, 0)).toBe(0)
    for (const word of ['d', 'e']) next.send(0, text(word), 0)
    const { transmit } = drain(next)
    expect(transmit.length).toBe(2)
    for (const bytes of transmit) {
      expect([...sent, ...used]).not.toContain(numberOf(bytes))
      world.toClient(client, bytes)
    }
    expect(takeFrom(client).slice(-2)).toEqual(['d', 'e'])
    expect([...sequences.slice(0, 2)]).toEqual([8, 6])
    // What was in flight counts as received: whether it was is not known any more.
    next.handleDatagram(0, late, 0)
    next.handleDatagram(0, sealedBy(client, 'new'), 0)
    expect(drain(next).received).toEqual(['new'])
    expect(sequences[1]).toBe(7)
    next.close(0, 0)
    expect([...sequences.slice(0, 2)]).toEqual([0, -1])
  })

  test('a client keeps them as well', () => {
    const sequences = new Float64Array(2)
    const world = new World(5)
    const client = world.connect({ sequences })
    world.run(500)
    expect([...sequences]).toEqual([1, 0])
    world.send(client, 'a')
    expect([...sequences]).toEqual([2, 0])
    client.association.close(0)
    expect([...sequences]).toEqual([0, -1])
  })

  test('must have room', () => {
    expect(() => freshServer(new Float64Array(399))).toThrow('sequences must have room for 400 numbers')
  })
})

describe('installing', () => {
  test('keeps the number, or gives another if that is taken, and skipped numbers are used later', () => {
    const { world } = established()
    const snapshot = world.server.exportAssociation(0)
    const named = (association: number, id: number): AssociationSnapshot => ({
      ...snapshot,
      association,
      negotiated: { ...snapshot.negotiated, sessionId: Uint8Array.of(id) },
    })
    const server = freshServer()
    expect(server.associationNumbers).toBe(200)
    expect(server.installAssociation(named(5, 1), 1, 0)).toBe(5)
    expect(server.installAssociation(named(5, 2), 2, 0)).not.toBe(5)
    expect(server.installAssociation(named(3, 3), 3, 0)).toBe(3)
    const numbers = new Set([3, 5])
    for (let id = 4; id < 12; id++) numbers.add(server.installAssociation(named(-1, id), id, 0))
    expect(server.associationCount).toBe(11)
    expect(Math.max(...numbers)).toBeLessThan(12)
  })

  test('takes the place of the association with the same session id or endpoint', () => {
    const { world } = established()
    const snapshot = world.server.exportAssociation(0)
    const server = freshServer()
    server.installAssociation(snapshot, 1, 0)
    server.installAssociation(snapshot, 2, 0)
    expect(drain(server).others).toEqual(['closed'])
    const other = { ...snapshot, negotiated: { ...snapshot.negotiated, sessionId: Uint8Array.of(9) } }
    server.installAssociation(other, 2, 0)
    expect(drain(server).others).toEqual(['closed'])
    expect(server.associationCount).toBe(1)
  })

  test('stops at maxAssociations', () => {
    const { world } = established()
    const snapshot = world.server.exportAssociation(0)
    const server = freshServer()
    for (let id = 0; id < 101; id++) {
      const negotiated = { ...snapshot.negotiated, sessionId: Uint8Array.of(id) }
      expect(server.installAssociation({ ...snapshot, association: id, negotiated }, id, 0)).toBe(id < 100 ? id : -1)
    }
    expect(server.stats()['association-limit']).toBe(1)
  })

  test('refuses what can not be', () => {
    const { world, client } = established()
    const snapshot = world.server.exportAssociation(0)
    const server = freshServer()
    const bad: [Record<string, unknown>, string][] = [
      [{ format: 2 }, 'snapshot.format'],
      [{ role: 'client' }, 'snapshot.role'],
      [{ writeKey: new Uint8Array(5) }, 'snapshot.writeKey'],
      [{ readIv: 'text' }, 'snapshot.readIv'],
      [{ writeSequence: -1 }, 'snapshot.writeSequence'],
      [{ highestRead: 1.5 }, 'snapshot.highestRead'],
      [{ replayWindow: new Uint32Array(3) }, 'snapshot.replayWindow'],
      [{ masterSecret: new Uint8Array(3) }, 'snapshot.masterSecret'],
      [{ negotiated: { ...snapshot.negotiated, cipherSuite: 'none' } }, 'cipherSuites'],
    ]
    for (const [change, message] of bad) {
      expect(() => server.installAssociation({ ...snapshot, ...change } as AssociationSnapshot, 1, 0)).toThrow(message)
    }
    expect(server.associationCount).toBe(0)
    expect(() => server.exportAssociation(0)).toThrow(RangeError)
    client.association.close(0)
    expect(() => client.association.exportAssociation()).toThrow('not established')
  })
})
