// What a server does with hellos: cookies, caps, and what it drops without a word.
import { describe, expect, test } from 'vitest'
import { encodeMessage, HandshakeType } from '../../src/handshake/message-header.ts'
import { writeClientHello } from '../../src/handshake/messages/client-hello.ts'
import type { CounterName } from '../../src/index.ts'
import { RECORD_HEADER_BYTES, writeRecordHeader } from '../../src/record/record-header.ts'
import { SeededRandom } from '../seeded-random.ts'
import { testKey, testSession, World } from '../world.ts'

function hello(fields: { random?: Uint8Array; sessionId?: Uint8Array; version?: number; messageSeq?: number } = {}) {
  const body = writeClientHello({
    version: fields.version ?? 0xfefd,
    random: fields.random ?? new SeededRandom(1).fill(new Uint8Array(32)),
    sessionId: fields.sessionId ?? testSession,
    cookie: new Uint8Array(0),
    cipherSuites: [0xa8],
    compressionMethods: Uint8Array.of(0),
    extensions: new Map([[65_281, Uint8Array.of(0)]]),
  })
  return inRecord(encodeMessage(HandshakeType.clientHello, fields.messageSeq ?? 0, body))
}

function inRecord(message: Uint8Array, sequence = 0): Uint8Array {
  const record = new Uint8Array(RECORD_HEADER_BYTES + message.length)
  writeRecordHeader(record, 0, 22, 0xfeff, 0, sequence, message.length)
  record.set(message, RECORD_HEADER_BYTES)
  return record
}

function sentTo(world: World, endpoint: number): Uint8Array[] {
  return world.crossings.filter(c => c.to === 'client' && c.endpoint === endpoint).map(c => c.bytes)
}

describe('with cookies', () => {
  test('hellos from ten thousand endpoints leave no state behind, and each answer is shorter than its hello', () => {
    const retained = new Map<number, number>()
    const world = new World(1, {}, { retainEndpoint: endpoint => retained.set(endpoint, 1) })
    world.filter = () => false
    for (let endpoint = 0; endpoint < 10_000; endpoint++) world.toServer(endpoint, hello())
    expect(world.server.halfOpenCount).toBe(0)
    expect(world.server.deadline).toBeUndefined()
    expect(retained.size).toBe(0)
    expect(world.server.stats()['cookies-sent']).toBe(10_000)
    for (const { bytes } of world.crossings) expect(bytes.length).toBeLessThan(hello().length)
  })

  test('the answer repeats the numbers of the hello and says DTLS 1.0 (RFC 6347 §4.2.1)', () => {
    const world = new World(1)
    const record = hello({ messageSeq: 1 })
    writeRecordHeader(record, 0, 22, 0xfeff, 0, 0x1234, record.length - RECORD_HEADER_BYTES)
    world.toServer(0, record)
    const [answer] = sentTo(world, 0)
    expect([...answer!.slice(0, 11)]).toEqual([22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0x12, 0x34])
    expect(answer![RECORD_HEADER_BYTES]).toBe(HandshakeType.helloVerifyRequest)
    expect(answer![RECORD_HEADER_BYTES + 5]).toBe(1)
    expect([...answer!.slice(25, 27)]).toEqual([0xfe, 0xff])
  })

  test('a cookie of another endpoint is refused, and another one offered', () => {
    const world = new World(2)
    world.connect()
    world.run(25)
    const withCookie = world.crossings.filter(c => c.to === 'server')[1]!
    for (const endpoint of [1, 250]) {
      world.toServer(endpoint, withCookie.bytes)
      expect(sentTo(world, endpoint).map(bytes => bytes[RECORD_HEADER_BYTES])).toEqual([
        HandshakeType.helloVerifyRequest,
      ])
    }
    expect(world.server.stats()['cookie-refused']).toBe(2)
    expect(world.server.halfOpenCount).toBe(0)
  })

  test('a client whose cookie expires on the way gets through with the next one', () => {
    const world = new World(3, {}, { cookieLifetimeMs: 1000 })
    const client = world.connect({ retransmitTimeoutMs: 5000 })
    let isHeld = true
    world.filter = ({ to, bytes }) => !(isHeld && to === 'server' && bytes[18] === 1)
    world.run(3000)
    isHeld = false
    world.run(10_000)
    expect(client.association.state).toBe('established')
    expect(world.server.stats()['cookie-refused']).toBe(1)
  })

  test('two answers to one hello with different cookies, because secrets changed in between, do not break the handshake', () => {
    const world = new World(3, {}, { cookieLifetimeMs: 1000 })
    const client = world.connect({ retransmitTimeoutMs: 1000 })
    // The server is slow: the answer to the first hello waits until the one to its repeat is there too.
    const answers: Uint8Array[] = []
    let isSlow = true
    world.filter = ({ to, bytes }) => {
      if (!isSlow || to !== 'client') return true
      answers.push(bytes)
      return false
    }
    world.run(1500)
    isSlow = false
    const cookies = answers.map(bytes => Buffer.from(bytes.subarray(-20)).toString('hex'))
    expect(new Set(cookies).size).toBe(2)
    for (const answer of answers) world.toClient(client, answer)
    world.run(70_000)
    expect(client.association.state).toBe('established')
    expect(world.server.stats()['cookie-refused']).toBe(0)
  })
})

