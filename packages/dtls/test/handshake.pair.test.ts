// Client and server on a link that loses, duplicates, delays and reorders.
import { describe, expect, test } from 'vitest'
import { type CookiePolicy, cipherSuites } from '../src/index.ts'
import { splitRecords, testKey, testSession, textOf, typesOf, World } from './world.ts'

const runs = Number(process.env.FUZZ_RUNS ?? 600)
const firstSeed = Number(process.env.FUZZ_SEED ?? 1)

describe('on a clean link', () => {
  const cases = cipherSuites.flatMap(suite => [true, false].map(ems => ({ name: suite.name, ems })))
  test.each(cases)('$name is agreed on, extended master secret: $ems', ({ name, ems }) => {
    const world = new World(1, {}, { cipherSuites: [name] })
    const client = world.connect({ extendedMasterSecret: ems })
    world.run(1000)
    const agreed = {
      type: 'established',
      version: 'DTLSv1.2',
      cipherSuite: name,
      sessionId: testSession,
      extendedMasterSecret: ems,
      overhead: name.includes('GCM') ? 37 : 29,
    }
    expect(client.outputs).toMatchObject([agreed])
    expect(world.serverOutputs).toMatchObject([{ ...agreed, association: 0, endpoint: 0 }])
    expect(textIdentity(world)).toBe('psk')
    const ours = client.association.exportKeyingMaterial(40, 'EXPORTER-test', Uint8Array.of(1, 2))
    expect(world.server.exportKeyingMaterial(0, 40, 'EXPORTER-test', Uint8Array.of(1, 2))).toEqual(ours)
    expect(world.server.exportKeyingMaterial(0, 40, 'EXPORTER-test')).not.toEqual(ours)
  })

  test('three round trips with a cookie, two without, and no retransmission', () => {
    for (const [cookies, datagrams] of [
      ['always', 3],
      ['never', 2],
    ] as const) {
      const world = new World(2, {}, { cookies })
      const client = world.connect()
      world.run(5000)
      expect(client.association.state).toBe('established')
      expect(client.sentDatagrams).toBe(datagrams)
      expect(world.sentByServer).toBe(datagrams)
      expect(world.server.stats().retransmissions + client.association.stats().retransmissions).toBe(0)
    }
  })

  test('the server picks by its own order', () => {
    const order = ['TLS_PSK_WITH_CHACHA20_POLY1305_SHA256', 'TLS_PSK_WITH_AES_128_GCM_SHA256'] as const
    const world = new World(3, {}, { cipherSuites: order })
    const client = world.connect()
    world.run(1000)
    expect(client.association.negotiated?.cipherSuite).toBe(order[0])
  })

  test('no common suite fails both sides at once or nearly', () => {
    const world = new World(4, {}, { cipherSuites: ['TLS_PSK_WITH_AES_128_GCM_SHA256'] })
    const client = world.connect({ cipherSuites: ['TLS_PSK_WITH_AES_256_GCM_SHA384'] })
    world.run(4000)
    expect(world.serverOutputs[0]).toMatchObject({
      type: 'handshake-failed',
      error: { code: 'ERR_DTLS_NEGOTIATION_FAILED', alert: 'handshake_failure' },
    })
    expect(world.server.halfOpenCount).toBe(0)
    expect(client.outputs).toMatchObject([
      {
        type: 'closed',
        reason: 'handshake-failed',
        error: { code: 'ERR_DTLS_PEER_ALERT', alert: 'handshake_failure' },
      },
    ])
  })

  test('a server without a key for the client says so', () => {
    const world = new World(5, {}, { findPsk: () => undefined })
    const client = world.connect()
    world.run(4000)
    expect(world.serverOutputs).toMatchObject([{ type: 'handshake-failed', error: { code: 'ERR_DTLS_UNKNOWN_PSK' } }])
    expect(client.outputs).toMatchObject([{ type: 'closed', error: { alert: 'unknown_psk_identity' } }])
  })

  test('an agreed record size limit holds both ways (RFC 8449)', () => {
    const world = new World(6, {}, { recordSizeLimit: 100 })
    const client = world.connect({ recordSizeLimit: 80 })
    world.run(1000)
    expect(client.association.negotiated?.maxPlaintextBytes).toBe(100)
    expect(client.association.send(new Uint8Array(101), world.now)).toBe(false)
    expect(client.association.send(new Uint8Array(100), world.now)).toBe(true)
    expect(world.server.send(0, new Uint8Array(81), world.now)).toBe(false)
    expect(world.server.send(0, new Uint8Array(80), world.now)).toBe(true)
    world.run(1000)
    expect(typesOf(world.serverOutputs)).toEqual(['established', 'received'])
    expect(typesOf(client.outputs)).toEqual(['established', 'received'])
  })
})

describe('with different keys', () => {
  test('both sides fail by their deadlines, the server says why, and neither storms', () => {
    const world = new World(7, { minDelayMs: 50 })
    const client = world.connect({ psk: { identity: 'psk', key: testKey.slice(1) } })
    world.run(61_000)
    expect(client.outputs).toMatchObject([{ type: 'closed', error: { code: 'ERR_DTLS_HANDSHAKE_TIMEOUT' } }])
    expect(world.serverOutputs).toMatchObject([{ type: 'handshake-failed', error: { code: 'ERR_DTLS_PSK_MISMATCH' } }])
    expect(client.sentDatagrams).toBeLessThan(12)
    expect(world.sentByServer).toBeLessThan(8)
    expect(world.server.halfOpenCount).toBe(0)
    expect(world.server.deadline).toBeUndefined()
  })
})

