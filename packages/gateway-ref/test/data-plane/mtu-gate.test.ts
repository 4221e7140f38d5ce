import { IpAddress } from '@twinbore/core/address'
import {
  checkPacket,
  DropReason,
  IcmpType,
  Icmpv6Type,
  icmpCode,
  icmpNextHopMtu,
  icmpType,
  icmpv6Mtu,
  ipv4MoreFragments,
  PacketBatch,
  UnreachableCode,
  Verdict,
} from '@twinbore/core/packet'
import { packetView, udpPacket } from '@twinbore/core/testing'
import { describe, expect, test } from 'vitest'
import { MtuGate } from '../../src/data-plane/mtu-gate.ts'
import { SessionTable } from '../../src/data-plane/session-table.ts'

const ports = { sourcePort: 1, destinationPort: 2 }
const v4 = { source: '192.0.2.1', destination: '10.77.0.5', ...ports }
const v6 = { source: '2001:db8::1', destination: 'fd77::5', ...ports }

function world(mtu = 1280, capacity = 64) {
  const sessions = new SessionTable(2)
  const session = sessions.install({ ipv4: IpAddress.of('10.77.0.5').bytes, ipv6: IpAddress.of('fd77::5').bytes, mtu })
  const other = sessions.install({ ipv4: IpAddress.of('10.77.0.6').bytes, mtu })
  const fragments: { bytes: Uint8Array; owner: number }[] = []
  const errors: Uint8Array[] = []
  const gate = new MtuGate({
    sessions,
    sourceOf: family => IpAddress.of(family === 4 ? '10.77.0.1' : 'fd77::1').bytes,
    sendFragments: batch => {
      for (let slot = 0; slot < batch.count; slot++)
        fragments.push({ bytes: batch.packet(slot).slice(), owner: batch.owners[slot]! })
    },
    sendError: error => errors.push(error),
    batch: { capacity, slotBytes: 9000 },
  })
  const check = (packet: Uint8Array, now = 0, owner = session) => {
    const batch = new PacketBatch({ slotBytes: 9000 })
    batch.push(packet, owner)
    gate.check(batch, now)
    return batch
  }
  return { session, other, fragments, errors, check }
}

describe('a packet for a tunnel', () => {
  test('that fits exactly passes', () => {
    const { check, errors, fragments } = world()
    const batch = check(udpPacket({ ...v4, dontFragment: true, payload: new Uint8Array(1280 - 28) }))
    expect(batch.verdicts[0]).toBe(Verdict.forward)
    expect(errors).toEqual([])
    expect(fragments).toEqual([])
  })

  test('one byte longer, "don\'t fragment": its sender is told the exact MTU (RFC 1191 §4)', () => {
    const { check, errors, fragments } = world(1281)
    const batch = check(udpPacket({ ...v4, dontFragment: true, payload: new Uint8Array(1282 - 28) }))
    expect(batch.drops[DropReason.tooBig]).toBe(1)
    const view = packetView(errors[0]!)
    expect(checkPacket(view, 0, errors[0]!.length)).toBe(0)
    expect([...errors[0]!.subarray(12, 20)]).toEqual([10, 77, 0, 1, 192, 0, 2, 1])
    expect([icmpType(view, 20), icmpCode(view, 20), icmpNextHopMtu(view, 20)]).toEqual([
      IcmpType.destinationUnreachable,
      UnreachableCode.fragmentationNeeded,
      1281,
    ])
    expect(fragments).toEqual([])
  })

  test('one byte longer, IPv6: "packet too big" with the exact MTU (RFC 4443 §3.2)', () => {
    const { check, errors } = world(1281)
    expect(check(udpPacket({ ...v6, payload: new Uint8Array(1282 - 48) })).drops[DropReason.tooBig]).toBe(1)
    const view = packetView(errors[0]!)
    expect(checkPacket(view, 0, errors[0]!.length)).toBe(0)
    expect([icmpType(view, 40), icmpCode(view, 40), icmpv6Mtu(view, 40)]).toEqual([Icmpv6Type.packetTooBig, 0, 1281])
  })

  test('that may be fragmented goes on in pieces of its session, more of them than a batch has room for', () => {
    const { check, fragments, errors, session } = world(576, 4)
    const batch = check(udpPacket({ ...v4, payload: new Uint8Array(5000).fill(7) }))
    expect(batch.verdicts[0]).toBe(Verdict.divert)
    expect(batch.drops[DropReason.tooBig]).toBe(0)
    expect(fragments.length).toBe(10)
    expect(fragments.every(({ owner, bytes }) => owner === session && bytes.length <= 576)).toBe(true)
    expect(fragments.map(({ bytes }) => ipv4MoreFragments(packetView(bytes), 0))).toEqual([
      ...Array(9).fill(true),
      false,
    ])
    expect(errors).toEqual([])
  })
})

test('errors of one session are limited, and others are not held up by it', () => {
  const { check, errors, other } = world()
  const packet = udpPacket({ ...v4, dontFragment: true, payload: new Uint8Array(1400) })
  for (let n = 0; n < 1000; n++) expect(check(packet).drops[DropReason.tooBig]).toBe(1)
  expect(errors.length).toBe(40)
  check(packet, 0, other)
  expect(errors.length).toBe(41)
  check(packet, 49)
  expect(errors.length).toBe(41)
  check(packet, 50)
  expect(errors.length).toBe(42)
})

test('a packet that must not be answered is dropped in silence (RFC 1812 §4.3.2.7)', () => {
  const { check, errors } = world()
  const batch = check(udpPacket({ ...v4, source: '0.0.0.0', dontFragment: true, payload: new Uint8Array(1400) }))
  expect(batch.drops[DropReason.tooBig]).toBe(1)
  expect(errors).toEqual([])
})
