import {
  buildIcmpErrorAbout,
  checkPacket,
  checkPackets,
  clampMssToMtus,
  cutPackets,
  DropReason,
  IcmpType,
  IpProtocol,
  locateTransport,
  PacketBatch,
  TcpFlag,
  tcpChecksum,
  transportOffset,
  Verdict,
  verifyTransportChecksum,
  writePartialChecksum,
} from '@twinbore/core/packet'
import { packetView, tcpPacket, udpPacket } from '@twinbore/core/testing'
import { describe, expect, test } from 'vitest'

const v4 = { source: '10.0.0.1', destination: '192.0.2.9' }
const v6 = { source: 'fd00::1', destination: '2001:db8::9' }
const ports = { sourcePort: 1000, destinationPort: 2000 }
const pattern = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 7) & 0xff)
const gateway = Uint8Array.of(10, 0, 0, 254)

/** A slot with a super-packet whose checksum is partial; in two pieces when `own` bytes are to lie apart from the rest. */
function slotOf(packet: Uint8Array, segmentBytes: number, own?: number): PacketBatch {
  const batch = new PacketBatch({ capacity: 2, slotBytes: 65_535 })
  batch.push(own === undefined ? packet : packet.subarray(0, own))
  const at = transportOffset(locateTransport(packetView(packet), 0, packet.length))
  const protocol = packet[0]! >>> 4 === 4 ? packet[9]! : packet[6]!
  const headers = at + (protocol === IpProtocol.tcp ? (packet[at + 12]! >>> 4) * 4 : 8)
  batch.segments[0] = Math.ceil((packet.length - headers) / segmentBytes)
  batch.segmentBytes[0] = segmentBytes
  batch.partialChecksums[0] = 1
  batch.lengths[0] = packet.length
  if (own !== undefined) {
    batch.push(packet.subarray(own))
    batch.verdicts[1] = Verdict.merged
    batch.next[0] = 1
    batch.ownLengths[0] = own
  }
  writePartialChecksum(batch.view, batch.offsets[0]!, batch.offsets[0]! + at, packet.length - at, protocol)
  return batch
}

function expectGood(packet: Uint8Array, protocol: number): void {
  const view = packetView(packet)
  expect(checkPacket(view, 0, packet.length)).toBe(0)
  const at = transportOffset(locateTransport(view, 0, packet.length))
  expect(verifyTransportChecksum(view, 0, at, packet.length - at, protocol)).toBe(true)
}

describe('the packets that a slot stands for', () => {
  test.each([
    ['IPv4', v4],
    ['IPv6', v6],
  ])('%s TCP: sequence numbers, flags and identifications of each', (_, ends) => {
    const data = pattern(2500)
    const flags = TcpFlag.ack | TcpFlag.psh | TcpFlag.cwr
    const tcp = { ...ends, ...ports, tcpOptions: pattern(12).fill(1), acknowledgmentNumber: 77 }
    const whole = tcpPacket({ ...tcp, flags, sequenceNumber: 0xffff_ff00, identification: 0xffff, payload: data })
    const packets = cutPackets(slotOf(whole, 1000), 0)
    expect(packets).toEqual(
      [
        { flags: TcpFlag.ack | TcpFlag.cwr, sequenceNumber: 0xffff_ff00, identification: 0xffff },
        { flags: TcpFlag.ack, sequenceNumber: 0x2e8, identification: 0 },
        { flags: TcpFlag.ack | TcpFlag.psh, sequenceNumber: 0x6d0, identification: 1 },
      ].map((fields, i) => tcpPacket({ ...tcp, ...fields, payload: data.subarray(i * 1000, i * 1000 + 1000) })),
    )
    for (const packet of packets) expectGood(packet, IpProtocol.tcp)
  })

  test.each([
    ['IPv4', v4],
    ['IPv6', v6],
  ])('%s UDP, its payload in two places', (_, ends) => {
    const data = pattern(900)
    const whole = udpPacket({ ...ends, ...ports, payload: data })
    const packets = cutPackets(slotOf(whole, 400, whole.length - 500), 0)
    const pieces = [data.subarray(0, 400), data.subarray(400, 800), data.subarray(800)]
    expect(packets).toEqual(
      pieces.map((payload, identification) => udpPacket({ ...ends, ...ports, identification, payload })),
    )
    for (const packet of packets) expectGood(packet, IpProtocol.udp)
  })

  test('no more than asked for; a single packet whose checksum is completed', () => {
    const whole = tcpPacket({ ...v4, ...ports, payload: pattern(3000) })
    expect(cutPackets(slotOf(whole, 1000), 0, 1)).toHaveLength(1)
    const single = slotOf(whole, 0)
    single.segments[0] = 1
    expect(cutPackets(single, 0)).toEqual([whole])
  })
})

describe('stages meet super-packets', () => {
  test('checkPackets: good ones pass and their locations are noted', () => {
    const whole = tcpPacket({ ...v4, ...ports, payload: pattern(60_000) })
    const batch = slotOf(whole, 1000, 1040)
    checkPackets(batch)
    expect(batch.verdicts[0]).toBe(Verdict.forward)
    expect(batch.locations[0]).toBe(locateTransport(packetView(whole), 0, whole.length))
    expect(batch.drops[DropReason.malformed]).toBe(0)
  })

  test('checkPackets: headers that are not all in the first piece are refused, with all that the slot stands for', () => {
    for (const own of [10, 19, 24, 39]) {
      const whole = tcpPacket({ ...v4, ...ports, payload: pattern(3000) })
      const batch = slotOf(whole, 1000)
      batch.push(pattern(10))
      batch.verdicts[1] = Verdict.merged
      batch.next[0] = 1
      batch.ownLengths[0] = own
      checkPackets(batch)
      expect(batch.verdicts[0]).toBe(Verdict.drop)
      expect(batch.drops[DropReason.malformed]).toBe(3)
    }
  })

  test('clampMssToMtus: a partial checksum does not cover the option', () => {
    const syn = tcpPacket({ ...v4, ...ports, flags: TcpFlag.syn, tcpOptions: Uint8Array.of(2, 4, 5, 180) })
    const batch = slotOf(syn, 0)
    batch.segments[0] = 1
    batch.owners[0] = 0
    const before = tcpChecksum(batch.view, batch.offsets[0]! + 20)
    checkPackets(batch)
    clampMssToMtus(batch, Uint16Array.of(1300))
    expect(batch.view.getUint16(batch.offsets[0]! + 42)).toBe(1260)
    expect(tcpChecksum(batch.view, batch.offsets[0]! + 20)).toBe(before)
    expectGood(cutPackets(batch, 0)[0]!, IpProtocol.tcp)
  })

  test('an ICMP error is about the first packet, as if it had come alone', () => {
    const data = pattern(3000)
    const tcp = { ...v4, ...ports, identification: 5, sequenceNumber: 9 }
    const whole = tcpPacket({ ...tcp, flags: TcpFlag.ack | TcpFlag.psh, payload: data })
    const about = { type: IcmpType.timeExceeded, code: 0, source: gateway }
    const alone = new PacketBatch({ capacity: 1 })
    alone.push(tcpPacket({ ...tcp, payload: data.subarray(0, 1000) }))
    const expected = buildIcmpErrorAbout(alone, 0, about)
    expect(expected).toBeDefined()
    expect(buildIcmpErrorAbout(slotOf(whole, 1000), 0, about)).toEqual(expected)
    expect(buildIcmpErrorAbout(slotOf(whole, 1000, 1040), 0, about)).toEqual(expected)
  })
})
