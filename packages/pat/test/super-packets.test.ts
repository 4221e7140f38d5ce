// A super-packet is translated as its packets would be, one by one.
import {
  checksumFieldOffset,
  cutPackets,
  DropReason,
  IpProtocol,
  locateTransport,
  PacketBatch,
  pseudoHeaderSum,
  TcpFlag,
  transportOffset,
  transportProtocol,
  Verdict,
  writeIpv4HeaderChecksum,
  writePartialChecksum,
} from '@twinbore/core/packet'
import { seededRandom } from '@twinbore/core/runtime'
import { packetView, tcpPacket, udpPacket } from '@twinbore/core/testing'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type PatOptions, type PatOutput, Translator } from '../src/index.ts'
import { client, client6, isWellFormed, neighbour, outside, outside6, server, server6 } from './harness.ts'

const seed = Number(process.env.FUZZ_SEED ?? 1)
const addresses = { 4: { inside: client, remote: server }, 6: { inside: client6, remote: server6 } } as const
const pattern = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 31 + (i >>> 8)) & 0xff)

type Stage = 'translateOutbound' | 'translateInbound'

interface Super {
  readonly bytes: Uint8Array
  /** 0 for a single packet. */
  readonly segmentBytes: number
  /** Whether the payload lies in several places. */
  readonly chained: boolean
}

class World {
  readonly translator: Translator
  constructor(options: Partial<PatOptions> = {}) {
    this.translator = new Translator({
      random: seededRandom(7),
      outsideAddresses: [outside, outside6],
      newMappingsPerSecond: 1e6,
      newMappingBurst: 1e6,
      ...options,
    })
  }

  /** Translates packets as they are. */
  alone(stage: Stage, packets: readonly Uint8Array[]): Uint8Array[] {
    const batch = new PacketBatch({ capacity: packets.length, slotBytes: 65_535 })
    for (const packet of packets) batch.push(packet)
    this.translator[stage](batch, 1000)
    return packets.flatMap((_, slot) => (batch.verdicts[slot] === Verdict.forward ? [batch.packet(slot).slice()] : []))
  }

  /** Translates a super-packet and cuts it. */
  together(stage: Stage, whole: Super): { packets: Uint8Array[]; batch: PacketBatch } {
    const batch = slotOf(whole)
    this.translator[stage](batch, 1000)
    return { packets: batch.verdicts[0] === Verdict.forward ? cutPackets(batch, 0) : [], batch }
  }

  outputs(): PatOutput[] {
    const outputs: PatOutput[] = []
    for (let output = this.translator.poll(); output; output = this.translator.poll()) outputs.push(output)
    return outputs
  }
}

/** A batch whose first slot is the super-packet, its checksum partial. */
function slotOf({ bytes, segmentBytes, chained }: Super): PacketBatch {
  const at = transportOffset(locateTransport(packetView(bytes), 0, bytes.length))
  const protocol = bytes[0]! >>> 4 === 4 ? bytes[9]! : bytes[6]!
  const headers = at + (protocol === IpProtocol.tcp ? (bytes[at + 12]! >>> 4) * 4 : 8)
  const segments = segmentBytes === 0 ? 1 : Math.ceil((bytes.length - headers) / segmentBytes)
  const batch = new PacketBatch({ capacity: segments + 1, slotBytes: 65_535 })
  const own = chained ? headers + segmentBytes : bytes.length
  batch.push(bytes.subarray(0, own))
  batch.lengths[0] = bytes.length
  batch.segments[0] = segments
  batch.segmentBytes[0] = segments > 1 ? segmentBytes : 0
  batch.partialChecksums[0] = 1
  if (own < bytes.length) {
    batch.ownLengths[0] = own
    let before = 0
    for (let from = own; from < bytes.length; from += segmentBytes) {
      const piece = batch.push(bytes.subarray(from, Math.min(from + segmentBytes, bytes.length)))
      batch.verdicts[piece] = Verdict.merged
      batch.next[before] = piece
      before = piece
    }
  }
  writePartialChecksum(batch.view, batch.offsets[0]!, batch.offsets[0]! + at, bytes.length - at, protocol)
  return batch
}

