// What headers lose and what they keep.
import { IpProtocol } from '@twinbore/core/packet'
import { packetView, tcpPacket, udpPacket } from '@twinbore/core/testing'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { keepIdentification, rewriteIpv4, rewriteIpv6, rewriteTransport, Side } from '../src/rewrite.ts'
import { client, client6, Harness, isWellFormed, outside, server, server6, udp } from './harness.ts'

const ports = { sourcePort: 5000, destinationPort: 80 }
const ends4 = { source: client, destination: server, ...ports }
const ends6 = { source: client6, destination: server6, ...ports }

describe('IPv4 options', () => {
  test.each([
    ['record route', [7, 7, 4, 10, 8, 0, 2, 0]],
    ['timestamp', [68, 8, 5, 0, 0, 0, 0, 0]],
    ['loose source route', [131, 7, 4, 1, 1, 1, 1, 0]],
    ['strict source route', [137, 7, 4, 1, 1, 1, 1, 0]],
    ['router alert', [148, 4, 0, 0]],
    ['security', [1, 130, 3, 0]],
  ])('%s: the packet is dropped in both directions', (_, options) => {
    const harness = new Harness()
    expect(harness.out(udpPacket({ ...ends4, options: Uint8Array.from(options) }))).toBe('refusedOptions')
    const back = udpPacket({ source: server, destination: outside, ...ports, options: Uint8Array.from(options) })
    expect(harness.in(back)).toBe('refusedOptions')
  })

  test('padding passes', () => {
    const sent = new Harness().sent(udpPacket({ ...ends4, options: Uint8Array.of(1, 1, 1, 0) }))
    expect(isWellFormed(sent)).toBe(true)
    expect(sent.length).toBe(32)
  })
})

describe('IPv6 extension headers', () => {
  test.each([
    ['routing header type 0', IpProtocol.routing, [0, 1, 0, 0, 0, 0]],
    ['segment routing', IpProtocol.routing, [4, 0, 0, 0, 0, 0]],
    ['home address', IpProtocol.destinationOptions, [0xc9, 16, ...new Uint8Array(16), 1, 2, 0, 0]],
    ['jumbo payload', IpProtocol.hopByHopOptions, [0xc2, 4, 0, 1, 0, 0]],
    ['an unknown hop-by-hop option that wants to be discarded', IpProtocol.hopByHopOptions, [0x5e, 4, 0, 0, 0, 0]],
  ])('%s is refused', (_, type, body) => {
    const harness = new Harness()
    const extensionHeaders = [{ type, body: Uint8Array.from(body) }]
    expect(harness.out(udpPacket({ ...ends6, extensionHeaders }))).toBe('refusedOptions')
  })

  test.each([
    ['padding', IpProtocol.hopByHopOptions, [1, 4, 0, 0, 0, 0]],
    ['router alert', IpProtocol.hopByHopOptions, [5, 2, 0, 0, 0, 0]],
    ['an unknown option to skip', IpProtocol.destinationOptions, [0x1e, 4, 1, 2, 3, 4]],
  ])('%s passes', (_, type, body) => {
    const extensionHeaders = [{ type, body: Uint8Array.from(body) }]
    const sent = new Harness().sent(udpPacket({ ...ends6, extensionHeaders }))
    expect(isWellFormed(sent)).toBe(true)
  })
})

test('the flow label is cleared, the traffic class with its ECN bits stays', () => {
  const sent = new Harness().sent(udpPacket({ ...ends6, flowLabel: 0xabcde, trafficClass: 0xb9 }))
  expect(packetView(sent).getUint32(0)).toBe(0x6b900000)
})

test('DSCP and ECN of IPv4 stay', () => {
  expect(new Harness().sent(udpPacket({ ...ends4, trafficClass: 0xb9 }))[1]).toBe(0xb9)
})

