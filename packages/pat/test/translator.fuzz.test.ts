// Mutated packets in both directions. The long form: FUZZ_RUNS=10000000 FUZZ_SEED=... npx vitest run --project unit packages/pat/test/translator.fuzz
import { checkPacket, PacketBatch, Verdict, writeIpv4HeaderChecksum } from '@twinbore/core/packet'
import { type Random, seededRandom } from '@twinbore/core/runtime'
import { fragmentPacket, icmpEchoPacket, icmpErrorPacket, tcpPacket, udpPacket } from '@twinbore/core/testing'
import { expect, test } from 'vitest'
import { type PatOptions, Translator } from '../src/index.ts'
import { contains, destinationOf, sourceOf } from './harness.ts'

const runs = Number(process.env.FUZZ_RUNS ?? 40_000)
const seed = Number(process.env.FUZZ_SEED ?? 7)

const inside = Uint8Array.of(10, 77, 66)
const inside6 = Uint8Array.of(0xfd, 0x77, 0x66, 0x55)

function corpus(outbound: boolean): Uint8Array[] {
  const payload = new Uint8Array(40).fill(0xa5)
  const ends4 = outbound
    ? { source: '10.77.66.2', destination: '198.51.100.10' }
    : { source: '198.51.100.10', destination: '203.0.113.7' }
  const ends6 = outbound
    ? { source: 'fd77:6655::2', destination: '2001:db8:ff::10' }
    : { source: '2001:db8:ff::10', destination: '2001:db8:1::7' }
  const packets: Uint8Array[] = []
  for (const ends of [ends4, ends6]) {
    const ports = { sourcePort: 1030, destinationPort: 1031 }
    const v4 = ends === ends4
    const back = { source: ends.destination, destination: ends.source, sourcePort: 1031, destinationPort: 1030 }
    const errorTypes = v4 ? [3, 11, 12] : [1, 2, 3, 4]
    packets.push(
      udpPacket({ ...ends, ...ports, payload }),
      ...[2, 0x12, 0x10, 0x11, 0x04].map(flags =>
        tcpPacket({ ...ends, ...ports, flags, payload, tcpOptions: Uint8Array.of(3, 3, 7, 0) }),
      ),
      icmpEchoPacket({ ...ends, identifier: 1030, payload }),
      icmpEchoPacket({ ...ends, identifier: 1030, payload, reply: true }),
      ...errorTypes.map(type =>
        icmpErrorPacket({ ...ends, type, code: 0, parameter: 1400, about: udpPacket({ ...back, payload }) }),
      ),
      icmpErrorPacket({ ...ends, type: errorTypes[0]!, code: 3, about: tcpPacket({ ...back, flags: 2 }) }),
      icmpErrorPacket({
        ...ends,
        type: errorTypes[0]!,
        code: 3,
        about: icmpEchoPacket({ source: back.source, destination: back.destination, identifier: 1030 }),
      }),
      ...fragmentPacket(udpPacket({ ...ends, ...ports, payload: new Uint8Array(600) }), 300),
    )
    if (!v4) {
      packets.push(
        udpPacket({
          ...ends,
          ...ports,
          payload,
          extensionHeaders: [
            { type: 0, body: new Uint8Array(6) },
            { type: 60, body: new Uint8Array(6) },
          ],
        }),
      )
    } else packets.push(udpPacket({ ...ends, ...ports, payload, options: Uint8Array.of(1, 1, 1, 1) }))
  }
  return packets
}

function mutate(packet: Uint8Array, random: Random): Uint8Array {
  const length = random.uint32() % 8 === 0 ? random.uint32() % (packet.length + 30) : packet.length
  const copy = new Uint8Array(length)
  copy.set(packet.subarray(0, length))
  if (length === 0) return copy
  for (let changes = random.uint32() % 4; changes > 0; changes--) {
    const at = random.uint32() % Math.min(length, random.uint32() % 2 === 0 ? length : 64)
    copy[at] = random.uint32() % 3 === 0 ? copy[at]! ^ (1 << (random.uint32() % 8)) : random.uint32()
  }
  // Most keep a right header checksum, to get past the door.
  if (length >= 20 && copy[0]! >>> 4 === 4 && (copy[0]! & 15) * 4 <= length && random.uint32() % 8 > 0) {
    writeIpv4HeaderChecksum(new DataView(copy.buffer), 0)
  }
  return copy
}

test.each([
  ['default', {}],
  ['open', { filteringBehavior: 'endpoint-independent', clientIsolation: false, inboundRefresh: true }],
] as [string, Partial<PatOptions>][])(
  `${runs} mutated packets, %s (FUZZ_SEED=${seed})`,
  (_, options) => {
    const random = seededRandom(seed)
    const translator = new Translator({
      random: seededRandom(seed + 1),
      outsideAddresses: ['203.0.113.7', '2001:db8:1::7'],
      insidePrefixes: ['10.77.66.0/24', 'fd77:6655::/32'],
      portRange: { first: 1024, last: 1040 },
      maxMappings: 500,
      maxSessions: 1000,
      maxHeldFragmentBytes: 100_000,
      ...options,
    })
    const corpora = [corpus(true), corpus(false)]
    const batch = new PacketBatch({ capacity: 16 })
    const forwarded = [0, 0]
    let now = 0
    let most = 0
    for (let run = 0; run < runs; run += 16) {
      const direction = random.uint32() % 2
      batch.reset()
      for (let i = 0; i < 16; i++) {
        const packets = corpora[direction]!
        batch.push(mutate(packets[random.uint32() % packets.length]!, random))
      }
      now += random.uint32() % 400
      if (direction === 0) translator.translateOutbound(batch, now)
      else translator.translateInbound(batch, now)
      for (let slot = 0; slot < batch.count; slot++) {
        if (batch.verdicts[slot] !== Verdict.forward) continue
        forwarded[direction]!++
        const packet = batch.packet(slot).slice()
        if (checkPacket(new DataView(packet.buffer), 0, packet.length) !== 0)
          throw new Error(`run ${run}: broken output`)
        if (direction === 0) {
          expect(['203.0.113.7', '2001:db8:1::7']).toContain(sourceOf(packet))
          // An address may still stand in mutated data, never in the headers.
          if (contains(packet.subarray(0, 20), inside) || contains(packet.subarray(0, 24), inside6))
            throw new Error(`run ${run}: leak`)
        } else expect(destinationOf(packet)).toMatch(/^(10\.77\.66\.|fd77:6655:)/)
      }
      for (let output = translator.poll(); output; output = translator.poll()) {
        if (output.type !== 'packet') continue
        if (
          checkPacket(
            new DataView(output.bytes.buffer, output.bytes.byteOffset, output.bytes.length),
            0,
            output.bytes.length,
          ) !== 0
        ) {
          throw new Error(`run ${run}: broken packet output`)
        }
      }
      const { deadline } = translator
      if (deadline !== undefined && deadline <= now) translator.handleDeadline(now)
      most = Math.max(most, translator.stats().memoryBytes)
    }
    const { mappings, sessions } = translator.stats()
    expect(mappings.tcp + mappings.udp + mappings.icmp).toBeLessThanOrEqual(500)
    expect(sessions).toBeLessThanOrEqual(1000)
    expect(most).toBeLessThan(1_200_000)
    expect(Math.min(...forwarded)).toBeGreaterThan(runs / 100)
  },
  Math.max(10_000, runs / 4),
)
