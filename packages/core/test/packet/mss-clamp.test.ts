import {
  clampMss,
  clampMssToMtu,
  IpProtocol,
  packetText,
  TcpFlag,
  verifyTransportChecksum,
} from '@twinbore/core/packet'
import { fragmentPacket, packetView, tcpPacket, udpPacket } from '@twinbore/core/testing'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

const v4 = { source: '10.0.0.1', destination: '192.0.2.9', sourcePort: 1000, destinationPort: 80 }
const v6 = { ...v4, source: 'fd00::1', destination: '2001:db8::9' }
const mss = (value: number) => [2, 4, value >>> 8, value & 0xff]
const syn = (options: readonly number[], addresses = v4, flags: number = TcpFlag.syn) =>
  tcpPacket({ ...addresses, flags, tcpOptions: Uint8Array.from(options) })
const clamp = (packet: Uint8Array, mtu: number) => clampMssToMtu(packetView(packet), 0, packet.length, mtu)
const valid = (packet: Uint8Array, at = 20) =>
  verifyTransportChecksum(packetView(packet), 0, at, packet.length - at, IpProtocol.tcp)

describe('clamping', () => {
  test('a SYN over IPv4 to MTU - 40', () => {
    const packet = syn([...mss(1460), 4, 2, 1, 3, 3, 7])
    expect(clamp(packet, 1300)).toBe(true)
    expect(packetText(packet)).toContain('options [mss 1260,sackOK,nop,wscale 7')
    expect(valid(packet)).toBe(true)
  })

  test('a SYN-ACK over IPv6 to MTU - 60', () => {
    const packet = syn(mss(1440), v6, TcpFlag.syn | TcpFlag.ack)
    expect(clamp(packet, 1300)).toBe(true)
    expect(packetText(packet)).toContain('Flags [S.]')
    expect(packetText(packet)).toContain('mss 1240')
    expect(valid(packet, 40)).toBe(true)
  })

  test.each([1, 2, 3])('behind %i single-byte options, at odd and even distances', padding => {
    const packet = syn([...Array(padding).fill(1), ...mss(1460)])
    expect(clamp(packet, 1006)).toBe(true)
    expect(packetText(packet)).toContain('mss 966')
    expect(valid(packet)).toBe(true)
  })

  test('every MSS option that there is', () => {
    const packet = syn([...mss(1460), 1, ...mss(9000)])
    clamp(packet, 1300)
    expect(packetText(packet)).toContain('mss 1260,nop,mss 1260')
    expect(valid(packet)).toBe(true)
  })

  test('the first fragment of a SYN', () => {
    const whole = tcpPacket({
      ...v4,
      flags: TcpFlag.syn,
      tcpOptions: Uint8Array.from(mss(1460)),
      payload: new Uint8Array(900),
    })
    const [first, second] = fragmentPacket(whole, 600) as [Uint8Array, Uint8Array]
    expect(clamp(first, 1300)).toBe(true)
    expect(clamp(second, 1300)).toBe(false)
  })
})

describe('left alone', () => {
  const options = [...mss(1460), 1, 1]
  test.each<[string, Uint8Array]>([
    ['a smaller MSS', syn(mss(1200))],
    ['an equal MSS', syn(mss(1260))],
    ['no MSS option', syn([1, 1, 4, 2])],
    ['an MSS behind the end of options', syn([0, ...mss(1460)])],
    ['an MSS behind a malformed option', syn([8, 1, ...mss(1460)])],
    ['an MSS option of the wrong length', syn([2, 3, 5, 1, 2, 6, 5, 0, 0, 0])],
    ['an option that runs over the header', syn([1, 1, 2, 4])],
    ['a segment without SYN', syn(options, v4, TcpFlag.ack)],
    ['a UDP packet', udpPacket({ ...v4, payload: Uint8Array.from(mss(1460)) })],
    ['bytes that are no packet', Uint8Array.of(0x45, 0)],
  ])('%s', (_, packet) => {
    const before = packet.slice()
    expect(clamp(packet, 1300)).toBe(false)
    expect(packet).toEqual(before)
  })
})

test('any options: never throws, never reads or writes outside the header, keeps the checksum right', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), fc.integer({ min: 1, max: 1460 }), (options, limit) => {
      const packet = tcpPacket({
        ...v4,
        flags: TcpFlag.syn,
        tcpOptions: options,
        payload: Uint8Array.of(2, 4, 255, 255),
      })
      clampMss(packetView(packet), 20, packet.length, limit)
      expect(valid(packet)).toBe(true)
      expect(packet.slice(-4)).toEqual(Uint8Array.of(2, 4, 255, 255))
    }),
    { numRuns: 5000 },
  )
})

test('a header that is cut short is safe', () => {
  const packet = syn([1, 1, 1, 1, ...mss(1460)])
  for (let end = 0; end <= packet.length; end++) {
    const cut = new DataView(packet.slice(0, end).buffer)
    expect(() => clampMss(cut, 20, end, 1000)).not.toThrow()
  }
})
