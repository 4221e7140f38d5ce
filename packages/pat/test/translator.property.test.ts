import { PacketBatch, Verdict } from '@twinbore/core/packet'
import { seededRandom } from '@twinbore/core/runtime'
import {
  fragmentPacket,
  icmpEchoPacket,
  icmpErrorPacket,
  machineComplianceTests,
  packetView,
  tcpPacket,
  udpPacket,
} from '@twinbore/core/testing'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Translator } from '../src/index.ts'
import { contains, essence, Harness, isWellFormed, sourceOf, tcp, transportAt, udp, udpAnswer } from './harness.ts'

const seed = Number(process.env.FUZZ_SEED ?? 1)

/** The answer of a mirror: addresses and ports change places, so every checksum stays right. */
function swapped(packet: Uint8Array): Uint8Array {
  const copy = packet.slice()
  const [at, length] = copy[0]! >>> 4 === 4 ? [12, 4] : [8, 16]
  copy.copyWithin(at, at + length, at + 2 * length)
  copy.set(packet.subarray(at, at + length), at + length)
  const transport = transportAt(packet)
  const protocol = copy[0]! >>> 4 === 4 ? copy[9] : copy[6]
  if (protocol === 6 || protocol === 17) {
    copy.copyWithin(transport, transport + 2, transport + 4)
    copy.set(packet.subarray(transport, transport + 2), transport + 2)
  }
  return copy
}

const octet = fc.integer({ min: 1, max: 254 })
const port = fc.integer({ min: 1, max: 65_535 })
const payload = fc.uint8Array({ maxLength: 60 })
const anyPacket = fc
  .record({
    v4: fc.boolean(),
    kind: fc.constantFrom('udp', 'tcp', 'echo'),
    host: octet,
    to: octet,
    sourcePort: port,
    destinationPort: port,
    payload,
  })
  .map(({ v4, kind, host, to, sourcePort, destinationPort, payload: data }) => {
    const ends = v4
      ? { source: `10.77.66.${host}`, destination: `198.51.100.${to}` }
      : { source: `fd77:6655::${host.toString(16)}`, destination: `2001:db8:ff::${to.toString(16)}` }
    if (kind === 'udp') return udpPacket({ ...ends, sourcePort, destinationPort, payload: data })
    if (kind === 'tcp') return tcpPacket({ ...ends, sourcePort, destinationPort, flags: 2, payload: data })
    return icmpEchoPacket({ ...ends, identifier: sourcePort, sequenceNumber: destinationPort, payload: data })
  })

test('out and back restores the packet, but for TTL, identification and flow label', () => {
  const harness = new Harness({ newMappingsPerSecond: 1e6, newMappingBurst: 1e6 })
  fc.assert(
    fc.property(anyPacket, packet => {
      const sent = harness.sent(packet)
      expect(isWellFormed(sent)).toBe(true)
      const mirrored = swapped(sent)
      // A mirrored SYN is a simultaneous open, a mirrored echo request one from outside.
      const received = harness.received(mirrored)
      expect(isWellFormed(received)).toBe(true)
      expect(essence(swapped(received))).toBe(essence(packet))
    }),
    { numRuns: 2000, seed },
  )
})

test('no inside address in any byte that leaves, ICMP payloads included', () => {
  const needles = [Uint8Array.of(10, 77, 66), Uint8Array.of(0xfd, 0x77, 0x66, 0x55)]
  const harness = new Harness({ newMappingsPerSecond: 1e6, newMappingBurst: 1e6, icmpErrorsPerSecond: 1e6 })
  let checked = 0
  const check = (packets: Uint8Array[]) => {
    for (const packet of packets) {
      checked++
      for (const needle of needles)
        if (contains(packet, needle)) throw new Error(`leaks: ${Buffer.from(packet).toString('hex')}`)
    }
  }
  fc.assert(
    fc.property(anyPacket, fc.constantFrom('plain', 'error', 'fragments', 'last hop'), (packet, what) => {
      const v4 = packet[0]! >>> 4 === 4
      fc.pre(!needles.some(needle => contains(packet.subarray(transportAt(packet)), needle)))
      if (what === 'fragments') {
        const big = udpPacket({
          source: sourceOf(packet),
          destination: sourceOf(swapped(packet)),
          sourcePort: 9,
          destinationPort: 9,
          payload: new Uint8Array(1800),
        })
        for (const fragment of fragmentPacket(big, 600, checked).reverse()) {
          const fate = harness.out(fragment)
          if (typeof fate === 'object') check([fate])
        }
      }
      const sent = harness.sent(packet)
      check([sent])
      const answer = swapped(sent)
      if (what === 'last hop') {
        if (v4) {
          const view = packetView(answer)
          const ttl = view.getUint8(8)
          view.setUint8(8, 1)
          // Taking n off the upper byte of a word adds n to the upper byte of the checksum, with end-around carry.
          const sum = view.getUint16(10) + ((ttl - 1) << 8)
          view.setUint16(10, (sum & 0xffff) + (sum >>> 16))
        } else answer[7] = 1
        expect(harness.in(answer)).toBe('ttlExceeded')
      } else if (what === 'error') {
        const received = harness.received(answer)
        const error = icmpErrorPacket({
          source: sourceOf(packet),
          destination: sourceOf(answer),
          type: v4 ? 3 : 1,
          code: 3,
          about: received,
        })
        check([harness.sent(error)])
      }
      check(harness.packets('outbound'))
    }),
    { numRuns: 2000, seed },
  )
  expect(checked).toBeGreaterThan(3000)
})

