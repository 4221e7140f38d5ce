// The lines of `packetText` compared with those of the real tcpdump for the same packets.
import { execFileSync } from 'node:child_process'
import { buildIcmpError, packetText, TcpFlag } from '@twinbore/core/packet'
import { icmpEchoPacket, packetView, tcpPacket, udpPacket } from '@twinbore/core/testing'
import { expect, test } from 'vitest'
import { needs } from '../../../../tests/lab/needs.ts'

const v4 = { source: '10.0.0.1', destination: '192.0.2.9' }
const v6 = { source: 'fd00::1', destination: '2001:db8::9' }
const ports = { sourcePort: 40001, destinationPort: 40002 }
const payload = new Uint8Array(33).fill(0x61)
const from4 = Uint8Array.of(10, 0, 0, 254)
const from6 = Uint8Array.from([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfe])

const error = (packet: Uint8Array, type: number, code: number, mtu?: number) =>
  buildIcmpError(packetView(packet), 0, packet.length, {
    type,
    code,
    source: packet[0]! >>> 4 === 4 ? from4 : from6,
    ...(mtu === undefined ? {} : { mtu }),
  })!

const packets = [v4, v6].flatMap(addresses => [
  udpPacket({ ...addresses, ...ports, payload }),
  tcpPacket({
    ...addresses,
    ...ports,
    flags: TcpFlag.syn,
    sequenceNumber: 7,
    tcpOptions: Uint8Array.of(2, 4, 5, 180, 4, 2, 1, 3, 3, 7, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2),
  }),
  tcpPacket({
    ...addresses,
    ...ports,
    flags: TcpFlag.syn | TcpFlag.ack,
    sequenceNumber: 7,
    acknowledgmentNumber: 9,
    window: 1,
  }),
  tcpPacket({
    ...addresses,
    ...ports,
    flags: TcpFlag.psh | TcpFlag.ack,
    sequenceNumber: 0xfffffff0,
    acknowledgmentNumber: 4000000000,
    payload,
  }),
  tcpPacket({
    ...addresses,
    ...ports,
    flags: TcpFlag.fin | TcpFlag.ack | TcpFlag.ece | TcpFlag.cwr,
    sequenceNumber: 1,
  }),
  tcpPacket({ ...addresses, ...ports, flags: TcpFlag.rst, sequenceNumber: 5 }),
  tcpPacket({ ...addresses, ...ports, tcpOptions: Uint8Array.of(1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 9) }),
  icmpEchoPacket({ ...addresses, identifier: 5, sequenceNumber: 6, payload }),
  icmpEchoPacket({ ...addresses, identifier: 5, sequenceNumber: 6, reply: true }),
])
const unreachable = [0, 1, 2, 3, 13].map(code => error(udpPacket({ ...v4, ...ports }), 3, code))
packets.push(...unreachable)
packets.push(error(udpPacket({ ...v4, ...ports, payload }), 3, 4, 1400))
packets.push(error(tcpPacket({ ...v4, ...ports }), 3, 3))
packets.push(error(tcpPacket({ ...v4, ...ports }), 11, 0), error(tcpPacket({ ...v6, ...ports }), 2, 0, 1300))

needs('tcpdump')('beside tcpdump', () => {
  test('packetText tells the same as tcpdump -nn -S', () => {
    const text = execFileSync('tcpdump', ['-nn', '-S', '-t', '-r', '-'], {
      input: captureOf(packets),
      stdio: ['pipe', 'pipe', 'ignore'],
      timeout: 20_000,
    }).toString()
    expect(packets.map(packet => packetText(packet))).toEqual(text.trimEnd().split('\n'))
  })

  test('tcpdump finds every checksum of the packet builders correct', () => {
    const text = execFileSync('tcpdump', ['-nn', '-v', '-v', '-t', '-r', '-'], {
      input: captureOf(packets),
      stdio: ['pipe', 'pipe', 'ignore'],
      timeout: 20_000,
    }).toString()
    expect(text).not.toMatch(/bad (udp )?cksum|incorrect|wrong icmp/)
    expect(text.match(/cksum 0x[0-9a-f]+ \(correct\)|udp sum ok/g)!.length).toBeGreaterThan(14)
  })
})

/** A pcap file of raw IP packets (link type 101). */
function captureOf(packets: readonly Uint8Array[]): Buffer {
  const header = Buffer.alloc(24)
  header.writeUInt32LE(0xa1b2c3d4, 0)
  header.writeUInt16LE(2, 4)
  header.writeUInt16LE(4, 6)
  header.writeUInt32LE(65535, 16)
  header.writeUInt32LE(101, 20)
  const records = packets.flatMap(packet => {
    const record = Buffer.alloc(16)
    record.writeUInt32LE(packet.length, 8)
    record.writeUInt32LE(packet.length, 12)
    return [record, packet]
  })
  return Buffer.concat([header, ...records])
}
