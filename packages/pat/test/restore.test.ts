// A translator that takes over what one before it left in shared memory.
import { TcpFlag } from '@twinbore/core/packet'
import { seededRandom } from '@twinbore/core/runtime'
import { icmpEchoPacket } from '@twinbore/core/testing'
import { describe, expect, test } from 'vitest'
import { allocateTranslatorMemory, type PatOptions, type RestoreStats, Translator } from '../src/index.ts'
import {
  client,
  client6,
  destinationOf,
  destinationPortOf,
  Harness,
  identifierOf,
  neighbour,
  outside,
  outside6,
  server,
  server6,
  sourceOf,
  sourcePortOf,
  tcp,
  udp,
  udpAnswer,
} from './harness.ts'
import { copyMemory } from './kept-memory.ts'

const { syn, ack, fin, rst } = TcpFlag
const start = 1_000_000
const nothing: RestoreStats = { mappings: 0, sessions: 0, dropped: { broken: 0, refused: 0, conflicting: 0 } }

/** Translators that follow one another over the same memory, each with secrets of its own. */
class Line {
  readonly memory = allocateTranslatorMemory()
  readonly options: Partial<PatOptions>
  harness: Harness
  private seed = 10

  constructor(options: Partial<PatOptions> = {}) {
    this.options = options
    this.harness = this.next(start)
  }

  /** The one at work is no more asked for anything. */
  succeed(afterMs = 0, options: Partial<PatOptions> = {}): RestoreStats {
    this.harness = this.next(this.harness.now + afterMs, options)
    return this.harness.translator.stats().restored!
  }

  private next(now: number, options: Partial<PatOptions> = {}): Harness {
    const random = seededRandom(this.seed++)
    return new Harness({ random, ...this.options, ...options }, { memory: this.memory, now })
  }
}

/** Opens a connection from port 5000 to port 80: client at 100, server at 500. Returns its outside port. */
function connect(harness: Harness): number {
  const opening = harness.sent(tcp({ flags: syn, sequenceNumber: 99, window: 1000 }))
  const port = sourcePortOf(opening)
  harness.received(fromServer(port, { flags: syn | ack, sequenceNumber: 499, acknowledgmentNumber: 100, window: 1000 }))
  harness.sent(tcp({ flags: ack, sequenceNumber: 100, acknowledgmentNumber: 500, window: 1000 }))
  return port
}

function fromServer(port: number, fields: Parameters<typeof tcp>[0]): Uint8Array {
  return tcp({ source: server, destination: outside, sourcePort: 80, destinationPort: port, ...fields })
}

