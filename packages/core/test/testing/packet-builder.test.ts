import {
  checkPacket,
  IpProtocol,
  icmpChecksum,
  icmpCode,
  icmpIdentifier,
  icmpSequenceNumber,
  icmpType,
  ipVersion,
  ipv4Checksum,
  ipv4Destination,
  ipv4DontFragment,
  ipv4DscpAndEcn,
  ipv4FragmentOffset,
  ipv4HeaderChecksum,
  ipv4HeaderLength,
  ipv4Identification,
  ipv4IsFragment,
  ipv4MoreFragments,
  ipv4Protocol,
  ipv4Source,
  ipv4TimeToLive,
  ipv4TotalLength,
  ipv6FlowLabel,
  ipv6FragmentHeader,
  ipv6FragmentIdentification,
  ipv6FragmentNextHeader,
  ipv6FragmentOffset,
  ipv6HopLimit,
  ipv6MoreFragments,
  ipv6NextHeader,
  ipv6PayloadLength,
  ipv6TrafficClass,
  tcpAcknowledgmentNumber,
  tcpChecksum,
  tcpDestinationPort,
  tcpFlags,
  tcpHeaderLength,
  tcpSequenceNumber,
  tcpSourcePort,
  tcpWindow,
  transportChecksum,
  udpChecksum,
  udpDestinationPort,
  udpLength,
  udpSourcePort,
} from '@twinbore/core/packet'
import { fragmentPacket, icmpEchoPacket, ipPacket, packetView, tcpPacket, udpPacket } from '@twinbore/core/testing'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

const uint = (bits: number) => fc.nat({ max: 2 ** bits - 1 })
const payload = fc.uint8Array({ maxLength: 60 })

describe('what is written is read back by the accessors', () => {
  test('IPv4 and UDP', () => {
    const fields = fc.record({
      hopLimit: uint(8),
      trafficClass: uint(8),
      identification: uint(16),
      dontFragment: fc.boolean(),
      options: fc.uint8Array({ maxLength: 40 }),
      sourcePort: uint(16),
      destinationPort: uint(16),
      payload,
    })
    fc.assert(
      fc.property(fields, fields => {
        const packet = udpPacket({ source: '192.0.2.200', destination: '10.1.2.3', ...fields })
        const view = packetView(packet)
        expect(checkPacket(view, 0, packet.length)).toBe(0)
        const header = 20 + Math.ceil(fields.options.length / 4) * 4
        expect([ipVersion(view, 0), ipv4HeaderLength(view, 0), ipv4TotalLength(view, 0)]).toEqual([
          4,
          header,
          packet.length,
        ])
        expect([ipv4TimeToLive(view, 0), ipv4DscpAndEcn(view, 0)]).toEqual([fields.hopLimit, fields.trafficClass])
        expect([ipv4Identification(view, 0), ipv4DontFragment(view, 0)]).toEqual([
          fields.identification,
          fields.dontFragment,
        ])
        expect([ipv4IsFragment(view, 0), ipv4Protocol(view, 0)]).toEqual([false, IpProtocol.udp])
        expect([ipv4Source(view, 0), ipv4Destination(view, 0)]).toEqual([0xc00002c8, 0x0a010203])
        expect(ipv4Checksum(view, 0)).toBe(ipv4HeaderChecksum(view, 0))
        expect([udpSourcePort(view, header), udpDestinationPort(view, header)]).toEqual([
          fields.sourcePort,
          fields.destinationPort,
        ])
        expect(udpLength(view, header)).toBe(8 + fields.payload.length)
        expect(udpChecksum(view, header)).toBe(
          transportChecksum(view, 0, header, packet.length - header, IpProtocol.udp),
        )
        expect(packet.subarray(header + 8)).toEqual(fields.payload)
      }),
      { numRuns: 500 },
    )
  })

  test('IPv6 and TCP', () => {
    const fields = fc.record({
      hopLimit: uint(8),
      trafficClass: uint(8),
      flowLabel: uint(20),
      sourcePort: uint(16),
      destinationPort: uint(16),
      sequenceNumber: uint(32),
      acknowledgmentNumber: uint(32),
      flags: uint(8),
      window: uint(16),
      tcpOptions: fc.uint8Array({ maxLength: 40 }),
      payload,
    })
    fc.assert(
      fc.property(fields, fields => {
        const packet = tcpPacket({ source: 'fd00::1', destination: '2001:db8::2', ...fields })
        const view = packetView(packet)
        expect(checkPacket(view, 0, packet.length)).toBe(0)
        expect([ipVersion(view, 0), ipv6PayloadLength(view, 0), ipv6NextHeader(view, 0)]).toEqual([
          6,
          packet.length - 40,
          6,
        ])
        expect([ipv6HopLimit(view, 0), ipv6TrafficClass(view, 0), ipv6FlowLabel(view, 0)]).toEqual([
          fields.hopLimit,
          fields.trafficClass,
          fields.flowLabel,
        ])
        expect([tcpSourcePort(view, 40), tcpDestinationPort(view, 40)]).toEqual([
          fields.sourcePort,
          fields.destinationPort,
        ])
        expect([tcpSequenceNumber(view, 40), tcpAcknowledgmentNumber(view, 40)]).toEqual([
          fields.sequenceNumber,
          fields.acknowledgmentNumber,
        ])
        expect([tcpFlags(view, 40), tcpWindow(view, 40)]).toEqual([fields.flags, fields.window])
        expect(tcpHeaderLength(view, 40)).toBe(20 + Math.ceil(fields.tcpOptions.length / 4) * 4)
        expect(tcpChecksum(view, 40)).toBe(transportChecksum(view, 0, 40, packet.length - 40, IpProtocol.tcp))
        expect(packet.subarray(40 + tcpHeaderLength(view, 40))).toEqual(fields.payload)
      }),
      { numRuns: 500 },
    )
  })

  test('echo in both families', () => {
    fc.assert(
      fc.property(
        uint(16),
        uint(16),
        fc.boolean(),
        fc.boolean(),
        payload,
        (identifier, sequenceNumber, reply, v4, payload) => {
          const addresses = v4
            ? { source: '10.0.0.1', destination: '10.0.0.2' }
            : { source: 'fd00::1', destination: 'fd00::2' }
          const packet = icmpEchoPacket({ ...addresses, identifier, sequenceNumber, reply, payload })
          const view = packetView(packet)
          const at = v4 ? 20 : 40
          expect(checkPacket(view, 0, packet.length)).toBe(0)
          expect(icmpType(view, at)).toBe(v4 ? (reply ? 0 : 8) : reply ? 129 : 128)
          expect([icmpCode(view, at), icmpIdentifier(view, at), icmpSequenceNumber(view, at)]).toEqual([
            0,
            identifier,
            sequenceNumber,
          ])
          expect(icmpChecksum(view, at)).toBe(transportChecksum(view, 0, at, packet.length - at, v4 ? 1 : 58))
        },
      ),
      { numRuns: 300 },
    )
  })
})