describe('under load', () => {
  test('cookies begin when a quarter of the handshakes is in use', () => {
    const world = new World(4, {}, { cookies: 'under-load', maxHalfOpen: 40 })
    world.filter = () => false
    for (let endpoint = 0; endpoint < 30; endpoint++) world.toServer(endpoint, hello())
    expect(world.server.halfOpenCount).toBe(10)
    expect(world.server.stats()['cookies-sent']).toBe(20)
  })

  test('an endpoint with a handshake under way has to show a cookie for another one', () => {
    const world = new World(5, {}, { cookies: 'under-load' })
    world.filter = () => false
    world.toServer(0, hello())
    world.toServer(0, hello({ random: new Uint8Array(32).fill(7) }))
    expect(world.server.halfOpenCount).toBe(1)
    expect(world.server.stats()['cookies-sent']).toBe(1)
  })
})

describe('without cookies', () => {
  test('a silent endpoint gets at most three times the bytes that came from it', () => {
    const world = new World(6, {}, { cookies: 'never', retransmitTimeoutMs: 100, maxRetransmitTimeoutMs: 100 })
    world.filter = () => false
    world.toServer(0, hello())
    world.run(61_000)
    const sent = sentTo(world, 0).reduce((sum, bytes) => sum + bytes.length, 0)
    expect(sent).toBeGreaterThan(0)
    expect(sent).toBeLessThanOrEqual(3 * hello().length)
    expect(world.server.stats()['amplification-limit']).toBeGreaterThan(0)
  })

  test('another hello does not disturb the handshake under way', () => {
    const world = new World(7, {}, { cookies: 'never' })
    const client = world.connect()
    world.run(15)
    world.toServer(0, hello())
    expect(world.server.stats()['handshake-busy']).toBe(1)
    world.run(100)
    expect(client.association.state).toBe('established')
  })
})

