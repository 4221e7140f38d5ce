import {
  checkPacket,
  fragmentIpv4,
  IpProtocol,
  ipv4FragmentOffset,
  ipv4HeaderLength,
  ipv4Identification,
  ipv4MoreFragments,
} from '@twinbore/core/packet'
import { ipPacket, packetView, udpPacket } from '@twinbore/core/testing'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

const addresses = { source: '192.0.2.1', destination: '10.0.0.1' }
const ports = { sourcePort: 1000, destinationPort: 2000 }
const split = (packet: Uint8Array, mtu: number) => fragmentIpv4(packetView(packet), 0, packet.length, mtu)
const bytes = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 7) & 0xff)

/** Puts data back where its fragments say. Fails where they overlap or leave a hole. */
function reassemble(fragments: readonly Uint8Array[]): Uint8Array {
  const pieces = fragments
    .map(fragment => {
      const view = packetView(fragment)
      return {
        at: ipv4FragmentOffset(view, 0),
        data: fragment.subarray(ipv4HeaderLength(view, 0)),
        more: ipv4MoreFragments(view, 0),
      }
    })
    .sort((one, other) => one.at - other.at)
  let end = 0
  for (const [i, { at, data, more }] of pieces.entries()) {
    expect(at).toBe(end)
    expect(more).toBe(i < pieces.length - 1)
    if (more) expect(data.length % 8).toBe(0)
    end += data.length
  }
  const whole = new Uint8Array(end)
  for (const { at, data } of pieces) whole.set(data, at)
  return whole
}

describe('fragments of an IPv4 packet (RFC 791 §3.2)', () => {
  test('are good packets that fit, and hold the same data', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 5000 }),
        fc.integer({ min: 68, max: 1500 }),
        fc.integer({ min: 0, max: 0xffff }),
        (length, mtu, identification) => {
          const packet = udpPacket({ ...addresses, ...ports, identification, payload: bytes(length) })
          const fragments = split(packet, mtu)!
          for (const fragment of fragments) {
            expect(fragment.length).toBeLessThanOrEqual(mtu)
            expect(checkPacket(packetView(fragment), 0, fragment.length)).toBe(0)
            expect(ipv4Identification(packetView(fragment), 0)).toBe(identification)
          }
          expect(reassemble(fragments)).toEqual(packet.subarray(20))
        },
      ),
    )
  })

  test('can be split again, and still hold the same data', () => {
    const packet = udpPacket({ ...addresses, ...ports, payload: bytes(4000) })
    const twice = split(packet, 1500)!.flatMap(fragment => split(fragment, 700)!)
    expect(twice.length).toBeGreaterThan(5)
    expect(reassemble(twice)).toEqual(packet.subarray(20))
  })

  test('stay where they are in the slab of others', () => {
    const packet = udpPacket({ ...addresses, ...ports, payload: bytes(1400) })
    const slab = new Uint8Array(3000).fill(0xee)
    slab.set(packet, 100)
    expect(fragmentIpv4(new DataView(slab.buffer), 100, packet.length, 600)).toEqual(split(packet, 600))
    expect(slab.subarray(100, 100 + packet.length)).toEqual(packet)
  })

  test('carry the options marked "copied", and only the first one carries the others', () => {
    // Router alert (148, copied) and record route (7, not copied), with a no-operation between.
    const options = Uint8Array.of(148, 4, 0, 0, 1, 7, 7, 4, 0, 0, 0, 0)
    const packet = ipPacket({ ...addresses, protocol: IpProtocol.udp, options, payload: bytes(200) })
    const [first, ...later] = split(packet, 100)!
    expect(first!.subarray(20, 32)).toEqual(options)
    expect(later.length).toBeGreaterThan(0)
    for (const fragment of later) {
      expect(ipv4HeaderLength(packetView(fragment), 0)).toBe(24)
      expect(fragment.subarray(20, 24)).toEqual(Uint8Array.of(148, 4, 0, 0))
      expect(checkPacket(packetView(fragment), 0, fragment.length)).toBe(0)
    }
    expect(reassemble([first!, ...later])).toEqual(packet.subarray(32))
  })

  test('never fail on options, whatever they hold', () => {
    const options = fc.uint8Array({ minLength: 4, maxLength: 40 })
    fc.assert(
      fc.property(options, bytesOfOptions => {
        const packet = ipPacket({
          ...addresses,
          protocol: IpProtocol.udp,
          options: bytesOfOptions,
          payload: bytes(300),
        })
        const headerLength = ipv4HeaderLength(packetView(packet), 0)
        expect(reassemble(split(packet, 128)!)).toEqual(packet.subarray(headerLength))
      }),
    )
  })
})

test('a packet that fits comes back alone', () => {
  const packet = udpPacket({ ...addresses, ...ports, dontFragment: true, payload: bytes(100) })
  expect(split(packet, packet.length)).toEqual([packet])
})

test('"don\'t fragment" is obeyed, and an MTU without room for data refused', () => {
  expect(split(udpPacket({ ...addresses, ...ports, dontFragment: true, payload: bytes(200) }), 100)).toBeUndefined()
  expect(split(udpPacket({ ...addresses, ...ports, payload: bytes(200) }), 27)).toBeUndefined()
  expect(split(udpPacket({ ...addresses, ...ports, payload: bytes(200) }), 28)).toHaveLength(26)
})
