// What restricted sessions may reach, against the plain words of their permissions.
import { IpAddress, Prefix } from '@twinbore/core/address'
import { checkPackets, DropReason, PacketBatch, Verdict } from '@twinbore/core/packet'
import { fragmentPacket, icmpEchoPacket, icmpErrorPacket, tcpPacket, udpPacket } from '@twinbore/core/testing'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { permits } from '../../src/access/permissions.ts'
import type { PlanePermission } from '../../src/data-plane/permitted-destinations.ts'
import { SessionPermissions } from '../../src/data-plane/session-permissions.ts'

const client = { 4: '10.77.0.5', 6: 'fd77::5' } as const
const remediation: PlanePermission[] = [
  { to: '10.2.0.5/32', protocol: 'tcp', ports: [{ first: 443, last: 444 }] },
  { to: '10.3.0.0/16', protocol: 'udp' },
  { to: '2001:db8::/32' },
]

function restricted(permissions: readonly PlanePermission[] | undefined = remediation): SessionPermissions {
  const sessions = new SessionPermissions(4)
  sessions.set(1, permissions)
  return sessions
}

function passes(sessions: SessionPermissions, packet: Uint8Array, direction: 'out' | 'in' = 'out', owner = 1): boolean {
  const batch = new PacketBatch()
  batch.push(packet, owner)
  checkPackets(batch)
  expect(batch.verdicts[0]).toBe(Verdict.forward)
  if (direction === 'out') sessions.guardOutbound(batch)
  else sessions.guardInbound(batch)
  expect(batch.drops[DropReason.notPermitted]).toBe(batch.verdicts[0] === Verdict.forward ? 0 : 1)
  return batch.verdicts[0] === Verdict.forward
}

function packetTo(
  far: string,
  protocol: 'tcp' | 'udp' | 'icmp',
  port: number,
  direction: 'out' | 'in' = 'out',
): Uint8Array {
  const near = client[far.includes(':') ? 6 : 4]
  const [source, destination] = direction === 'out' ? [near, far] : [far, near]
  if (protocol === 'icmp') return icmpEchoPacket({ source, destination, identifier: 7, reply: direction === 'in' })
  const [sourcePort, destinationPort] = direction === 'out' ? [50_000, port] : [port, 50_000]
  const fields = { source, destination, sourcePort, destinationPort }
  return protocol === 'tcp' ? tcpPacket(fields) : udpPacket(fields)
}

describe('a restricted session', () => {
  test.each([
    ['10.2.0.5', 'tcp', 443],
    ['10.2.0.5', 'tcp', 444],
    ['10.3.9.9', 'udp', 1],
    ['2001:db8::9', 'tcp', 22],
    ['2001:db8::9', 'icmp', 0],
  ] as const)('reaches %s %s %i, and hears from there', (far, protocol, port) => {
    expect(passes(restricted(), packetTo(far, protocol, port))).toBe(true)
    expect(passes(restricted(), packetTo(far, protocol, port, 'in'), 'in')).toBe(true)
  })

  test.each([
    ['10.2.0.5', 'tcp', 445],
    ['10.2.0.5', 'udp', 443],
    ['10.2.0.5', 'icmp', 0],
    ['10.2.0.6', 'tcp', 443],
    ['10.3.9.9', 'tcp', 1],
    ['10.4.0.1', 'udp', 1],
    ['2001:db9::9', 'tcp', 22],
  ] as const)('does not reach %s %s %i, and hears nothing from there', (far, protocol, port) => {
    expect(passes(restricted(), packetTo(far, protocol, port))).toBe(false)
    expect(passes(restricted(), packetTo(far, protocol, port, 'in'), 'in')).toBe(false)
  })

  test('hears errors about its packets from routers on the way, and sends none to where it may not go', () => {
    const quoted = packetTo('10.2.0.5', 'tcp', 443)
    const error = { type: 3, code: 4, parameter: 1300, about: quoted }
    expect(passes(restricted(), icmpErrorPacket({ source: '10.9.9.9', destination: client[4], ...error }), 'in')).toBe(
      true,
    )
    expect(passes(restricted(), icmpErrorPacket({ source: client[4], destination: '10.9.9.9', ...error }))).toBe(false)
  })

  test('sends later fragments only where every port is permitted', () => {
    const payload = new Uint8Array(3000)
    const fields = { sourcePort: 50_000, destinationPort: 53, payload }
    const open = fragmentPacket(udpPacket({ source: client[4], destination: '10.3.0.1', ...fields }), 1400)
    expect(open.map(fragment => passes(restricted(), fragment))).toEqual(open.map(() => true))
    const only53 = restricted([{ to: '10.3.0.1', protocol: 'udp', ports: [{ first: 53, last: 53 }] }])
    expect(open.map(fragment => passes(only53, fragment))).toEqual([true, ...open.slice(1).map(() => false)])
  })

  test('without a permission reaches nothing', () => {
    expect(passes(restricted([]), packetTo('10.2.0.5', 'tcp', 443))).toBe(false)
  })
})