describe('flows go on', () => {
  test('of TCP, UDP and echo, of both families, both ways, with their outside endpoints', () => {
    const line = new Line()
    const ends6 = { source: client6, destination: server6 }
    const packets = [udp(), udp(ends6), tcp({ flags: syn }), tcp({ flags: syn, ...ends6 })]
    const echo = icmpEchoPacket({ source: client, destination: server, identifier: 77, sequenceNumber: 1 })
    const before = packets.map(packet => line.harness.sent(packet))
    const identifier = identifierOf(line.harness.sent(echo))
    expect(line.succeed()).toEqual({ ...nothing, mappings: 5, sessions: 5 })
    const answer = line.harness.received(udpAnswer(before[0]!))
    expect([destinationOf(answer), destinationPortOf(answer)]).toEqual([client, 5000])
    for (const [i, packet] of packets.entries()) {
      const after = line.harness.sent(packet)
      expect([sourceOf(after), sourcePortOf(after)]).toEqual([sourceOf(before[i]!), sourcePortOf(before[i]!)])
    }
    expect(identifierOf(line.harness.sent(echo))).toBe(identifier)
    expect(line.harness.translator.stats()).toMatchObject({ mappingsCreated: 0, insideAddresses: 2, sessions: 5 })
  })

  test('with all remote ends of a mapping, and no others', () => {
    const line = new Line({ filteringBehavior: 'address-and-port-dependent' })
    const sent = line.harness.sent(udp())
    line.harness.sent(udp({ destination: '198.51.100.11', destinationPort: 81 }))
    expect(line.succeed()).toMatchObject({ mappings: 1, sessions: 2 })
    const to = { destination: outside, destinationPort: sourcePortOf(sent) }
    line.harness.received(udp({ source: server, sourcePort: 80, ...to }))
    line.harness.received(udp({ source: '198.51.100.11', sourcePort: 81, ...to }))
    expect(line.harness.in(udp({ source: server, sourcePort: 82, ...to }))).toBe('filtered')
  })

  test('over more than one death, among more flows than the tables begin with', () => {
    const line = new Line({ newMappingBurst: 1e6 })
    const ports = Array.from({ length: 500 }, (_, n) => sourcePortOf(line.harness.sent(udp({ sourcePort: 1000 + n }))))
    for (let death = 0; death < 3; death++) {
      expect(line.succeed()).toEqual({ ...nothing, mappings: 500, sessions: 500 })
      for (const [n, port] of ports.entries()) {
        expect(sourcePortOf(line.harness.sent(udp({ sourcePort: 1000 + n })))).toBe(port)
      }
    }
  })

  test('and rows that were free are used again', () => {
    const line = new Line()
    for (let n = 0; n < 60; n++)
      line.harness.sent(udp({ source: n % 2 === 0 ? client : neighbour, sourcePort: 1000 + n }))
    line.harness.translator.removeInside(client, line.harness.now)
    expect(line.succeed()).toMatchObject({ mappings: 30 })
    for (let n = 0; n < 30; n++) line.harness.sent(udp({ sourcePort: 2000 + n }))
    expect(line.harness.translator.stats()).toMatchObject({ sessions: 60 })
    expect(line.memory.sessions.byteLength).toBe(64 * 64)
    expect(line.succeed()).toMatchObject({ mappings: 60 })
  })

  test('quotas count what was taken over', () => {
    const line = new Line({ maxUdpMappingsPerInside: 2 })
    for (const sourcePort of [1, 2]) line.harness.sent(udp({ sourcePort }))
    line.succeed()
    expect(line.harness.out(udp({ sourcePort: 3 }))).toBe('quotaExceeded')
    line.harness.sent(udp({ sourcePort: 2 }))
  })

  test('clients are shared out over outside addresses as before', () => {
    const addresses = ['203.0.113.1', '203.0.113.2']
    const line = new Line({ outsideAddresses: addresses })
    for (const source of [client, neighbour]) line.harness.sent(udp({ source }))
    line.harness.translator.removeInside(neighbour, line.harness.now)
    line.succeed()
    expect(sourceOf(line.harness.sent(udp()))).toBe(addresses[0])
    expect(sourceOf(line.harness.sent(udp({ source: '10.8.0.4' })))).toBe(addresses[1])
  })
})

