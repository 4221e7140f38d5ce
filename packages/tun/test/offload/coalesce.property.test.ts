// Random traffic -> coalesced -> written as virtio does -> cut by an independent reference: byte for byte what it was.
// The long form: FUZZ_RUNS=20000 FUZZ_SEED=... npx vitest run --project unit packages/tun/test/offload
import { checkPackets, PacketBatch, PacketMemory, Verdict } from '@twinbore/core/packet'
import { type Random, randomBelow, seededRandom } from '@twinbore/core/runtime'
import { expect, test } from 'vitest'
import { coalescePackets } from '../../src/offload/coalesce.ts'
import { Segmenter } from '../../src/offload/segmenter.ts'
import { encodeVirtioHeader, VIRTIO_HEADER_BYTES } from '../../src/offload/virtio-header.ts'
import { naiveCut, naiveIntact } from './naive.ts'
import { type OwnedPacket, randomTraffic } from './trains.ts'

const runs = Number(process.env.FUZZ_RUNS ?? 100)
/** They take a second or two; the machine may be busy. */
const timeout = 30_000
const firstSeed = Number(process.env.FUZZ_SEED ?? 1)

/**
 * The batch as a tunnel would fill it: packets all over the shared part of the slab, some slots of no concern. Every other one
 * is in a memory, where WebAssembly adds up.
 */
function batchOf(traffic: readonly OwnedPacket[], random: Random): PacketBatch {
  const memory = randomBelow(random, 2) === 0 ? PacketMemory.create(2 ** 18) : undefined
  const sharedBytes = 200 * traffic.length
  const batch = new PacketBatch({ capacity: 2 * traffic.length, slotBytes: 1, sharedBytes, memory })
  let at = batch.sharedOffset
  for (const { packet, owner } of traffic) {
    at += randomBelow(random, 5)
    batch.bytes.set(packet, at)
    const slot = batch.place(at, packet.length, owner)
    at += packet.length
    if (randomBelow(random, 30) === 0) batch.divert(batch.place(batch.offsets[slot]!, packet.length, owner))
  }
  return batch
}

/** What leaves the host when the batch is written. */
function written(batch: PacketBatch): OwnedPacket[] {
  const header = new DataView(new ArrayBuffer(VIRTIO_HEADER_BYTES))
  const result: OwnedPacket[] = []
  for (let slot = 0; slot < batch.count; slot++) {
    if (batch.verdicts[slot] !== Verdict.forward) continue
    if (!encodeVirtioHeader(batch, slot, header, 0)) throw new Error(`slot ${slot} has no header`)
    const packets = naiveCut(new Uint8Array(header.buffer), batch.packet(slot).slice())
    if (packets.length !== batch.segments[slot]) throw new Error(`slot ${slot} is ${packets.length} packets`)
    for (const packet of packets) result.push({ packet, owner: batch.owners[slot]!, flow: 0 })
  }
  return result
}

/** Without the identification under "don't fragment", and the checksum that covers it. */
function comparable(packet: Uint8Array): string {
  const copy = packet.slice()
  if (copy[0] === 0x45 && (copy[6]! & 0x40) !== 0) copy.fill(0, 4, 6).fill(0, 10, 12)
  return Buffer.from(copy).toString('hex')
}

const byFlow = (traffic: readonly OwnedPacket[], flowOf: (packet: OwnedPacket) => number): Map<number, string[]> => {
  const flows = new Map<number, string[]>()
  for (const one of traffic) {
    const flow = flowOf(one)
    const packets = flows.get(flow) ?? []
    packets.push(comparable(one.packet))
    flows.set(flow, packets)
  }
  return flows
}

/** Owner, addresses and ports: what makes a flow, read naively. */
const endsOf = ({ packet, owner }: OwnedPacket): number => {
  const from = packet[0]! >>> 4 === 4 ? 12 : 8
  const to = packet[0]! >>> 4 === 4 ? 24 : 44
  const protocol = packet[packet[0]! >>> 4 === 4 ? 9 : 6]!
  return [...packet.subarray(from, to), protocol, owner].reduce((hash, byte) => (Math.imul(hash, 31) + byte) | 0, 7)
}

