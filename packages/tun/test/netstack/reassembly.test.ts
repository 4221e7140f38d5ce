import { DropReason, KeyedHash, writeIpv4HeaderChecksum } from '@twinbore/core/packet'
import { seededRandom } from '@twinbore/core/runtime'
import { fragmentPacket, packetView, udpPacket } from '@twinbore/core/testing'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { wordsOfText } from '../../src/netstack/address-words.ts'
import { newCounters } from '../../src/netstack/counters.ts'
import type { NetStackLimits } from '../../src/netstack/limits.ts'
import { netStackConfig } from '../../src/netstack/options.ts'
import { PacketHead } from '../../src/netstack/packet-head.ts'
import { PacketWriter } from '../../src/netstack/packet-writer.ts'
import { Reassembly } from '../../src/netstack/reassembly.ts'
import { SourceTable } from '../../src/netstack/source.ts'

const families = [
  { name: 'IPv4', source: '192.0.2.1', destination: '198.51.100.7' },
  { name: 'IPv6', source: '2001:db8::1', destination: '2001:db8:ff::7' },
]

describe.each(families)('$name', ({ name, source, destination }) => {
  const timeout = name === 'IPv4' ? 15_000 : 60_000
  const datagram = (bytes: number, seed = 1): Uint8Array =>
    udpPacket({
      source,
      destination,
      sourcePort: 1000,
      destinationPort: 2000,
      identification: 77,
      payload: seededRandom(seed).fill(new Uint8Array(bytes)),
    })

  test('puts pieces of any size together in any order, duplicates included', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 100, max: 4000 }),
        fc.integer({ min: 100, max: 900 }),
        fc.nat(),
        (size, mtu, seed) => {
          const bench = new Bench({ maxFragmentsPerDatagram: 100 })
          const packet = datagram(size, seed)
          const pieces = shuffled([...fragmentPacket(packet, mtu)], seed)
          if (pieces.length === 1) return
          const sent = pieces.flatMap((piece, i) => (i % 3 === 0 && i < pieces.length - 1 ? [piece, piece] : [piece]))
          const whole = sent.map(piece => bench.add(piece)).filter(each => each !== undefined)
          expect(whole.length).toBe(1)
          expect(plain(whole[0]!)).toEqual(plain(packet))
          expect([bench.reassembly.size, bench.reassembly.heldBytes]).toEqual([0, 0])
        },
      ),
      { numRuns: 150 },
    )
  })

  test('all 24 orders of four pieces', () => {
    const packet = datagram(1000)
    const pieces = fragmentPacket(packet, 320)
    expect(pieces.length).toBe(4)
    for (const order of permutations([0, 1, 2, 3])) {
      const bench = new Bench()
      const whole = order.map(i => bench.add(pieces[i]!))
      expect(whole.slice(0, 3)).toEqual([undefined, undefined, undefined])
      expect(plain(whole[3]!)).toEqual(plain(packet))
    }
  })

  test('agrees with a model about random pieces: whole exactly when they cover it without overlap', () => {
    // Pieces of one datagram of 12 units of 8 bytes; the last one is the one that ends at 12.
    const piece = fc.tuple(fc.nat(11), fc.integer({ min: 1, max: 6 })).filter(([begin, length]) => begin + length <= 12)
    const packet = datagram(12 * 8 - 8)
    const header = packet.length - 12 * 8
    fc.assert(
      fc.property(fc.array(piece, { minLength: 1, maxLength: 12 }), pieces => {
        const bench = new Bench()
        const held: [number, number][] = []
        let state: 'open' | 'refused' | 'done' = 'open'
        for (const [begin, length] of pieces) {
          // A first piece too short for the header of UDP never gets so far: all are of 8 bytes and more.
          const result = bench.add(cut(packet, header, begin * 8, (begin + length) * 8, begin + length < 12))
          if (state === 'done') return
          let expected: Uint8Array | undefined
          if (state === 'open') {
            const duplicate = held.some(([b, l]) => b === begin && l === length)
            const overlap = held.some(([b, l]) => begin < b + l && begin + length > b)
            if (overlap && !duplicate) state = 'refused'
            else if (!duplicate) held.push([begin, length])
            if (state === 'open' && held.reduce((sum, [, l]) => sum + l, 0) === 12) {
              state = 'done'
              expected = packet
            }
          }
          if (expected) expect(result && plain(result)).toEqual(plain(expected))
          else expect(result).toBe(undefined)
          if (state === 'refused') expect([DropReason.malformed, DropReason.fragmentLimit]).toContain(bench.reason)
        }
      }),
      { numRuns: 500 },
    )
  })

  test('refuses a datagram whose pieces overlap, and what still comes of it (RFC 5722 §3)', () => {
    const bench = new Bench()
    const packet = datagram(1000)
    const [first, second, third, fourth] = fragmentPacket(packet, 320) as [
      Uint8Array,
      Uint8Array,
      Uint8Array,
      Uint8Array,
    ]
    bench.add(first)
    const header = packet.length - 1008
    bench.add(cut(packet, header, 8, 400, true))
    expect(bench.reason).toBe(DropReason.malformed)
    for (const piece of [second, third, fourth]) {
      expect(bench.add(piece)).toBe(undefined)
      expect(bench.reason).toBe(DropReason.fragmentLimit)
    }
    expect(bench.counters.reassemblyRefusals).toBe(1)
    // The time over, the same identification is good again.
    bench.now += timeout
    expect([first, second, third, fourth].map(piece => bench.add(piece)).at(-1)).toBeDefined()
  })

  test('refuses pieces that disagree about the end', () => {
    const packet = datagram(1000)
    const header = packet.length - 1008
    const bench = new Bench()
    bench.add(cut(packet, header, 504, 1008, false))
    bench.add(cut(packet, header, 8, 200, false))
    expect(bench.reason).toBe(DropReason.malformed)
    const other = new Bench()
    other.add(cut(packet, header, 504, 1008, true))
    other.add(cut(packet, header, 8, 200, false))
    expect(other.reason).toBe(DropReason.malformed)
  })

  test('refuses a datagram of more pieces than allowed', () => {
    const packet = datagram(1000)
    const bench = new Bench({ maxFragmentsPerDatagram: 3 })
    for (const piece of fragmentPacket(packet, 320)) bench.add(piece)
    expect(bench.reason).toBe(DropReason.fragmentLimit)
    expect(bench.reassembly.heldBytes).toBeLessThan(1000)
  })

  test('forgets what stays incomplete, and tells about it only when the first piece came', () => {
    const bench = new Bench()
    const [first, second] = fragmentPacket(datagram(1000), 600) as [Uint8Array, Uint8Array]
    bench.add(second)
    expect(bench.reassembly.deadline).toBe(bench.now + timeout)
    bench.now += timeout - 1
    bench.reassembly.handleDeadline(bench.now)
    expect(bench.reassembly.size).toBe(1)
    bench.now++
    bench.reassembly.handleDeadline(bench.now)
    expect([bench.reassembly.size, bench.reassembly.heldBytes, bench.told.length]).toEqual([0, 0, 0])
    bench.add(first)
    bench.now += timeout
    bench.reassembly.handleDeadline(bench.now)
    expect(bench.told).toEqual([first])
    expect(bench.reassembly.deadline).toBe(undefined)
  })

  test('holds 10 000 lonely pieces within its caps, and the newest datagram still gets through', () => {
    const bench = new Bench({ maxReassembliesPerSource: 64, maxReassemblyBytes: 40_000 })
    for (let id = 0; id < 10_000; id++) {
      bench.add(fragmentPacket(withId(datagram(1000), id & 0xffff), 600, id)[id & 1]!)
      expect(bench.reassembly.size).toBeLessThanOrEqual(64)
      expect(bench.reassembly.heldBytes).toBeLessThanOrEqual(40_000)
    }
    const packet = datagram(1000)
    const [first, second] = fragmentPacket(packet, 600, 99_999) as [Uint8Array, Uint8Array]
    bench.add(second)
    expect(plain(bench.add(first)!)).toEqual(plain(packet))
    bench.reassembly.removeSource(bench.source(source))
    expect([bench.reassembly.size, bench.reassembly.heldBytes]).toEqual([0, 0])
  }, 30_000)

  test('a flood of fragments does not push out the datagram of another source', () => {
    const bench = new Bench({ maxReassemblyBytes: 100_000 })
    const packet = datagram(1000)
    const [first, second] = fragmentPacket(packet, 600) as [Uint8Array, Uint8Array]
    bench.add(first)
    const flooder = floodPacket(name === 'IPv4', destination)
    for (let id = 0; id < 1000; id++) bench.add(fragmentPacket(withId(flooder, id), 1400, id)[0]!)
    expect(bench.counters.reassemblyEvictions).toBeGreaterThan(900)
    expect(plain(bench.add(second)!)).toEqual(plain(packet))
  })

  test('undoes what PacketWriter cuts, at every MTU', () => {
    const writer = new PacketWriter(config())
    const message = seededRandom(5).fill(new Uint8Array(3000))
    const view = packetView(message)
    view.setUint16(4, message.length)
    const from = wordsOfText(source, 'source')
    const to = wordsOfText(destination, 'destination')
    const [packet] = writer.packets(from, to, 17, message, 65_575)
    for (let mtu = 576; mtu < 3100; mtu += 61) {
      const bench = new Bench()
      const pieces = writer.packets(from, to, 17, message, mtu)
      for (const piece of pieces) expect(piece.length).toBeLessThanOrEqual(mtu)
      const whole = pieces.length === 1 ? pieces[0] : pieces.map(piece => bench.add(piece)).at(-1)
      expect(plain(whole!)).toEqual(plain(packet!))
    }
  })

  test('carries the longest datagram there is', () => {
    const longest = name === 'IPv4' ? 65_507 : 65_527
    const bench = new Bench({ maxFragmentsPerDatagram: 60 })
    const whole = fragmentPacket(datagram(longest), 1400).map(piece => bench.add(piece))
    expect(plain(whole.at(-1)!)).toEqual(plain(datagram(longest)))
  })
})

