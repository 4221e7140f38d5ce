// Anti-spoofing (RFC 2827, BCP 38) and the destinations that no client may reach.
import { IpAddress, Prefix } from '@twinbore/core/address'
import { DropReason, PacketBatch, Verdict } from '@twinbore/core/packet'
import { udpPacket } from '@twinbore/core/testing'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { deniedDestinations, hostPrefix } from '../../src/data-plane/denied-destinations.ts'
import { guardIngress } from '../../src/data-plane/ingress-guard.ts'
import { SessionTable } from '../../src/data-plane/session-table.ts'

const bytesOf = (text: string) => IpAddress.of(text).bytes
const sessions = new SessionTable(4)
const anna = sessions.install({ ipv4: bytesOf('10.77.0.5'), ipv6: bytesOf('fd77::5'), mtu: 1400 })
const otto = sessions.install({ ipv4: bytesOf('10.77.0.6'), ipv6: bytesOf('fd77::6'), mtu: 1400 })
const only4 = sessions.install({ ipv4: bytesOf('10.77.0.7'), mtu: 1400 })
const denied = deniedDestinations({
  pools: [Prefix.of('10.77.0.0/24'), Prefix.of('fd77::/64')],
  ownAddresses: ['198.51.100.1', '2001:db8::1', '10.1.1.53'].map(text => IpAddress.of(text)),
  allowed: ['10.77.0.53', 'fd77::53', '10.1.1.53'].map(text => hostPrefix(IpAddress.of(text))),
})

/** 0 for a packet that passes, otherwise why it was dropped. */
function judge(owner: number, source: string, destination: string): number {
  const batch = new PacketBatch()
  batch.push(udpPacket({ source, destination, sourcePort: 1, destinationPort: 2 }), owner)
  guardIngress(batch, sessions, denied)
  const reason = batch.drops.findIndex(count => count > 0)
  expect(batch.verdicts[0]).toBe(reason === -1 ? Verdict.forward : Verdict.drop)
  return Math.max(0, reason)
}

describe('the source', () => {
  test.each([
    [anna, '10.77.0.5', '192.0.2.1'],
    [anna, 'fd77::5', '2001:db8:1::1'],
    [otto, '10.77.0.6', '192.0.2.1'],
    [only4, '10.77.0.7', '192.0.2.1'],
  ])('of session %i may be its lease %s', (owner, source, destination) => {
    expect(judge(owner, source, destination)).toBe(0)
  })

  test.each([
    ["another session's", '10.77.0.6', '192.0.2.1'],
    ["another session's", 'fd77::6', '2001:db8:1::1'],
    ['a corporate', '192.0.2.7', '192.0.2.1'],
    ["the gateway's", '10.77.0.1', '192.0.2.1'],
    ["the gateway's outside", '198.51.100.1', '192.0.2.1'],
    ['no', '0.0.0.0', '192.0.2.1'],
    ['no', '::', '2001:db8:1::1'],
    ['a multicast', '224.0.0.5', '192.0.2.1'],
    ['a multicast', 'ff02::5', '2001:db8:1::1'],
    ['a loopback', '127.0.0.1', '192.0.2.1'],
    ['a loopback', '::1', '2001:db8:1::1'],
    ['a link-local', 'fe80::5', '2001:db8:1::1'],
    ['the v4-mapped form of its', '::ffff:10.77.0.5', '2001:db8:1::1'],
    ['a neighbouring', 'fd77::1:5', '2001:db8:1::1'],
  ])('may not be %s address (%s)', (_, source, destination) => {
    expect(judge(anna, source, destination)).toBe(DropReason.spoofedSource)
  })

  test('of a session without IPv6 is no IPv6 address at all', () => {
    expect(judge(only4, '::', '2001:db8:1::1')).toBe(DropReason.spoofedSource)
    expect(judge(only4, 'fd77::7', '2001:db8:1::1')).toBe(DropReason.spoofedSource)
  })

  test('of a session that is gone is never right', () => {
    const gone = sessions.install({ ipv4: bytesOf('10.77.0.8'), mtu: 1400 })
    expect(judge(gone, '10.77.0.8', '192.0.2.1')).toBe(0)
    sessions.remove(gone)
    expect(judge(gone, '10.77.0.8', '192.0.2.1')).toBe(DropReason.spoofedSource)
  })

  test('must be exactly the lease, whatever else it is', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), bytes => {
        const source = IpAddress.fromBytes(bytes).toString()
        expect(judge(anna, source, '2001:db8:1::1')).toBe(source === 'fd77::5' ? 0 : DropReason.spoofedSource)
      }),
    )
  })
})