describe('caps', () => {
  test('on handshakes in all and per host: beyond them, silence and a counter', () => {
    const world = new World(8, {}, { cookies: 'never', maxHalfOpen: 20, maxHalfOpenPerHost: 5 })
    world.filter = () => false
    for (let endpoint = 0; endpoint < 10; endpoint++) world.toServer(endpoint, hello())
    expect(world.server.halfOpenCount).toBe(5)
    expect(world.server.stats()['half-open-host-limit']).toBe(5)
    for (let host = 1; host < 10; host++) for (let i = 0; i < 5; i++) world.toServer(host * 100 + i, hello())
    expect(world.server.halfOpenCount).toBe(20)
    expect(world.server.stats()['half-open-limit']).toBe(30)
    expect(sentTo(world, 7)).toEqual([])
  })

  test('a handshake gives its place back when its deadline passes', () => {
    const retained = new Set<number>()
    const world = new World(
      9,
      {},
      {
        cookies: 'never',
        maxHalfOpen: 1,
        retainEndpoint: endpoint => retained.add(endpoint),
        releaseEndpoint: endpoint => retained.delete(endpoint),
      },
    )
    world.filter = () => false
    world.toServer(0, hello())
    expect([...retained]).toEqual([0])
    world.run(60_001)
    expect(world.serverOutputs).toMatchObject([
      { type: 'handshake-failed', endpoint: 0, sessionId: testSession, error: { code: 'ERR_DTLS_HANDSHAKE_TIMEOUT' } },
    ])
    expect(world.server.halfOpenCount).toBe(0)
    expect(retained.size).toBe(0)
    world.toServer(1, hello())
    expect(world.server.halfOpenCount).toBe(1)
  })

  test('on associations: a new session is dropped, a known one may come back', () => {
    const world = new World(10, {}, { maxAssociations: 2 })
    world.connect({ sessionId: Uint8Array.of(1) })
    world.connect({ sessionId: Uint8Array.of(2) })
    world.run(200)
    expect(world.server.associationCount).toBe(2)
    const third = world.connect({ sessionId: Uint8Array.of(3) })
    const second = world.connect({ sessionId: Uint8Array.of(2) }, 77)
    world.run(500)
    expect(third.association.state).toBe('handshaking')
    expect(second.association.state).toBe('established')
    expect(world.server.associationCount).toBe(2)
    expect(world.server.stats()['association-limit']).toBeGreaterThan(0)
  })
})

describe('drops without a word', () => {
  const long = hello()
  const cases: [CounterName, string, Uint8Array][] = [
    ['unknown-session-id', 'a session id that nobody knows', hello({ sessionId: new Uint8Array(32) })],
    ['zero-random', 'a random of zeros (CVE-2020-11501)', hello({ random: new Uint8Array(32) })],
    ['fragmented-hello', 'a hello in fragments', fragmentOf(long)],
    ['malformed-message', 'a hello that ends early', inRecord(encodeMessage(1, 0, new Uint8Array(20)))],
    ['malformed-message', 'a number that no first message has', hello({ messageSeq: 9 })],
    ['malformed-record', 'a record number that leaves no room', withSequence(hello(), 2 ** 47)],
    ['malformed-record', 'a record that is cut short', long.slice(0, -1)],
    ['unsupported-version', 'a hello in a record of another version', withByte(long, 2, 0x03)],
    ['unknown-endpoint', 'a later message from nowhere', inRecord(encodeMessage(16, 1, new Uint8Array(5)))],
    ['unknown-endpoint', 'a protected record from nowhere', withByte(long, 4, 1)],
    ['unknown-endpoint', 'an alert from nowhere', Uint8Array.of(21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40)],
  ]
  test.each(cases)('%s: %s', (counter, _name, bytes) => {
    const world = new World(11, {}, { knowsSession: sessionId => sessionId[0] === testSession[0], cookies: 'never' })
    world.toServer(0, bytes)
    expect(world.crossings).toEqual([])
    expect(world.server.halfOpenCount).toBe(0)
    expect(world.server.stats()[counter]).toBe(1)
  })
})

test('the key is looked up once, by session id and identity', () => {
  const asked: [Uint8Array, Uint8Array][] = []
  const findPsk = (sessionId: Uint8Array, identity: Uint8Array) => {
    asked.push([sessionId, identity])
    return testKey
  }
  const world = new World(12, {}, { findPsk })
  world.connect({ psk: { identity: Uint8Array.of(0, 1, 0), key: testKey } })
  world.run(500)
  expect(asked).toEqual([[testSession, Uint8Array.of(0, 1, 0)]])
})

function fragmentOf(record: Uint8Array): Uint8Array {
  const fragment = inRecord(record.slice(RECORD_HEADER_BYTES, -10))
  const length = fragment.length - RECORD_HEADER_BYTES - 12
  fragment[RECORD_HEADER_BYTES + 10] = length >> 8
  fragment[RECORD_HEADER_BYTES + 11] = length & 0xff
  return fragment
}

function withByte(record: Uint8Array, at: number, value: number): Uint8Array {
  const copy = record.slice()
  copy[at] = value
  return copy
}

function withSequence(record: Uint8Array, sequence: number): Uint8Array {
  return inRecord(record.slice(RECORD_HEADER_BYTES), sequence)
}