test('coalesced and cut again, every flow is as it was, and so are single packets', { timeout }, () => {
  let joined = 0
  let seen = 0
  const sizes = new Map<number, number>()
  for (let seed = firstSeed; seed < firstSeed + runs; seed++) {
    const random = seededRandom(seed)
    const traffic = randomTraffic(random, 1 + randomBelow(random, 24), 60 + randomBelow(random, 140))
    const batch = batchOf(traffic, random)
    coalescePackets(batch, true)
    const after = written(batch)
    const context = `FUZZ_SEED=${seed} FUZZ_RUNS=1`
    expect(byFlow(after, endsOf), context).toEqual(byFlow(traffic, endsOf))
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] !== Verdict.forward) continue
      const count = batch.segments[slot]!
      sizes.set(count, (sizes.get(count) ?? 0) + 1)
      joined += count > 1 ? count : 0
      if (count === 1 && batch.partialChecksums[slot] === 1) throw new Error(context)
    }
    seen += traffic.length
    // A super-packet is a packet whose headers are right.
    checkPackets(batch)
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.segments[slot]! > 1 && batch.verdicts[slot] !== Verdict.forward) throw new Error(context)
    }
  }
  // The traffic is of use only if much of it joins, and much does not.
  expect(joined / seen).toBeGreaterThan(0.4)
  expect(joined / seen).toBeLessThan(0.9)
  expect(Math.max(...sizes.keys())).toBeGreaterThan(10)
})

test('what was broken before is broken after, and never part of a super-packet', { timeout }, () => {
  for (let seed = firstSeed; seed < firstSeed + runs / 4; seed++) {
    const random = seededRandom(seed)
    const traffic = randomTraffic(random, 6, 120).filter(({ flow }) => flow >= 0)
    const broken = traffic.filter(({ packet }) => !naiveIntact(packet)).length
    const batch = batchOf(traffic, random)
    coalescePackets(batch, true)
    expect(written(batch).filter(({ packet }) => !naiveIntact(packet)).length, `FUZZ_SEED=${seed}`).toBe(broken)
  }
})

test('the Segmenter gives what the reference gives, chained payload or not, however small its output', {
  timeout,
}, () => {
  const segmenter = new Segmenter()
  for (let seed = firstSeed; seed < firstSeed + runs / 4; seed++) {
    const random = seededRandom(seed)
    const batch = batchOf(randomTraffic(random, 8, 100), random)
    coalescePackets(batch, true)
    const expected = written(batch)
    const { memory } = batch
    const output = new PacketBatch({ capacity: 1 + randomBelow(random, 7), slotBytes: 200, memory })
    const cut: OwnedPacket[] = []
    const take = (): void => {
      for (let slot = 0; slot < output.count; slot++) {
        cut.push({ packet: output.packet(slot).slice(), owner: output.owners[slot]!, flow: 0 })
      }
      output.reset()
    }
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] !== Verdict.forward) continue
      if (!segmenter.start(batch, slot)) throw new Error(`slot ${slot} is malformed`)
      while (!segmenter.fill(output)) take()
    }
    take()
    expect(cut, `FUZZ_SEED=${seed} FUZZ_RUNS=1`).toEqual(expected)
  }
})

test('mutated packets never throw, and leave a batch whose chains are whole', { timeout }, () => {
  const segmenter = new Segmenter()
  const header = new DataView(new ArrayBuffer(VIRTIO_HEADER_BYTES))
  for (let seed = firstSeed; seed < firstSeed + 2 * runs; seed++) {
    const random = seededRandom(seed)
    const traffic = randomTraffic(random, 3, 40).map(one => {
      const packet = one.packet.slice(
        0,
        randomBelow(random, 8) === 0 ? randomBelow(random, one.packet.length + 1) : 999,
      )
      for (let times = randomBelow(random, 3); times > 0 && packet.length > 0; times--) {
        packet[randomBelow(random, Math.min(48, packet.length))] = randomBelow(random, 256)
      }
      return { ...one, packet }
    })
    const batch = batchOf(traffic, random)
    const bytesBefore = batch.lengths.subarray(0, batch.count).reduce((total, length) => total + length, 0)
    coalescePackets(batch, true)
    let covered = 0
    const output = new PacketBatch({ capacity: 50, slotBytes: 2048, memory: batch.memory })
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] === Verdict.merged) continue
      covered++
      let length = batch.next[slot] === -1 ? batch.lengths[slot]! : batch.ownLengths[slot]!
      for (let piece = batch.next[slot]!; piece !== -1; piece = batch.next[piece]!) {
        covered++
        length += batch.lengths[piece]!
      }
      if (length !== batch.lengths[slot]) throw new Error(`a chain of the wrong length, FUZZ_SEED=${seed}`)
      encodeVirtioHeader(batch, slot, header, 0)
      // Whatever the columns say: the headers are what they are.
      if (randomBelow(random, 3) === 0) batch.segments[slot] = 1 + randomBelow(random, 3)
      if (randomBelow(random, 3) === 0) batch.segmentBytes[slot] = randomBelow(random, 40)
      if (randomBelow(random, 3) === 0) batch.partialChecksums[slot] = randomBelow(random, 2)
      output.reset()
      if (segmenter.start(batch, slot)) while (!segmenter.fill(output)) output.reset()
    }
    expect(covered).toBe(batch.count)
    expect(bytesBefore).toBeGreaterThan(0)
  }
})