describe('the destination', () => {
  test.each([
    ['own addresses', '198.51.100.1', '2001:db8::1'],
    ['loopback', '127.0.0.1', '::1'],
    ['loopback', '127.255.255.254', '::1'],
    ['"this network", unspecified', '0.0.0.0', '::'],
    ['"this network"', '0.1.2.3', '::'],
    ['link-local, the metadata of clouds', '169.254.169.254', 'fe80::1'],
    ['multicast', '224.0.0.1', 'ff02::1'],
    ['multicast', '239.255.255.250', 'ff0e::1'],
    ['reserved, v4-mapped', '240.0.0.1', '::ffff:192.0.2.1'],
    ['broadcast, v4-mapped loopback', '255.255.255.255', '::ffff:127.0.0.1'],
    ['the pool', '10.77.0.6', 'fd77::6'],
    ['the pool, its ends', '10.77.0.255', 'fd77::ffff:ffff:ffff:ffff'],
    ['its own address', '10.77.0.5', 'fd77::5'],
    ["the gateway's inside address, 6to4", '10.77.0.1', '2002:c000:201::1'],
    ['Teredo', '10.77.0.2', '2001:0:c000:201::1'],
    ['NAT64', '10.77.0.3', '64:ff9b::c000:201'],
  ])('may not be of: %s (%s, %s)', (_, ipv4, ipv6) => {
    expect(judge(anna, '10.77.0.5', ipv4)).toBe(DropReason.deniedDestination)
    expect(judge(anna, 'fd77::5', ipv6)).toBe(DropReason.deniedDestination)
  })

  test.each([
    ['10.77.0.53', 'fd77::53'],
    ['10.1.1.53', '2001:db8::2'],
    ['10.77.1.1', 'fd77:0:0:1::1'],
    ['192.168.1.1', 'fc00::1'],
    ['1.0.0.0', '2001:1::1'],
    ['223.255.255.255', '2003::1'],
    ['169.253.255.255', 'fe00::1'],
  ])('may be %s and %s: what the denied surround, name servers inside them, their neighbours', (ipv4, ipv6) => {
    expect(judge(anna, '10.77.0.5', ipv4)).toBe(0)
    expect(judge(anna, 'fd77::5', ipv6)).toBe(0)
  })

  test('in a pool of link-local addresses is denied too, and a source there is as good as any (RFC 3927)', () => {
    const pool = Prefix.of('169.254.0.0/16')
    const table = new SessionTable(1)
    const index = table.install({ ipv4: bytesOf('169.254.7.7'), mtu: 1400 })
    const batch = new PacketBatch()
    const ports = { sourcePort: 1, destinationPort: 2 }
    batch.push(udpPacket({ ...ports, source: '169.254.7.7', destination: '192.0.2.1' }), index)
    batch.push(udpPacket({ ...ports, source: '169.254.7.7', destination: '169.254.7.8' }), index)
    guardIngress(batch, table, deniedDestinations({ pools: [pool], ownAddresses: [], allowed: [] }))
    expect([...batch.verdicts.subarray(0, 2)]).toEqual([Verdict.forward, Verdict.drop])
  })
})

test('slots that others have dropped stay as they are', () => {
  const batch = new PacketBatch()
  batch.push(udpPacket({ source: '10.0.0.1', destination: '10.0.0.2', sourcePort: 1, destinationPort: 2 }), anna)
  batch.drop(0, DropReason.malformed)
  guardIngress(batch, sessions, denied)
  expect(batch.drops[DropReason.spoofedSource]).toBe(0)
})