test.each([
  ['a wrong IPv4 header checksum', (v: DataView) => v.setUint8(8, 9), 'badChecksum'],
  ['a total length beyond the packet', (v: DataView) => v.setUint16(2, 2000), 'malformed'],
  ['a header length below 20', (v: DataView) => v.setUint8(0, 0x44), 'malformed'],
  ['version 5', (v: DataView) => v.setUint8(0, 0x55), 'malformed'],
])('%s is refused (item 56)', (_, change, reason) => {
  const packet = udp()
  change(packetView(packet))
  expect(new Harness().out(packet)).toBe(reason)
})

test('IPv6 UDP without checksum is refused (RFC 8200 §8.1)', () => {
  const packet = udpPacket(ends6)
  packetView(packet).setUint16(46, 0)
  expect(new Harness().out(packet)).toBe('badChecksum')
})

describe('checksums, incremental against full (RFC 1624)', () => {
  const seed = Number(process.env.FUZZ_SEED ?? 1)
  const numRuns = Number(process.env.FUZZ_RUNS ?? 5_000)
  const address = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })
  const port = fc.integer({ min: 0, max: 65_535 })
  const payload = fc.uint8Array({ maxLength: 40 })

  test('IPv4, TCP and UDP', () => {
    fc.assert(
      fc.property(
        address,
        port,
        port,
        payload,
        fc.boolean(),
        fc.boolean(),
        (to, id, outsidePort, data, isTcp, isSource) => {
          const packet = isTcp ? tcpPacket({ ...ends4, payload: data }) : udpPacket({ ...ends4, payload: data })
          const view = packetView(packet)
          const side = isSource ? Side.source : Side.destination
          const delta = rewriteIpv4(view, 0, side, to, isSource ? id : keepIdentification, 1)
          rewriteTransport(view, 20, packet.length, isTcp ? 0 : 1, 4, side, outsidePort, delta)
          return isWellFormed(packet)
        },
      ),
      { numRuns, seed },
    )
  })

  test('IPv6, TCP, UDP and echo', () => {
    const words = fc.array(address, { minLength: 4, maxLength: 4 })
    fc.assert(
      fc.property(words, port, payload, fc.boolean(), fc.boolean(), (to, outsidePort, data, isTcp, isSource) => {
        const packet = isTcp ? tcpPacket({ ...ends6, payload: data }) : udpPacket({ ...ends6, payload: data })
        const view = packetView(packet)
        const side = isSource ? Side.source : Side.destination
        const delta = rewriteIpv6(view, 0, side, Int32Array.from(to), 0, 1)
        rewriteTransport(view, 40, packet.length, isTcp ? 0 : 1, 6, side, outsidePort, delta)
        return isWellFormed(packet)
      }),
      { numRuns, seed },
    )
  })

  test('the corners: a UDP checksum that becomes 0 is sent as 0xffff, 0x0000 and 0xffff of TCP stay right', () => {
    const corners = { zero: 0, ones: 0 }
    // Walk the port through all values, so that the checksum takes every value.
    for (let outsidePort = 0; outsidePort < 65_536; outsidePort++) {
      const datagram = udpPacket({ ...ends4, payload: Uint8Array.of(1, 2) })
      rewriteTransport(packetView(datagram), 20, datagram.length, 1, 4, Side.source, outsidePort, 0)
      const udpSum = packetView(datagram).getUint16(26)
      if (udpSum === 0) throw new Error(`UDP checksum 0 at port ${outsidePort}`)
      if (udpSum === 0xffff) corners.ones++
      if (!isWellFormed(datagram)) throw new Error(`UDP wrong at port ${outsidePort}`)
      const segment = tcpPacket(ends4)
      rewriteTransport(packetView(segment), 20, segment.length, 0, 4, Side.source, outsidePort, 0)
      const tcpSum = packetView(segment).getUint16(36)
      if (tcpSum === 0) corners.zero++
      if (!isWellFormed(segment)) throw new Error(`TCP wrong at port ${outsidePort}`)
    }
    expect(corners).toEqual({ zero: 1, ones: 1 })
  })
})