describe(`on bad links, ${runs} seeds from ${firstSeed}`, () => {
  test('both sides establish or fail by the deadline, and what is established carries data', () => {
    let established = 0
    for (let seed = firstSeed; seed < firstSeed + runs; seed++) {
      const world = badWorld(seed)
      const client = world.connect({ retransmitTimeoutMs: 400, mtu: world.link.mtu ?? 1200 })
      world.run(61_000)
      const { state } = client.association
      expect(['established', 'closed'], `seed ${seed}`).toContain(state)
      // A handshake that began with one of the client's last hellos has a deadline of its own.
      world.run(61_000)
      expect(world.server.halfOpenCount, `seed ${seed}`).toBe(0)
      expect(client.association.deadline, `seed ${seed}`).toBeUndefined()
      expect(client.sentDatagrams + world.sentByServer, `seed ${seed}`).toBeLessThan(100)
      if (state !== 'established') continue
      established++
      world.link = {}
      world.send(client, 'ping')
      const association = world.serverOutputs.flatMap(o => (o.type === 'established' ? [o.association] : [])).at(-1)!
      expect(world.server.send(association, new TextEncoder().encode('pong'), world.now), `seed ${seed}`).toBe(true)
      world.run(100)
      expect(world.receivedByServer, `seed ${seed}`).toEqual(['ping'])
      expect(typesOf(client.outputs), `seed ${seed}`).toEqual(['established', 'received'])
    }
    expect(established / runs).toBeGreaterThan(0.95)
  })
})

describe('a lost flight', () => {
  test.each([1, 2, 3, 4, 5, 6])('datagram %i is sent again', lost => {
    const world = new World(20 + lost)
    let count = 0
    world.filter = () => ++count !== lost
    const client = world.connect()
    world.run(3000)
    expect(client.association.state).toBe('established')
    expect(world.server.associationCount).toBe(1)
  })

  test('the last flight is repeated whenever the client repeats its own', () => {
    const world = new World(30)
    const client = world.connect()
    let lost = 0
    world.filter = ({ to }) => to === 'server' || world.server.associationCount === 0 || lost++ >= 3
    world.run(20_000)
    expect(client.association.state).toBe('established')
    expect(world.server.stats().retransmissions).toBe(3)
    expect(world.server.associationCount).toBe(1)
  })

  test('a last flight that never arrives is repeated a bounded number of times', () => {
    const world = new World(31)
    const client = world.connect({ retransmitTimeoutMs: 10, maxRetransmitTimeoutMs: 10 })
    world.filter = ({ to }) => to === 'server' || world.server.associationCount === 0
    world.run(61_000)
    expect(client.outputs).toMatchObject([{ type: 'closed', error: { code: 'ERR_DTLS_HANDSHAKE_TIMEOUT' } }])
    expect(world.server.stats().retransmissions).toBeLessThanOrEqual(16)
  })

  test('a Finished that overtakes its flight is kept until its keys are there (RFC 6347 §4.2.4)', () => {
    for (const to of ['server', 'client'] as const) {
      const world = new World(32, {}, { cookies: 'never' })
      const held: Uint8Array[] = []
      // Tears datagrams apart, and delivers their records backwards.
      world.filter = crossing => {
        if (crossing.to !== to) return true
        const records = splitRecords(crossing.bytes)
        if (records.length === 1) return true
        held.push(...records.reverse())
        return false
      }
      const client = world.connect()
      for (let turn = 0; turn < 4; turn++) {
        world.run(20)
        for (const record of held.splice(0))
          to === 'server' ? world.toServer(0, record) : world.toClient(client, record)
      }
      expect(client.association.state).toBe('established')
      expect(client.association.stats().retransmissions + world.server.stats().retransmissions).toBe(0)
    }
  })
})

test('data of the server that overtakes its Finished is kept until that has come', () => {
  const world = new World(33)
  const client = world.connect()
  const held: Uint8Array[] = []
  world.filter = ({ to, bytes }) => {
    if (to === 'server' || world.server.associationCount === 0) return true
    held.unshift(bytes)
    return false
  }
  world.run(100)
  for (const word of ['one', 'two']) world.server.send(0, new TextEncoder().encode(word), world.now)
  world.drain()
  expect(held.length).toBe(3)
  for (const bytes of held) world.toClient(client, bytes)
  expect(client.outputs.map(output => (output.type === 'received' ? textOf(output.bytes) : output.type))).toEqual([
    'established',
    'two',
    'one',
  ])
})

function badWorld(seed: number): World {
  const policies: CookiePolicy[] = ['always', 'under-load', 'never']
  const mtus = [256, 300, 548, 1200]
  const link = {
    loss: (seed % 5) * 0.1,
    duplicates: (seed % 3) * 0.2,
    minDelayMs: 5,
    maxDelayMs: 5 + (seed % 7) * 60,
    mtu: mtus[seed % 4]!,
  }
  return new World(seed, link, {
    retransmitTimeoutMs: 400,
    cookies: policies[seed % 3]!,
    mtu: link.mtu,
    cipherSuites: [cipherSuites[seed % 2 ? 2 : seed % 3]!.name],
  })
}

function textIdentity(world: World): string {
  const output = world.serverOutputs[0]!
  return output.type === 'established' ? new TextDecoder().decode(output.identity) : ''
}
