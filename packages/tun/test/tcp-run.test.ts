import {
  IpProtocol,
  PacketBatch,
  TcpField,
  TcpFlag,
  tcpSequenceNumber,
  Verdict,
  writeIpv4HeaderChecksum,
  writeTransportChecksum,
} from '@twinbore/core/packet'
import { packetView, type TcpFields, tcpPacket } from '@twinbore/core/testing'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MAX_RUN_HEADER_BYTES, TcpRun } from '../src/tcp-run.ts'

const v4 = { source: '10.0.0.1', destination: '10.0.0.2', dontFragment: true }
const v6 = { source: 'fd00::1', destination: 'fd00::2', flowLabel: 77 }
const ports = { sourcePort: 443, destinationPort: 50_000, acknowledgmentNumber: 9, window: 500 }
const timestamps = Uint8Array.of(1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2)

/** Segments of these payload lengths, one behind the other; the last has PSH. */
function segments(lengths: readonly number[], fields: Partial<TcpFields> = {}, from = 0xffff_ff00): Uint8Array[] {
  let sequenceNumber = from
  return lengths.map((length, i) => {
    const flags = TcpFlag.ack | (i === lengths.length - 1 ? TcpFlag.psh : 0)
    const payload = new Uint8Array(length).map((_, at) => 7 * i + at)
    const packet = tcpPacket({ ...v4, ...ports, flags, sequenceNumber, payload, ...fields })
    sequenceNumber = (sequenceNumber + length) >>> 0
    return packet
  })
}

function batchOf(packets: readonly Uint8Array[]): PacketBatch {
  const batch = new PacketBatch({ capacity: packets.length, slotBytes: 1500 })
  for (const packet of packets) batch.push(packet)
  return batch
}

function runsOf(batch: PacketBatch): number[] {
  const runs: number[] = []
  for (let slot = 0; slot < batch.count; slot += runs.at(-1)!) runs.push(new TcpRun().measure(batch, slot))
  return runs
}

/** The long packet of a run, and what segmentation makes of it. */
function cut(batch: PacketBatch, run: TcpRun, first: number): Uint8Array[] {
  const header = new Uint8Array(MAX_RUN_HEADER_BYTES)
  run.writeHeader(batch, header, packetView(header), 0)
  const payload = Array.from({ length: run.count }, (_, i) => [...batch.packet(first + i).subarray(run.headerBytes)])
  const stream = Uint8Array.from(payload.flat())
  expect(stream.length).toBe(run.payloadBytes)
  const at = run.ipHeaderBytes
  const isV4 = at === 20
  const packets: Uint8Array[] = []
  for (let from = 0; from < stream.length; from += run.segmentBytes) {
    const piece = stream.subarray(from, from + run.segmentBytes)
    const packet = Uint8Array.from([...header.subarray(0, run.headerBytes), ...piece])
    const view = packetView(packet)
    view.setUint16(isV4 ? 2 : 4, isV4 ? packet.length : packet.length - 40)
    if (isV4) writeIpv4HeaderChecksum(view, 0)
    view.setUint32(at + TcpField.sequenceNumber, tcpSequenceNumber(view, at) + from)
    if (from + run.segmentBytes < stream.length) packet[at + TcpField.flags]! &= ~TcpFlag.psh
    writeTransportChecksum(view, 0, at, packet.length - at, IpProtocol.tcp)
    packets.push(packet)
  }
  return packets
}