/** What the checksum field holds as long as it is partial: 0 and 0xffff are the same sum. */
function expectPartialSum(batch: PacketBatch): void {
  const offset = batch.offsets[0]!
  const location = batch.locations[0]!
  const distance = transportOffset(location)
  const protocol = transportProtocol(location)
  const field = offset + distance + checksumFieldOffset(protocol)
  const sum = pseudoHeaderSum(batch.view, offset, protocol, batch.lengths[0]! - distance)
  expect(batch.view.getUint16(field) % 0xffff).toBe(sum % 0xffff)
}

/** Identifications of packets that can't be fragmented mean nothing (RFC 6864 §4.1): they are left out. */
function comparable(packet: Uint8Array): string {
  const copy = packet.slice()
  const view = packetView(copy)
  if (copy[0]! >>> 4 === 4 && (view.getUint16(6) & 0x4000) !== 0) {
    view.setUint16(4, 0)
    writeIpv4HeaderChecksum(view, 0)
  }
  return Buffer.from(copy).toString('hex')
}

interface Flow {
  readonly family: 4 | 6
  readonly kind: 'tcp' | 'udp'
  readonly dontFragment: boolean
  readonly options: boolean
  readonly payload: number
}

/** One packet of a flow, by direction. */
function packetOf(flow: Flow, stage: Stage, outsidePort: number, sequenceNumber: number, flags: number, size: number) {
  const { inside, remote } = addresses[flow.family]
  const toward =
    stage === 'translateOutbound'
      ? { source: inside, destination: remote, sourcePort: 5000, destinationPort: 443 }
      : {
          source: remote,
          destination: flow.family === 4 ? outside : outside6,
          sourcePort: 443,
          destinationPort: outsidePort,
        }
  const common = { ...toward, dontFragment: flow.dontFragment, identification: 0xfffe, payload: pattern(size) }
  if (flow.kind === 'udp') return udpPacket(common)
  const tcpOptions = flow.options ? Uint8Array.of(1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8) : new Uint8Array(0)
  return tcpPacket({ ...common, flags, sequenceNumber, acknowledgmentNumber: outbound(stage) ? 501 : 101, tcpOptions })
}

const outbound = (stage: Stage) => stage === 'translateOutbound'

/** Opens the flow in a world. Returns its outside port. */
function open(world: World, flow: Flow): number {
  const first = packetOf(flow, 'translateOutbound', 0, 100, TcpFlag.syn, 0)
  const [sent] = world.alone('translateOutbound', [first])
  const port = packetView(sent!).getUint16(flow.family === 4 ? 20 : 40)
  if (flow.kind === 'tcp') {
    const answer = packetOf(flow, 'translateInbound', port, 500, TcpFlag.syn | TcpFlag.ack, 0)
    expect(world.alone('translateInbound', [answer])).toHaveLength(1)
  }
  return port
}

const anyFlow = fc.record({
  family: fc.constantFrom(4 as const, 6 as const),
  kind: fc.constantFrom('tcp' as const, 'udp' as const),
  dontFragment: fc.boolean(),
  options: fc.boolean(),
  payload: fc.integer({ min: 1, max: 8000 }),
})

