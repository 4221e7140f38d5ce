import { DropReason, PacketBatch, Verdict } from '@twinbore/core/packet'
import { tcpPacket } from '@twinbore/core/testing'
import { expect, test } from 'vitest'
import { captured, lossy, traced } from '../src/device-middleware.ts'
import { memoryPair } from '../src/memory-device.ts'
import { coalescePackets } from '../src/offload/coalesce.ts'
import { capturedPacket, captureHeader } from '../src/pcapng.ts'

/** IPv4 UDP 10.0.0.1:4000 > 10.0.0.2:53, 30 bytes, without checksums. */
const packet = Uint8Array.from([
  0x45, 0, 0, 30, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x0f, 0xa0, 0, 53, 0, 10, 0, 0, 1, 2,
])
const batchWith = (...packets: Uint8Array[]): PacketBatch => {
  const batch = new PacketBatch({ capacity: 1024 })
  for (const bytes of packets) batch.push(bytes)
  return batch
}

test('captured: the header at once, then every packet with its direction and time', () => {
  const [left, right] = memoryPair()
  const blocks: Uint8Array[] = []
  let now = 1_700_000_000_000_000_000n
  const device = captured(left, bytes => blocks.push(bytes), { nanoseconds: () => now })
  expect(blocks).toEqual([captureHeader({ name: 'memory0' })])
  device.write(batchWith(packet))
  now += 1n
  right.write(batchWith(packet))
  device.read(new PacketBatch())
  expect(blocks.slice(1)).toEqual([
    capturedPacket(packet, 1_700_000_000_000_000_000n, 'outbound'),
    capturedPacket(packet, 1_700_000_000_000_000_001n, 'inbound'),
  ])
})

test('captured and traced: a super-packet is captured as its packets, and is one line', () => {
  const segments = [0, 1, 2].map(i =>
    tcpPacket({
      source: '10.0.0.1',
      destination: '10.0.0.2',
      sourcePort: 1,
      destinationPort: 2,
      sequenceNumber: 10 * i,
      identification: i,
      payload: new Uint8Array(10).fill(i),
    }),
  )
  const [left] = memoryPair()
  const blocks: Uint8Array[] = []
  const lines: string[] = []
  const device = traced(
    captured(left, bytes => blocks.push(bytes), { nanoseconds: () => 0n }),
    line => lines.push(line),
  )
  const batch = batchWith(...segments)
  coalescePackets(batch)
  expect(batch.segments[0]).toBe(3)
  device.write(batch)
  expect(blocks.slice(1)).toEqual(segments.map(segment => capturedPacket(segment, 0n, 'outbound')))
  expect(lines).toEqual(['memory0 out IPv4 10.0.0.1:1 > 10.0.0.2:2 tcp 70 in 3 packets'])
})

test('captured: slots that are not forwarded, and slots of before, are not captured', () => {
  const [left, right] = memoryPair()
  let blocks = 0
  const device = captured(left, () => blocks++, { nanoseconds: () => 0n })
  const batch = batchWith(packet, packet)
  batch.drop(0, DropReason.filtered)
  device.write(batch)
  expect(blocks).toBe(2)
  right.write(batchWith(packet))
  device.read(batch)
  expect([batch.count, blocks]).toEqual([3, 3])
})

test('pcapng: blocks have whole words and say their length at both ends', () => {
  for (let length = 0; length < 9; length++) {
    const block = capturedPacket(new Uint8Array(length), 5n, 'inbound')
    const view = new DataView(block.buffer)
    expect(block.length % 4).toBe(0)
    expect([view.getUint32(4, true), view.getUint32(block.length - 4, true)]).toEqual([block.length, block.length])
    expect([view.getUint32(20, true), view.getUint32(24, true)]).toEqual([length, length])
  }
  const cut = new DataView(capturedPacket(new Uint8Array(100), 5n, 'inbound', 20).buffer)
  expect([cut.getUint32(20, true), cut.getUint32(24, true)]).toEqual([20, 100])
})

test('traced: one line a packet, also for what is no packet', () => {
  const [left, right] = memoryPair()
  const lines: string[] = []
  const device = traced(left, line => lines.push(line))
  const ipv6 = new Uint8Array(48)
  ipv6.set([0x60, 0, 0, 0, 0, 8, 6, 64])
  ipv6[23] = 1
  ipv6[39] = 2
  ipv6[41] = 80
  const later = packet.slice()
  later[7] = 5
  device.write(batchWith(packet, ipv6, later, Uint8Array.of(1, 2, 3), new Uint8Array(0)))
  right.write(batchWith(packet))
  device.read(new PacketBatch())
  expect(lines).toEqual([
    'memory0 out IPv4 10.0.0.1:4000 > 10.0.0.2:53 udp 30',
    'memory0 out IPv6 [::1]:80 > [::2]:0 tcp 48',
    'memory0 out IPv4 10.0.0.1 > 10.0.0.2 udp fragment 30',
    'memory0 out not IP, 3 bytes',
    'memory0 out not IP, 0 bytes',
    'memory0 in IPv4 10.0.0.1:4000 > 10.0.0.2:53 udp 30',
  ])
})

test('lossy: loses the given share in both directions, counted, and the rest passes', () => {
  const [left, right] = memoryPair({ queue: 1000 })
  let state = 1
  const random = { uint32: () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) }
  const device = lossy(left, random, 0.25)
  const out = batchWith(...Array<Uint8Array>(1000).fill(packet))
  const written = device.write(out)
  expect(written).toBeGreaterThan(650)
  expect(written).toBeLessThan(850)
  expect(out.drops[DropReason.queueFull]).toBe(1000 - written)
  expect(device.stats()).toMatchObject({ packetsWritten: written, writeDrops: 1000 - written })
  right.read(new PacketBatch({ capacity: 1000 }))
  right.write(batchWith(...Array<Uint8Array>(1000).fill(packet)))
  const incoming = new PacketBatch({ capacity: 1000 })
  expect(device.read(incoming)).toBe(1000)
  const lost = incoming.verdicts.filter(verdict => verdict === Verdict.drop).length
  expect(lost).toBeGreaterThan(150)
  expect(lost).toBeLessThan(350)
  expect(device.stats().readDrops).toBe(lost)
})

test.each([-0.1, 1.1, Number.NaN])('lossy refuses the probability %d', probability => {
  expect(() => lossy(memoryPair()[0], { uint32: () => 0 }, probability)).toThrow(RangeError)
})

test('wrappers pass on name, MTU, handlers and close, and compose', () => {
  const [left, right] = memoryPair({ mtu: 900 })
  const lines: string[] = []
  const device = traced(lossy(left, { uint32: () => 0xffff_ffff }, 0.5), line => lines.push(line))
  expect([device.name, device.mtu]).toEqual(['memory0', 900])
  let calls = 0
  device.onReadable = () => {
    calls++
    device.read(new PacketBatch())
  }
  expect(left.onReadable).toBe(device.onReadable)
  right.write(batchWith(packet))
  expect([calls, lines.length]).toEqual([1, 1])
  device.close()
  expect(right.write(batchWith(packet))).toBe(0)
})
