import { PacketBatch, TcpFlag, updateChecksum16, Verdict } from '@twinbore/core/packet'
import { packetView, type TcpFields, tcpPacket, udpPacket } from '@twinbore/core/testing'
import { describe, expect, test } from 'vitest'
import { coalescePackets } from '../../src/offload/coalesce.ts'
import { addressHash } from '../../src/offload/flow-groups.ts'

const ends = { source: '10.0.0.1', destination: '10.0.0.2', sourcePort: 1, destinationPort: 2 }
const payload = new Uint8Array(100).fill(7)
type Change = Partial<TcpFields> & { readonly size?: number }

/** Segment number `i` of a train of 100 bytes each, changed. */
const segment = (i: number, { size = 100, ...change }: Change = {}): Uint8Array =>
  tcpPacket({
    ...ends,
    sequenceNumber: 0xffff_ff00 + 100 * i,
    identification: i,
    payload: payload.subarray(0, size),
    ...change,
  })

const coalesced = (packets: readonly Uint8Array[], owners: readonly number[] = []): PacketBatch => {
  const batch = new PacketBatch({ capacity: 2000, slotBytes: 1500 })
  packets.forEach((packet, i) => void batch.push(packet, owners[i] ?? 3))
  coalescePackets(batch, true)
  return batch
}
/** How many packets each slot that is left stands for. */
const groups = (batch: PacketBatch): number[] =>
  [...batch.segments.subarray(0, batch.count)].filter((_, slot) => batch.verdicts[slot] === Verdict.forward)

test('a train becomes one slot with the headers of its first packet', () => {
  const batch = coalesced([0, 1, 2].map(i => segment(i)))
  expect(groups(batch)).toEqual([3])
  expect([batch.lengths[0], batch.ownLengths[0], batch.segmentBytes[0], batch.partialChecksums[0]]).toEqual([
    340, 140, 100, 1,
  ])
  expect([batch.next[0], batch.next[1], batch.next[2]]).toEqual([1, 2, -1])
  expect([batch.verdicts[1], batch.lengths[1]]).toEqual([Verdict.merged, 100])
  expect([...batch.packet(0).subarray(40)]).toEqual(Array(300).fill(7))
})

describe('what ends a group', () => {
  test.each<[string, Change, number[]]>([
    ['PSH, and belongs to it', { flags: TcpFlag.ack | TcpFlag.psh }, [3, 2]],
    ['a shorter segment, and belongs to it', { size: 60 }, [3, 2]],
    ['a longer one', { payload: new Uint8Array(101) }, [2, 1, 2]],
    ['a gap', { sequenceNumber: 0x0000_0001 }, [2, 3]],
    ['another acknowledgment', { acknowledgmentNumber: 9 }, [2, 1, 2]],
    ['another window', { window: 9 }, [2, 1, 2]],
    ['options', { tcpOptions: Uint8Array.of(1, 1, 1, 1) }, [2, 1, 2]],
    ['another TTL', { hopLimit: 9 }, [2, 1, 2]],
    ['a congestion mark', { trafficClass: 3 }, [2, 1, 2]],
    ['"don\'t fragment"', { dontFragment: true }, [2, 1, 2]],
    ['a gap of identifications', { identification: 99 }, [2, 1, 2]],
    ['IP options', { options: Uint8Array.of(1, 1, 1, 1) }, [2, 1, 2]],
    ['SYN', { flags: TcpFlag.ack | TcpFlag.syn }, [2, 1, 2]],
    ['FIN', { flags: TcpFlag.ack | TcpFlag.fin }, [2, 1, 2]],
    ['RST', { flags: TcpFlag.ack | TcpFlag.rst }, [2, 1, 2]],
    ['URG', { flags: TcpFlag.ack | TcpFlag.urg }, [2, 1, 2]],
    ['ECE', { flags: TcpFlag.ack | TcpFlag.ece }, [2, 1, 2]],
    ['CWR', { flags: TcpFlag.ack | TcpFlag.cwr }, [2, 1, 2]],
    ['no ACK', { flags: 0 }, [2, 1, 2]],
  ])('%s', (_, change, expected) => {
    const train = [0, 1, 2, 3, 4].map(i => segment(i, i === 2 ? change : {}))
    // What follows continues behind the odd one, whatever that was.
    if (expected.length === 2 && expected[0] === 2) {
      train[3] = segment(3, { sequenceNumber: 101 })
      train[4] = segment(4, { sequenceNumber: 201 })
    }
    expect(groups(coalesced(train))).toEqual(expected)
  })

  test('a pure acknowledgment, which is never merged', () => {
    const acks = [segment(2, { size: 0 }), segment(2, { size: 0 })]
    expect(groups(coalesced([segment(0), segment(1), ...acks, segment(2), segment(3)]))).toEqual([2, 1, 1, 2])
  })

  test('a wrong checksum, of the first or of a later one', () => {
    const broken = segment(0)
    broken[60]! ^= 1
    expect(groups(coalesced([broken, segment(1), segment(2)]))).toEqual([1, 2])
    const header = segment(1)
    header[10]! ^= 1
    expect(groups(coalesced([segment(0), header, segment(2), segment(3)]))).toEqual([1, 1, 2])
  })

  test('another urgent pointer, though nothing is urgent', () => {
    const odd = segment(1)
    odd[39] = 5
    packetView(odd).setUint16(36, updateChecksum16(packetView(odd).getUint16(36), 0, 5))
    expect(groups(coalesced([segment(0), odd, segment(2)]))).toEqual([1, 1, 1])
  })

  test('another owner', () => {
    expect(
      groups(
        coalesced(
          [0, 1, 2, 3].map(i => segment(i)),
          [3, 3, 4, 4],
        ),
      ),
    ).toEqual([2, 2])
  })

  test('a fragment between the same addresses, not one between others', () => {
    const fragment = segment(9)
    fragment[6] = 0x20
    expect(groups(coalesced([segment(0), segment(1), fragment, segment(2), segment(3)]))).toEqual([2, 1, 2])
    fragment[15] = 99
    expect(groups(coalesced([segment(0), segment(1), fragment, segment(2), segment(3)]))).toEqual([4, 1])
  })

  test('65,535 bytes, and 512 segments', () => {
    const large = new Uint8Array(1400)
    const train = Array.from({ length: 60 }, (_, i) => segment(i, { payload: large, sequenceNumber: 1400 * i }))
    expect(groups(coalesced(train))).toEqual([46, 14])
    const small = Array.from({ length: 1000 }, (_, i) => segment(i, { size: 1, sequenceNumber: i }))
    expect(groups(coalesced(small))).toEqual([512, 488])
  })
})