describe('two live mappings never share an outside endpoint (RFC 6888, item 3)', () => {
  test.each([1, 2, 3])('over 20 000 random steps with few ports (seed %i)', run => {
    const random = seededRandom(run * 1000 + seed)
    const harness = new Harness({
      outsideAddresses: ['203.0.113.1', '203.0.113.2', '2001:db8::1'],
      portRange: { first: 30_000, last: 30_150 },
      logMappings: true,
      icmpErrorsPerSecond: 1,
    })
    const live = new Map<string, string>()
    const freed = new Map<string, number>()
    let created = 0
    for (let step = 0; step < 20_000; step++) {
      const v4 = random.uint32() % 4 > 0
      const host = 1 + (random.uint32() % 12)
      const source = v4 ? `10.8.0.${host}` : `fd00::${host}`
      const destination = v4 ? '198.51.100.1' : '2001:db8:ff::1'
      const sourcePort = 1 + (random.uint32() % 60)
      switch (random.uint32() % 10) {
        case 0:
          if (random.uint32() % 20 === 0) harness.translator.removeInside(source, harness.now)
          break
        case 1:
          harness.advance(random.uint32() % 20_000)
          break
        case 2:
        case 3:
        case 4:
          harness.out(tcp({ source, destination, sourcePort, flags: 2 }))
          break
        case 5:
          harness.out(icmpEchoPacket({ source, destination, identifier: sourcePort }))
          break
        default:
          harness.out(udp({ source, destination, sourcePort }))
      }
      for (const output of harness.outputs.splice(0)) {
        if (output.type !== 'mapping-created' && output.type !== 'mapping-expired') continue
        const key = `${output.protocol} ${output.outside.address}.${output.outside.port}`
        const inside = `${output.inside.address}.${output.inside.port}`
        if (output.type === 'mapping-expired') {
          expect(live.get(key)).toBe(inside)
          live.delete(key)
          if (output.protocol !== 'tcp') freed.set(key, output.at)
        } else {
          created++
          expect(live.has(key)).toBe(false)
          expect(output.at - (freed.get(key) ?? -Infinity)).toBeGreaterThanOrEqual(120_000)
          live.set(key, inside)
        }
      }
    }
    const { mappings } = harness.translator.stats()
    expect(mappings.tcp + mappings.udp + mappings.icmp).toBe(live.size)
    expect(created).toBeGreaterThan(1000)
  })
})

test('capacity: 60 000 UDP flows on one address, then none; nobody is evicted', () => {
  const harness = new Harness({
    portRange: { first: 5536, last: 65_535 },
    newMappingsPerSecond: 1e6,
    newMappingBurst: 1e6,
    maxMappings: 100_000,
  })
  const batch = new PacketBatch({ capacity: 64 })
  const template = udp()
  const ports = new Set<number>()
  let refused = 0
  for (let flow = 0; flow < 61_000; flow++) {
    batch.reset()
    const slot = batch.push(template)
    const at = batch.offsets[slot]!
    // Another host each 500 flows. The UDP checksum doesn't matter here, that of the header does.
    const host = 2 + Math.floor(flow / 500)
    batch.view.setUint16(at + 10, headerChecksumFor(template, host))
    batch.view.setUint8(at + 15, host)
    batch.view.setUint16(at + 20, 1000 + (flow % 500))
    harness.translator.translateOutbound(batch, harness.now)
    if (batch.verdicts[slot] === Verdict.forward) ports.add(batch.view.getUint16(at + 20))
    else refused++
  }
  expect([ports.size, refused]).toEqual([60_000, 1000])
  const { mappings, sessions, memoryBytes } = harness.translator.stats()
  expect([mappings.udp, sessions]).toEqual([60_000, 60_000])
  expect(memoryBytes / 60_000).toBeLessThan(300)
})

function headerChecksumFor(template: Uint8Array, host: number): number {
  const view = packetView(template)
  const sum = (~view.getUint16(10) & 0xffff) + (~view.getUint16(14) & 0xffff) + host
  const folded = (sum & 0xffff) + (sum >>> 16)
  return ~((folded & 0xffff) + (folded >>> 16)) & 0xffff
}

describe('the machine contract', () => {
  const checks = machineComplianceTests(() => {
    const machine = new Translator({
      random: seededRandom(5),
      outsideAddresses: ['203.0.113.7'],
      logMappings: true,
      portRange: { first: 1024, last: 1030 },
    })
    const feed = (packet: Uint8Array, stage: 'translateOutbound' | 'translateInbound') => (now: number) => {
      const batch = new PacketBatch({ capacity: 1 })
      batch.push(packet)
      machine[stage](batch, now)
    }
    const fragments = fragmentPacket(udp({}, new Uint8Array(1500)), 600)
    return {
      machine,
      inputs: [
        ...[1, 2, 3, 4, 5, 6, 7, 8].map(sourcePort => feed(udp({ sourcePort }), 'translateOutbound')),
        feed(tcp({ flags: 2 }), 'translateOutbound'),
        feed(fragments[1]!, 'translateOutbound'),
        feed(fragments[2]!, 'translateInbound'),
        (now: number) => machine.removeInside('10.8.0.2', now),
        feed(udp({ source: '10.8.0.3' }), 'translateOutbound'),
        feed(udpAnswer(udp()), 'translateInbound'),
      ],
    }
  })
  for (const check of checks) test(check.name, check.run)
})