test('IPv6: keeps the extension headers before the fragment header, and their chain', () => {
  const bench = new Bench()
  const packet = udpPacket({
    source: '2001:db8::1',
    destination: '2001:db8:ff::7',
    sourcePort: 1,
    destinationPort: 2,
    payload: new Uint8Array(1000).fill(7),
  })
  const fragments = fragmentPacket(packet, 600).map(fragment => withPadding(fragment))
  const whole = fragments.map(piece => bench.add(piece)).at(-1)!
  expect(whole).toEqual(withPadding(packet))
})

/** Inserts an empty hop-by-hop header behind the fixed header. */
function withPadding(packet: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(packet.length + 8)
  bytes.set(packet.subarray(0, 40))
  bytes.set([packet[6]!, 0, 1, 4, 0, 0, 0, 0], 40)
  bytes.set(packet.subarray(40), 48)
  bytes[6] = 0
  packetView(bytes).setUint16(4, bytes.length - 40)
  return bytes
}

function config(limits: Partial<NetStackLimits> = {}) {
  return netStackConfig({ random: seededRandom(9), acceptAnyDestination: true, limits })
}

/** A Reassembly fed with whole packets. */
class Bench {
  now = 1000
  readonly counters = newCounters()
  readonly told: Uint8Array[] = []
  readonly reassembly: Reassembly
  reason: 0 | DropReason = 0
  private readonly sources: SourceTable
  private readonly head = new PacketHead()