describe('time goes on', () => {
  test('idle sessions end when they would have, and are told', () => {
    const line = new Line({ logMappings: true })
    const port = sourcePortOf(line.harness.sent(udp()))
    line.harness.advance(200_000)
    line.harness.sent(udp({ sourcePort: 5001 }))
    line.succeed(50_000)
    line.harness.advance(49_000)
    expect(line.harness.outputs).toEqual([])
    line.harness.advance(2000)
    expect(line.harness.outputs).toMatchObject([
      { type: 'mapping-expired', reason: 'idle', outside: { address: outside, port } },
    ])
    expect(line.harness.translator.stats()).toMatchObject({ mappings: { udp: 1 }, quarantinedPorts: { udp: 1 } })
  })

  test('what ended while nobody was there ends first of all, and its port rests', () => {
    const line = new Line({ portRange: { first: 2000, last: 2000 } })
    line.harness.sent(udp())
    line.succeed(301_000)
    expect(line.harness.out(udp({ source: neighbour }))).toBe('portsExhausted')
    line.harness.advance(1000)
    expect(line.harness.translator.stats()).toMatchObject({ mappingsRemoved: 1, quarantinedPorts: { udp: 1 } })
    line.harness.advance(120_000)
    line.harness.sent(udp({ source: neighbour }))
  })

  test('no time that stands in the memory outlasts the longest that there is', () => {
    const line = new Line()
    line.harness.sent(udp())
    new Float64Array(line.memory.sessions)[0] = 1e15
    line.succeed()
    line.harness.advance(301_000)
    expect(line.harness.translator.stats().sessions).toBe(0)
  })

  test('freed ports go on resting', () => {
    const line = new Line({ portRange: { first: 2000, last: 2001 } })
    const port = sourcePortOf(line.harness.sent(udp()))
    line.harness.translator.removeInside(client, line.harness.now)
    line.harness.advance(20_000)
    line.succeed()
    expect(line.harness.translator.stats().quarantinedPorts).toEqual({ tcp: 0, udp: 1, icmp: 0 })
    expect(sourcePortOf(line.harness.sent(udp({ sourcePort: 1 })))).toBe(port ^ 1)
    expect(line.harness.out(udp({ sourcePort: 2 }))).toBe('portsExhausted')
    line.harness.advance(100_000)
    expect(sourcePortOf(line.harness.sent(udp({ sourcePort: 3 })))).toBe(port)
  })

  test('as many as there is room for', () => {
    const few = { maxQuarantinedPorts: 4 }
    const memory = allocateTranslatorMemory(few)
    const harness = new Harness(few, { memory, now: start })
    for (let n = 0; n < 9; n++) harness.sent(udp({ sourcePort: 1000 + n }))
    harness.translator.removeInside(client, start)
    const successor = new Harness(few, { memory, now: start })
    expect(successor.translator.stats().quarantinedPorts.udp).toBe(4)
    const none = { maxQuarantinedPorts: 0 }
    const unresting = new Harness(none, { memory: allocateTranslatorMemory(none), now: start })
    unresting.sent(udp())
    expect(unresting.translator.removeInside(client, start)).toBe(1)
  })
})

describe('TCP goes on', () => {
  test('with its windows: a blind reset ends nothing, one that belongs does', () => {
    const line = new Line({ dropOutOfWindow: true })
    const port = connect(line.harness)
    line.succeed()
    expect(line.harness.in(fromServer(port, { flags: rst, sequenceNumber: 90_000 }))).toBe('filtered')
    line.harness.received(fromServer(port, { flags: ack, sequenceNumber: 500, acknowledgmentNumber: 100 }))
    line.harness.received(fromServer(port, { flags: rst, sequenceNumber: 500 }))
    line.harness.advance(241_000)
    expect(line.harness.translator.stats().sessions).toBe(0)
  })

  test('with its state: established for hours, half-closed, closing for minutes', () => {
    const line = new Line()
    const port = connect(line.harness)
    line.succeed()
    line.harness.advance(7_000_000)
    line.harness.sent(tcp({ flags: fin | ack, sequenceNumber: 100, acknowledgmentNumber: 500 }))
    line.succeed()
    line.harness.advance(7_000_000)
    line.harness.received(fromServer(port, { flags: fin | ack, sequenceNumber: 500, acknowledgmentNumber: 101 }))
    line.succeed()
    line.harness.advance(239_000)
    expect(line.harness.translator.stats().sessions).toBe(1)
    line.harness.advance(2000)
    expect(line.harness.translator.stats().sessions).toBe(0)
  })

  test('from the middle of its handshake', () => {
    const line = new Line({ dropOutOfWindow: true })
    const port = sourcePortOf(line.harness.sent(tcp({ flags: syn, sequenceNumber: 99 })))
    line.succeed()
    line.harness.received(fromServer(port, { flags: syn | ack, sequenceNumber: 499, acknowledgmentNumber: 100 }))
    line.succeed()
    line.harness.sent(tcp({ flags: ack, sequenceNumber: 100, acknowledgmentNumber: 500 }))
    line.harness.advance(300_000)
    expect(line.harness.translator.stats().sessions).toBe(1)
  })
})