describe('super-packets', () => {
  test('translated and cut they are their packets, translated one by one', () => {
    fc.assert(
      fc.property(
        anyFlow,
        fc.constantFrom<Stage>('translateOutbound', 'translateInbound'),
        fc.integer({ min: 100, max: 1400 }),
        fc.boolean(),
        fc.boolean(),
        fc.boolean(),
        (flow, stage, segmentBytes, chained, decrementTtl, known) => {
          const [a, b] = [new World({ decrementTtl }), new World({ decrementTtl })]
          const port = open(a, flow)
          expect(open(b, flow)).toBe(port)
          const sequenceNumber = outbound(stage) ? 101 : 501
          const flags = TcpFlag.ack | TcpFlag.psh
          if (known) {
            // The flow has been met before, by a packet that changes nothing.
            const again = packetOf(flow, stage, port, sequenceNumber, TcpFlag.ack, 0)
            expect(a.alone(stage, [again])).toEqual(b.alone(stage, [again]))
          }
          const bytes = packetOf(flow, stage, port, sequenceNumber, flags, flow.payload)
          const whole = { bytes, segmentBytes, chained }
          const singles = cutPackets(slotOf(whole), 0)
          const { packets, batch } = a.together(stage, whole)
          const expected = b.alone(stage, singles)
          expect(expected).toHaveLength(singles.length)
          expect(packets.map(comparable)).toEqual(expected.map(comparable))
          for (const packet of packets) expect(isWellFormed(packet)).toBe(true)
          const counted = a.translator.stats()
          expect(counted.translated).toEqual(b.translator.stats().translated)
          expect(counted.outOfWindowSegments).toBe(0)
          expect(batch.partialChecksums[0]).toBe(1)
          expectPartialSum(batch)

          // What both know of the flow afterwards is the same: the next packets meet the same fate.
          const next = packetOf(flow, stage, port, sequenceNumber + flow.payload, TcpFlag.ack, 10)
          expect(a.alone(stage, [next]).map(comparable)).toEqual(b.alone(stage, [next]).map(comparable))
          expect(a.translator.stats().outOfWindowSegments).toBe(b.translator.stats().outOfWindowSegments)
        },
      ),
      { numRuns: 400, seed },
    )
  })

  test('a FIN at the end of one is seen, and its sequence numbers count', () => {
    const world = new World()
    const flow: Flow = { family: 4, kind: 'tcp', dontFragment: true, options: false, payload: 4000 }
    const port = open(world, flow)
    const fin = TcpFlag.fin | TcpFlag.ack
    const bytes = packetOf(flow, 'translateOutbound', 0, 101, fin, 4000)
    expect(world.together('translateOutbound', { bytes, segmentBytes: 1000, chained: true }).packets).toHaveLength(4)
    const tcp = { source: server, destination: outside, sourcePort: 443, destinationPort: port }
    const last = tcpPacket({ ...tcp, flags: fin, sequenceNumber: 501, acknowledgmentNumber: 4102 })
    expect(world.alone('translateInbound', [last])).toHaveLength(1)
    expect(world.translator.stats().outOfWindowSegments).toBe(0)
    // Both sides have closed: the session ends with the closing time of 240 s, not after hours.
    world.translator.handleDeadline(1000 + 242_000)
    expect(world.translator.stats().sessions).toBe(0)
  })

  test('drops count packets', () => {
    const world = new World()
    const flow: Flow = { family: 4, kind: 'tcp', dontFragment: true, options: false, payload: 5000 }
    const bytes = packetOf(flow, 'translateOutbound', 0, 101, TcpFlag.ack, 5000)
    const { packets, batch } = world.together('translateOutbound', { bytes, segmentBytes: 1000, chained: false })
    expect(packets).toEqual([])
    expect(batch.drops[DropReason.noMapping]).toBe(5)
    expect(world.translator.stats().drops).toEqual({ noMapping: 5 })
  })

  test('an error about one quotes its first packet', () => {
    const world = new World({ gatewayAddresses: ['10.8.0.1'] })
    const tcp = {
      source: client,
      destination: server,
      sourcePort: 5,
      destinationPort: 6,
      hopLimit: 1,
      flags: TcpFlag.ack,
    }
    const bytes = tcpPacket({ ...tcp, payload: pattern(5000) })
    world.together('translateOutbound', { bytes, segmentBytes: 1000, chained: true })
    const [error] = world.outputs()
    expect(error?.type).toBe('packet')
    if (error?.type !== 'packet') return
    const first = tcpPacket({ ...tcp, payload: pattern(5000).subarray(0, 1000) })
    expect(error.bytes.subarray(28)).toEqual(first.subarray(0, error.bytes.length - 28))
  })

  test('turned around to another client, it comes out as packets', () => {
    const world = new World({
      insidePrefixes: ['10.8.0.0/16'],
      clientIsolation: false,
      filteringBehavior: 'endpoint-independent',
    })
    const [sent] = world.alone('translateOutbound', [
      udpPacket({ source: neighbour, destination: server, sourcePort: 9, destinationPort: 9 }),
    ])
    const to = { destination: outside, destinationPort: packetView(sent!).getUint16(20) }
    const bytes = udpPacket({ source: client, sourcePort: 5, ...to, payload: pattern(2500) })
    const { batch } = world.together('translateOutbound', { bytes, segmentBytes: 1000, chained: true })
    expect(batch.verdicts[0]).toBe(Verdict.divert)
    const packets = world.outputs().flatMap(output => (output.type === 'packet' ? [output.bytes] : []))
    expect(packets.map(packet => packet.length)).toEqual([1028, 1028, 528])
    for (const packet of packets) {
      expect(isWellFormed(packet)).toBe(true)
      expect(packet.subarray(16, 20)).toEqual(Uint8Array.of(10, 8, 0, 3))
    }
    expect(world.translator.stats().hairpinned).toBe(3)
  })
})