test('other sessions reach everything, and so does one whose restriction is lifted', () => {
  const sessions = restricted()
  expect(passes(sessions, packetTo('10.9.9.9', 'tcp', 1), 'out', 2)).toBe(true)
  sessions.set(2, remediation)
  sessions.set(1, undefined)
  expect(passes(sessions, packetTo('10.9.9.9', 'tcp', 1))).toBe(true)
  expect(passes(sessions, packetTo('10.9.9.9', 'tcp', 1), 'out', 2)).toBe(false)
})

test('sessions with the same permissions share them, and nothing is left when they are gone', () => {
  const sessions = new SessionPermissions(100)
  for (let session = 0; session < 100; session++) sessions.set(session, [...remediation])
  expect(sessions.size).toBe(1)
  sessions.set(5, [])
  expect(sessions.size).toBe(2)
  for (let session = 0; session < 100; session++) sessions.set(session, undefined)
  expect(sessions.size).toBe(0)
})

test('agrees with the plain words, for prefixes within each other', () => {
  const to = fc.constantFrom(
    '10.0.0.0/8',
    '10.2.0.0/16',
    '10.2.0.5',
    '10.2.0.4/31',
    '0.0.0.0/0',
    '2001:db8::/32',
    '2001:db8::5',
    '::/0',
  )
  const port = fc.integer({ min: 1, max: 6 })
  const span = fc.tuple(port, port).map(([a, b]) => ({ first: Math.min(a, b), last: Math.max(a, b) }))
  const permission = fc.record({
    to,
    protocol: fc.constantFrom(undefined, 'icmp' as const, 'tcp' as const, 'udp' as const),
    ports: fc.option(fc.array(span, { minLength: 1, maxLength: 3 }), { nil: undefined }),
  })
  const valid = permission.map(({ protocol, ports, ...rest }) =>
    protocol === 'tcp' || protocol === 'udp' ? { ...rest, protocol, ports } : { ...rest, protocol },
  )
  const far = fc.constantFrom(
    '10.2.0.5',
    '10.2.0.4',
    '10.2.9.9',
    '10.9.9.9',
    '192.0.2.1',
    '2001:db8::5',
    '2001:db8::6',
    '2001:db9::1',
  )
  let passing = 0
  fc.assert(
    fc.property(
      fc.array(valid, { maxLength: 6 }),
      far,
      fc.constantFrom('tcp', 'udp', 'icmp'),
      port,
      (set, address, protocol, at) => {
        const words = set.map(({ to: prefix, ...rest }) => ({ to: Prefix.of(prefix), ports: undefined, ...rest }))
        const expected = permits(words, {
          address: IpAddress.of(address),
          protocol,
          port: protocol === 'icmp' ? undefined : at,
        })
        if (expected) passing++
        for (const direction of ['out', 'in'] as const) {
          expect(passes(restricted(set), packetTo(address, protocol, at, direction), direction)).toBe(expected)
        }
      },
    ),
    { numRuns: 3000 },
  )
  expect(passing).toBeGreaterThan(500)
})