test('under "don\'t fragment" identifications may stay the same or count, not both', () => {
  const train = (...identifications: number[]): number[] =>
    groups(coalesced(identifications.map((identification, i) => segment(i, { dontFragment: true, identification }))))
  expect(train(5, 5, 5, 5)).toEqual([4])
  expect(train(5, 6, 7, 8)).toEqual([4])
  expect(train(5, 5, 6, 7)).toEqual([2, 2])
  expect(train(5, 6, 6, 7)).toEqual([2, 2])
})

test('PSH of the last packet is on the super-packet', () => {
  const batch = coalesced([segment(0), segment(1, { flags: TcpFlag.ack | TcpFlag.psh })])
  expect(batch.packet(0)[33]).toBe(TcpFlag.ack | TcpFlag.psh)
})

test('flows whose hashes are the same are told apart', () => {
  const first = segment(0)
  const source = '10.0.0.9'
  // What the destination must be for the hash to be the same, since that is an exclusive or before it is mixed.
  const product = (address: number): number => Math.imul(address, 0x9e3779b1)
  const word = 0x0a000002 ^ product(0x0a000001) ^ product(0x0a000009)
  const destination = [24, 16, 8, 0].map(shift => (word >>> shift) & 0xff).join('.')
  const second = segment(1, { source, destination })
  expect(addressHash(packetView(second), 0)).toBe(addressHash(packetView(first), 0))
  expect(groups(coalesced([first, second, segment(2)]))).toEqual([1, 1, 1])
})

test('flows may be interleaved as far as the table goes, and more cost only shorter groups', () => {
  const interleaved = (flows: number): PacketBatch =>
    coalesced(
      [0, 1, 2].flatMap(i => Array.from({ length: flows }, (_, flow) => segment(i, { sourcePort: 1000 + flow }))),
    )
  expect(groups(interleaved(20))).toEqual(Array(20).fill(3))
  const many = groups(interleaved(500))
  expect(many.reduce((total, count) => total + count, 0)).toBe(1500)
})

describe('UDP', () => {
  const datagram = (size: number, change: Partial<Parameters<typeof udpPacket>[0]> = {}): Uint8Array =>
    udpPacket({ ...ends, dontFragment: true, payload: payload.subarray(0, size), ...change })

  test('datagrams of equal size, the last may be shorter', () => {
    expect(groups(coalesced([100, 100, 60, 100, 100].map(size => datagram(size))))).toEqual([3, 2])
    expect(groups(coalesced([100, 100, 101, 101].map(size => datagram(Math.min(size, 100)))))).toEqual([4])
  })

  test('not without a checksum, not empty ones, no more than 64', () => {
    expect(groups(coalesced([100, 100].map(size => datagram(size, { checksum: 'none' }))))).toEqual([1, 1])
    expect(groups(coalesced([datagram(0), datagram(0)]))).toEqual([1, 1])
    expect(groups(coalesced(Array.from({ length: 70 }, () => datagram(9))))).toEqual([64, 6])
  })

  test('only for a device that takes them', () => {
    const batch = new PacketBatch()
    for (let i = 0; i < 3; i++) batch.push(datagram(50))
    coalescePackets(batch)
    expect(groups(batch)).toEqual([1, 1, 1])
  })
})

test('what is a super-packet already, or has a partial checksum, stays, and ends the group of its flow', () => {
  const batch = new PacketBatch()
  for (let i = 0; i < 5; i++) batch.push(segment(i))
  batch.partialChecksums[2] = 1
  coalescePackets(batch)
  expect(groups(batch)).toEqual([2, 1, 2])
  coalescePackets(batch)
  expect(groups(batch)).toEqual([2, 1, 2])
})

test('slots of other verdicts are not looked at', () => {
  const batch = new PacketBatch()
  for (let i = 0; i < 3; i++) batch.push(segment(i))
  batch.divert(1)
  coalescePackets(batch)
  expect([...batch.verdicts.subarray(0, 3)]).toEqual([Verdict.forward, Verdict.divert, Verdict.forward])
})