  constructor(limits: Partial<NetStackLimits> = {}) {
    const hash = new KeyedHash(seededRandom(8))
    this.sources = new SourceTable(config(limits), hash)
    this.reassembly = new Reassembly(config(limits), this.counters, hash, (_, first) => this.told.push(first))
  }

  add(packet: Uint8Array): Uint8Array | undefined {
    expect(this.head.read(packet, packetView(packet), 0, packet.length)).toBe(0)
    expect(this.head.isFragment).toBe(true)
    const whole = this.reassembly.add(this.head, this.sources.findOrAdd(this.head.source)!, this.now)
    this.reason = this.reassembly.reason
    return whole
  }

  source(text: string) {
    return this.sources.find(wordsOfText(text, 'text'))!
  }
}

/** A piece of a packet that isn't a fragment: bytes `from` to `to` behind its header. */
function cut(packet: Uint8Array, header: number, from: number, to: number, more: boolean): Uint8Array {
  const v4 = header === 20
  const piece = new Uint8Array(header + (v4 ? 0 : 8) + to - from)
  piece.set(packet.subarray(0, header))
  piece.set(packet.subarray(header + from, header + to), piece.length - (to - from))
  const view = packetView(piece)
  if (v4) {
    view.setUint16(2, piece.length)
    view.setUint16(6, (more ? 0x2000 : 0) | (from >>> 3))
    view.setUint16(10, 0)
    writeIpv4HeaderChecksum(view, 0)
  } else {
    view.setUint16(4, piece.length - 40)
    view.setUint8(6, 44)
    view.setUint8(40, packet[6]!)
    view.setUint16(42, from | (more ? 1 : 0))
    view.setUint32(44, 1)
  }
  return piece
}

function floodPacket(v4: boolean, destination: string): Uint8Array {
  const source = v4 ? '192.0.2.66' : '2001:db8::66'
  return udpPacket({ source, destination, sourcePort: 1, destinationPort: 2, payload: new Uint8Array(3000) })
}

/** Another identification (IPv4). */
function withId(packet: Uint8Array, id: number): Uint8Array {
  if (packet[0]! >>> 4 === 6) return packet
  const view = packetView(packet)
  view.setUint16(4, id)
  view.setUint16(10, 0)
  writeIpv4HeaderChecksum(view, 0)
  return packet
}

/** A packet without what fragmentation may change. */
function plain(packet: Uint8Array): Uint8Array {
  const copy = packet.slice()
  if (copy[0]! >>> 4 === 4) {
    copy.fill(0, 4, 6)
    copy.fill(0, 10, 12)
  }
  return copy
}

function shuffled<T>(items: T[], seed: number): T[] {
  const random = seededRandom(seed)
  for (let i = items.length - 1; i > 0; i--) {
    const j = random.uint32() % (i + 1)
    ;[items[i], items[j]] = [items[j]!, items[i]!]
  }
  return items
}

function permutations(items: number[]): number[][] {
  if (items.length < 2) return [items]
  return items.flatMap((item, i) => permutations(items.toSpliced(i, 1)).map(rest => [item, ...rest]))
}