describe('a run of TCP segments', () => {
  test.each([
    ['IPv4', v4],
    ['IPv6', v6],
    ['IPv4 with options', { ...v4, tcpOptions: timestamps }],
    ['IPv6 with options', { ...v6, tcpOptions: timestamps }],
  ])('is all of a stream, its last piece shorter (%s)', (_, fields) => {
    const packets = segments([1300, 1300, 1300, 200], fields)
    const batch = batchOf(packets)
    const run = new TcpRun()
    expect(run.measure(batch, 0)).toBe(4)
    expect(cut(batch, run, 0)).toEqual(packets)
  })

  test('has the checksum of the pseudo header, so that adding up the whole gives the right one', () => {
    const batch = batchOf(segments([1000, 1000]))
    const run = new TcpRun()
    run.measure(batch, 0)
    const whole = new Uint8Array(40 + 2000)
    run.writeHeader(batch, whole, packetView(whole), 0)
    const sum = packetView(whole).getUint16(36)
    // 10.0.0.1, 10.0.0.2, protocol 6 and the length of header and data.
    expect(sum).toBe(0x0a00 + 1 + 0x0a00 + 2 + 6 + 2020)
  })

  test('ends at a shorter segment and at PSH', () => {
    expect(runsOf(batchOf(segments([100, 100, 50, 100, 100])))).toEqual([3, 2])
    const pushed = segments([100, 100])
    expect(runsOf(batchOf([...pushed, ...segments([100, 100], {}, 0xffff_ff00 + 200)]))).toEqual([2, 2])
  })

  test('never begins with a segment that is followed by a longer one', () => {
    expect(runsOf(batchOf(segments([50, 100, 100])))).toEqual([1, 2])
  })

  test('is never longer than a packet can be', () => {
    const batch = batchOf(segments(new Array<number>(60).fill(1400)))
    expect(runsOf(batch)).toEqual([46, 14])
  })

  test('does not pass a slot that goes elsewhere', () => {
    const batch = batchOf(segments([100, 100, 100]))
    batch.divert(1)
    expect(new TcpRun().measure(batch, 0)).toBe(1)
    expect(batch.verdicts[1]).toBe(Verdict.divert)
  })

  test.each<[string, Partial<TcpFields>]>([
    ['another window', { window: 501 }],
    ['another acknowledgement', { acknowledgmentNumber: 10 }],
    ['another port', { sourcePort: 444 }],
    ['another host', { source: '10.0.0.3' }],
    ['another hop limit', { hopLimit: 63 }],
    ['congestion experienced', { trafficClass: 3 }],
    ['that may be fragmented', { dontFragment: false }],
    ['IP options', { options: Uint8Array.of(1, 1, 1, 0) }],
    ['other TCP options', { tcpOptions: timestamps.with(11, 3) }],
    ['no TCP options', { tcpOptions: new Uint8Array(0) }],
    ['FIN', { flags: TcpFlag.ack | TcpFlag.fin }],
    ['RST', { flags: TcpFlag.ack | TcpFlag.rst }],
    ['CWR', { flags: TcpFlag.ack | TcpFlag.cwr }],
    ['a gap before it', { sequenceNumber: 102 }],
    ['no payload', { payload: new Uint8Array(0) }],
  ])('takes no segment with %s', (_, change) => {
    const common = { tcpOptions: timestamps }
    const [first, second] = segments([100, 100], common, 1)
    const [other] = segments([100], { ...common, flags: TcpFlag.ack, sequenceNumber: 101, ...change })
    expect(runsOf(batchOf([first!, second!]))).toEqual([2])
    expect(runsOf(batchOf([first!, other!]))).toEqual([1, 1])
  })

  test.each([
    ['IPv4', v4],
    ['IPv6', v6],
  ])('gives back exactly what went in, whatever bits are wrong (%s)', (_, fields) => {
    // One wrong bit in a packet: two may make up for each other in the checksum, and the identification is not kept.
    const flip = fc.record({ packet: fc.nat(5), bit: fc.nat(120 * 8 - 1) })
    const flips = fc.uniqueArray(flip, { maxLength: 2, selector: ({ packet }) => packet })
    const lengths = fc.array(fc.constantFrom(1, 59, 60), { minLength: 2, maxLength: 6 })
    fc.assert(
      fc.property(lengths, flips, (lengths, flips) => {
        const packets = segments(lengths, fields)
        for (const { packet, bit } of flips) {
          const bytes = packets[packet]
          if (!bytes) continue
          const at = bit % (bytes.length * 8)
          bytes[at >>> 3]! ^= 0x80 >>> (at & 7)
        }
        const batch = batchOf(packets)
        const run = new TcpRun()
        for (let slot = 0; slot < batch.count; slot += run.count) {
          if (run.measure(batch, slot) === 1) continue
          expect(cut(batch, run, slot)).toEqual(packets.slice(slot, slot + run.count))
        }
      }),
      { numRuns: 2000 },
    )
  })
})