describe('fragments', () => {
  const ports = { sourcePort: 1, destinationPort: 2 }

  test('of IPv4 are in order, fit the MTU, and make up the packet', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3000 }), fc.integer({ min: 68, max: 1500 }), (payload, mtu) => {
        const packet = udpPacket({
          source: '10.0.0.1',
          destination: '10.0.0.2',
          ...ports,
          payload,
          identification: 77,
          options: Uint8Array.of(1, 1, 1, 0),
        })
        const fragments = fragmentPacket(packet, mtu)
        let position = 0
        for (const [i, fragment] of fragments.entries()) {
          const view = packetView(fragment)
          expect(fragment.length).toBeLessThanOrEqual(Math.max(mtu, packet.length <= mtu ? packet.length : 0))
          expect(checkPacket(view, 0, fragment.length)).toBe(0)
          expect([ipv4Identification(view, 0), ipv4FragmentOffset(view, 0)]).toEqual([77, position])
          expect(ipv4MoreFragments(view, 0)).toBe(i < fragments.length - 1)
          expect(fragment.subarray(24)).toEqual(packet.subarray(24 + position, 24 + position + fragment.length - 24))
          position += fragment.length - 24
        }
        expect(position).toBe(packet.length - 24)
      }),
      { numRuns: 200 },
    )
  })

  test('of IPv6 are in order, fit the MTU, and make up the packet', () => {
    const packet = udpPacket({
      source: 'fd00::1',
      destination: 'fd00::2',
      ...ports,
      payload: new Uint8Array(5000).map((_, i) => i),
    })
    const fragments = fragmentPacket(packet, 1280, 0xdeadbeef)
    const whole: number[] = []
    for (const [i, fragment] of fragments.entries()) {
      const view = packetView(fragment)
      const header = ipv6FragmentHeader(view, 0, fragment.length)
      expect(header).toBe(40)
      expect(fragment.length).toBeLessThanOrEqual(1280)
      expect([ipv6FragmentIdentification(view, header), ipv6FragmentNextHeader(view, header)]).toEqual([0xdeadbeef, 17])
      expect([ipv6FragmentOffset(view, header), ipv6MoreFragments(view, header)]).toEqual([
        whole.length,
        i < fragments.length - 1,
      ])
      whole.push(...fragment.subarray(48))
    }
    expect(whole).toEqual([...packet.subarray(40)])
  })

  test('a packet that fits stays whole, and an MTU without room is misuse', () => {
    const packet = udpPacket({ source: '10.0.0.1', destination: '10.0.0.2', ...ports, payload: new Uint8Array(100) })
    expect(fragmentPacket(packet, 128)).toEqual([packet])
    expect(() => fragmentPacket(packet, 27)).toThrow(RangeError)
  })
})

test('a packet of two families is misuse', () => {
  expect(() =>
    ipPacket({ source: '10.0.0.1', destination: 'fd00::1', protocol: 17, payload: new Uint8Array(0) }),
  ).toThrow(RangeError)
  expect(() => udpPacket({ source: 'nonsense', destination: 'fd00::1', sourcePort: 1, destinationPort: 2 })).toThrow(
    RangeError,
  )
})