describe('what does not fit is dropped and counted', () => {
  const refused = (options: Partial<PatOptions>, before: Partial<PatOptions> = {}) => {
    const line = new Line(before)
    line.harness.sent(udp())
    const restored = line.succeed(0, options)
    // And it is dropped for good.
    expect(line.succeed(0, options)).toEqual(nothing)
    return restored
  }
  const one = (kind: keyof RestoreStats['dropped']) => ({ ...nothing, dropped: { ...nothing.dropped, [kind]: 1 } })

  test.each<[string, Partial<PatOptions>]>([
    ['another outside address', { outsideAddresses: ['203.0.113.8'] }],
    ['an inside address that has become one of ours', { outsideAddresses: [outside, client] }],
    ['an inside address of no prefix', { insidePrefixes: ['10.9.0.0/16'] }],
    ['another filter', { filteringBehavior: 'address-and-port-dependent' }],
  ])('%s', (_, options) => {
    expect(refused(options)).toEqual(one('refused'))
  })

  test('a port of another range, or that is excluded now', () => {
    const before = { portRange: { first: 3000, last: 3000 } }
    expect(refused({ portRange: { first: 3001, last: 4000 } }, before)).toEqual(one('refused'))
    expect(refused({ portRange: { first: 1, last: 4000 }, excludedPorts: [3000] }, before)).toEqual(one('refused'))
  })

  test('more than there is room for', () => {
    const line = new Line()
    for (let n = 0; n < 10; n++) line.harness.sent(udp({ sourcePort: 1000 + n }))
    expect(line.succeed(0, { maxMappings: 4 })).toMatchObject({ mappings: 4, dropped: { refused: 6 } })
    expect(line.succeed(0, { maxSessions: 3 })).toMatchObject({ mappings: 3, dropped: { refused: 1 } })
  })

  test('the same endpoints twice: the first is kept', () => {
    const line = new Line()
    for (const sourcePort of [1, 2]) line.harness.sent(udp({ sourcePort }))
    const port = sourcePortOf(line.harness.sent(udp({ sourcePort: 1 })))
    const records = new Uint8Array(line.memory.records)
    records.copyWithin(2 * 64, 0, 64)
    new Float64Array(line.memory.sessions)[2 * 8] = start + 1000
    expect(line.succeed()).toEqual({ mappings: 2, sessions: 2, dropped: { ...nothing.dropped, conflicting: 1 } })
    expect(sourcePortOf(line.harness.sent(udp({ sourcePort: 1 })))).toBe(port)
  })

  test('any word that is not what was written', () => {
    for (let word = 0; word < 16; word++) {
      const line = new Line()
      line.harness.sent(udp())
      const records = new Int32Array(line.memory.records)
      records[word] = records[word]! ^ (1 << word)
      expect(line.succeed()).toEqual(one('broken'))
    }
  })

  test.each([Number.NaN, Number.POSITIVE_INFINITY])('a session that ends at %s', at => {
    const line = new Line()
    line.harness.sent(udp())
    new Float64Array(line.memory.sessions)[0] = at
    expect(line.succeed()).toEqual(one('broken'))
  })

  test.each([0, 8, 255])('a connection of state %d', state => {
    const line = new Line()
    line.harness.sent(tcp({ flags: syn }))
    new Uint8Array(line.memory.sessions)[12] = state
    expect(line.succeed()).toEqual(one('broken'))
  })
})

