// What a kernel hands out (virtio header and super-packet), decoded and cut, beside a naive reference.
import { DropReason, PacketBatch, PacketMemory, TcpFlag } from '@twinbore/core/packet'
import { type Random, randomBelow, seededRandom } from '@twinbore/core/runtime'
import { packetView, tcpPacket, udpPacket } from '@twinbore/core/testing'
import { expect, test } from 'vitest'
import { Segmenter } from '../../src/offload/segmenter.ts'
import { decodeVirtioHeader, encodeVirtioHeader, VIRTIO_HEADER_BYTES } from '../../src/offload/virtio-header.ts'
import { naiveCut, sum } from './naive.ts'

const runs = Number(process.env.FUZZ_RUNS ?? 300)
/** They take a second or two; the machine may be busy. */
const timeout = 30_000
const firstSeed = Number(process.env.FUZZ_SEED ?? 1)

interface Given {
  readonly header: Uint8Array
  readonly packet: Uint8Array
}

/** A packet as the kernel gives it, with the checksum left to do, to be cut into pieces of `size` (0: not at all). */
function given(packet: Uint8Array, transport: number, isTcp: boolean, size: number): Given {
  const isV4 = packet[0]! >>> 4 === 4
  const field = isTcp ? 16 : 6
  const addresses = isV4 ? packet.subarray(12, 20) : packet.subarray(8, 40)
  packetView(packet).setUint16(transport + field, sum(addresses, (isTcp ? 6 : 17) + packet.length - transport))
  const header = new Uint8Array(VIRTIO_HEADER_BYTES)
  const view = new DataView(header.buffer)
  header[0] = 1
  if (size > 0) header[1] = (isTcp ? (isV4 ? 1 : 4) : 5) | (isTcp && (packet[transport + 13]! & 0x80) !== 0 ? 0x80 : 0)
  // The kernel's header length is a hint that may be wrong; it says here what it likes.
  view.setUint16(2, 9999, true)
  view.setUint16(4, size, true)
  view.setUint16(6, transport, true)
  view.setUint16(8, field, true)
  return { header, packet }
}

function randomGiven(random: Random): Given {
  const below = (n: number) => randomBelow(random, n)
  const isV4 = below(2) === 0
  const isTcp = below(3) > 0
  const ends = isV4
    ? { source: '10.0.0.1', destination: '10.9.9.9', options: new Uint8Array(4 * below(4)).fill(1) }
    : { source: 'fd00::1', destination: 'fd00::2' }
  const payload = random.fill(new Uint8Array(below(3) === 0 ? below(50) : below(2500)))
  const fields = {
    ...ends,
    sourcePort: below(65536),
    destinationPort: below(65536),
    identification: below(65536),
    trafficClass: below(256),
    payload,
  }
  const packet = isTcp
    ? tcpPacket({
        ...fields,
        flags: TcpFlag.ack | (below(2) * TcpFlag.psh) | (below(2) * TcpFlag.fin) | (below(2) * TcpFlag.cwr),
        sequenceNumber: random.uint32(),
        tcpOptions: random.fill(new Uint8Array(4 * below(11))),
      })
    : udpPacket(fields)
  const size = below(4) === 0 ? 0 : 1 + below(payload.length < 200 ? 9 : 1500)
  return given(packet, isV4 ? (packet[0]! & 15) * 4 : 40, isTcp, size)
}

/** As a device reads it: header in the headroom, packet behind it. */
function read(batch: PacketBatch, { header, packet }: Given): boolean {
  const slot = batch.push(packet, 4)
  const at = batch.offsets[slot]! - VIRTIO_HEADER_BYTES
  batch.bytes.set(header, at)
  return decodeVirtioHeader(batch, slot, at)
}

function cut(batch: PacketBatch, slot: number, output: PacketBatch): Uint8Array[] {
  const segmenter = new Segmenter()
  const packets: Uint8Array[] = []
  let hasOther = false
  expect(segmenter.start(batch, slot)).toBe(true)
  for (let done = false; !done; ) {
    output.reset()
    done = segmenter.fill(output)
    for (let i = 0; i < output.count; i++) packets.push(output.packet(i).slice())
    hasOther ||= output.owners.subarray(0, output.count).some(owner => owner !== 4)
  }
  expect(hasOther).toBe(false)
  return packets
}

test('decoded and cut, every super-packet is what the reference makes of it', { timeout }, () => {
  for (let seed = firstSeed; seed < firstSeed + runs; seed++) {
    const random = seededRandom(seed)
    const one = randomGiven(random)
    // By WebAssembly every other time, in one pass or in two.
    const memory = seed % 2 === 0 ? PacketMemory.create(2 ** 17) : undefined
    const batch = new PacketBatch({ capacity: 1, slotBytes: 4000, memory })
    expect(read(batch, one)).toBe(true)
    const expected = naiveCut(one.header, one.packet)
    const context = `FUZZ_SEED=${seed} FUZZ_RUNS=1`
    expect(batch.segments[0], context).toBe(Math.max(1, expected.length))
    const output = new PacketBatch({
      capacity: 1 + randomBelow(random, 20),
      slotBytes: 4000,
      memory: seed % 8 === 0 ? PacketMemory.create(2 ** 17) : memory,
    })
    // A reference that makes nothing of an empty super-packet; a kernel never gives one.
    if (expected.length > 0) expect(cut(batch, 0, output), context).toEqual(expected)
  }
})