test('what was removed stays so', () => {
  const line = new Line()
  line.harness.sent(udp())
  line.harness.sent(udp({ source: neighbour }))
  line.harness.translator.removeInside(client, line.harness.now)
  expect(line.succeed()).toMatchObject({ mappings: 1 })
  expect(line.harness.translator.removeInside(neighbour, line.harness.now)).toBe(1)
})

test('any bits at all: nothing is thrown, no two share an endpoint, and it goes on', () => {
  const random = seededRandom(Number(process.env.FUZZ_SEED ?? 3))
  const line = new Line({ logMappings: true, newMappingBurst: 1e6 })
  for (let n = 0; n < 100; n++) {
    line.harness.out(n % 2 === 0 ? udp({ sourcePort: n }) : tcp({ sourcePort: n, flags: syn, source: neighbour }))
  }
  for (let run = 0; run < Number(process.env.FUZZ_RUNS ?? 300); run++) {
    const memory = copyMemory(line.memory)
    for (const part of ['sessions', 'records', 'resting'] as const) {
      const words = new Int32Array(memory[part], 0, Math.min(2048, memory[part].byteLength / 4))
      for (let n = 0; n < random.uint32() % 200; n++) words[random.uint32() % words.length] = random.uint32()
    }
    const harness = new Harness({ ...line.options }, { memory, now: start })
    const { restored, mappings } = harness.translator.stats()
    expect(restored!.mappings).toBe(mappings.tcp + mappings.udp)
    harness.out(udp({ sourcePort: 60_000 }))
    for (const source of [client, neighbour]) harness.translator.removeInside(source, start)
    for (let output = harness.translator.poll(); output; output = harness.translator.poll())
      harness.outputs.push(output)
    const ended = harness.outputs.filter(output => output.type === 'mapping-expired')
    const endpoints = ended.map(({ protocol, outside: { address, port } }) => `${protocol} ${address} ${port}`)
    expect(new Set(endpoints).size).toBe(endpoints.length)
    expect(harness.translator.stats()).toMatchObject({ sessions: 0, insideAddresses: 0 })
  }
})

describe('the memory', () => {
  const options = { random: seededRandom(1), outsideAddresses: [outside, outside6] }

  test('has to be made for as many sessions', () => {
    const memory = allocateTranslatorMemory({ maxMappings: 100 })
    expect(() => new Translator(options, { memory, now: 0 })).toThrow(RangeError)
    expect(() => new Translator({ ...options, maxSessions: 257 }, { memory, now: 0 })).toThrow(/257 sessions/)
    expect(new Translator({ ...options, maxMappings: 100 }, { memory, now: 0 }).stats().restored).toEqual(nothing)
    expect(() => allocateTranslatorMemory({ maxSessions: 0 })).toThrow(RangeError)
    const own = { ...memory, records: new ArrayBuffer(64) as unknown as SharedArrayBuffer }
    expect(() => new Translator({ ...options, maxMappings: 100 }, { memory: own, now: 0 })).toThrow(TypeError)
  })

  test('is 128 bytes a session, by powers of two, and 16 a resting port', () => {
    const line = new Line({ newMappingBurst: 1e6 })
    const bytes = () => line.memory.sessions.byteLength + line.memory.records.byteLength
    expect([bytes(), line.memory.resting.byteLength]).toEqual([64 * 128, 16 * (16_384 + 1)])
    for (let n = 0; n < 129; n++) line.harness.sent(udp({ sourcePort: 1000 + n }))
    expect(bytes()).toBe(256 * 128)
    const without = new Harness({ newMappingBurst: 1e6 })
    for (let n = 0; n < 129; n++) without.sent(udp({ sourcePort: 1000 + n }))
    const more = line.harness.translator.stats().memoryBytes - without.translator.stats().memoryBytes
    expect(more).toBe(256 * 64 + 16 * (16_384 + 1))
  })

  test('without it there is nothing to take over', () => {
    expect(new Translator(options).stats().restored).toBeUndefined()
  })
})