test('what is decoded is encoded again as it was, but for the hint', () => {
  for (let seed = firstSeed; seed < firstSeed + runs; seed++) {
    const one = randomGiven(seededRandom(seed))
    const batch = new PacketBatch({ capacity: 1, slotBytes: 4000 })
    expect(read(batch, one)).toBe(true)
    const header = new Uint8Array(VIRTIO_HEADER_BYTES).fill(0xff)
    expect(encodeVirtioHeader(batch, 0, new DataView(header.buffer), 0)).toBe(true)
    const expected = one.header.slice()
    // One packet only is no super-packet, whatever the kernel called it.
    if (batch.segments[0] === 1) expected.fill(0, 1, 2).fill(0, 4, 6)
    expect(header.fill(0, 2, 4), `FUZZ_SEED=${seed} FUZZ_RUNS=1`).toEqual(expected.fill(0, 2, 4))
  }
})

test('a mutated header or packet never throws: it is refused, or cut into what fits', { timeout }, () => {
  const batch = new PacketBatch({ capacity: 1, slotBytes: 4000 })
  const output = new PacketBatch({ capacity: 50, slotBytes: 2000 })
  const segmenter = new Segmenter()
  for (let seed = firstSeed; seed < firstSeed + 20 * runs; seed++) {
    const random = seededRandom(seed)
    const { header, packet } = randomGiven(random)
    for (let times = 1 + randomBelow(random, 3); times > 0; times--) {
      const target = randomBelow(random, 2) === 0 ? header : packet
      target[randomBelow(random, Math.min(64, target.length))] = randomBelow(random, 256)
    }
    batch.reset()
    output.reset()
    const short = packet.slice(0, randomBelow(random, 4) === 0 ? randomBelow(random, packet.length + 1) : undefined)
    if (!read(batch, { header, packet: short })) continue
    if (segmenter.start(batch, 0)) while (!segmenter.fill(output)) output.reset()
  }
})

test('a single packet with a whole checksum is copied as it is', () => {
  const packet = tcpPacket({ source: '10.0.0.1', destination: '10.0.0.2', sourcePort: 1, destinationPort: 2 })
  packet[36]! ^= 1
  const batch = new PacketBatch()
  batch.push(packet, 4)
  expect(cut(batch, 0, new PacketBatch())).toEqual([packet])
})

test('a UDP checksum that comes to 0 is sent as 0xffff', () => {
  const fields = { source: '10.0.0.1', destination: '10.0.0.2', sourcePort: 1, destinationPort: 2 }
  const plain = udpPacket({ ...fields, payload: new Uint8Array(2) })
  const word = plain.slice(26, 28)
  for (const size of [0, 2]) {
    const payload = size === 0 ? word : Uint8Array.of(...word, ...word)
    const one = given(udpPacket({ ...fields, payload }), 20, false, size)
    const batch = new PacketBatch()
    expect(read(batch, one)).toBe(true)
    const packets = cut(batch, 0, new PacketBatch())
    expect(packets.map(packet => packetView(packet).getUint16(26))).toEqual(size === 0 ? [0xffff] : [0xffff, 0xffff])
  }
})

test('packets that fit no slot are dropped as too big, all of them', () => {
  const big = tcpPacket({
    source: '10.0.0.1',
    destination: '10.0.0.2',
    sourcePort: 1,
    destinationPort: 2,
    payload: new Uint8Array(1000),
  })
  const batch = new PacketBatch()
  read(batch, given(big, 20, true, 300))
  const output = new PacketBatch({ slotBytes: 300 })
  const segmenter = new Segmenter()
  expect(segmenter.start(batch, 0)).toBe(true)
  expect([segmenter.fill(output), output.count, output.drops[DropReason.tooBig]]).toEqual([true, 0, 4])
  expect(segmenter.fill(output)).toBe(true)
})

test('a checksum that is not of TCP or UDP behind the IP header is completed at once, wherever it is', () => {
  const packet = new Uint8Array(60)
  packet.set([0x45, 0, 0, 60, 0, 0, 0, 0, 64, 47])
  packet.fill(0x11, 20)
  const header = new Uint8Array(VIRTIO_HEADER_BYTES)
  header.set([1, 0, 0, 0, 0, 0, 32, 0, 4, 0])
  const batch = new PacketBatch()
  expect(read(batch, { header, packet })).toBe(true)
  expect(batch.partialChecksums[0]).toBe(0)
  expect(batch.packet(0)).toEqual(naiveCut(header, packet)[0])
  header[6] = 59
  expect(read(new PacketBatch(), { header, packet })).toBe(false)
})

test('a super-packet with a whole checksum is not encoded', () => {
  const batch = new PacketBatch()
  const packet = tcpPacket({
    source: '10.0.0.1',
    destination: '10.0.0.2',
    sourcePort: 1,
    destinationPort: 2,
    payload: new Uint8Array(90),
  })
  batch.push(packet)
  batch.segments[0] = 3
  batch.segmentBytes[0] = 30
  expect(encodeVirtioHeader(batch, 0, new DataView(new ArrayBuffer(12)), 0)).toBe(false)
})
