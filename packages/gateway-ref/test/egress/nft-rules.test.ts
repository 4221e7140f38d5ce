import { IpAddress, Prefix } from '@twinbore/core/address'
import { describe, expect, test } from 'vitest'
import {
  type CommonRules,
  hostAddressRules,
  kernelRules,
  ownAddressRules,
  readSaved,
  removalScript,
  tableName,
} from '../../src/egress/nft-rules.ts'

const common: CommonRules = {
  table: 'twinbore-a',
  device: 'tb0',
  pool: { ipv4: Prefix.parse('192.168.77.0/24'), ipv6: Prefix.parse('fd77:77::/64') },
  exclusive: { ipv4: true, ipv6: false },
  saved: 'QUJD',
}
const host = IpAddress.of('10.2.0.1')
const scripts: [string, string][] = [
  [
    'host address',
    hostAddressRules({
      ...common,
      transit: { ipv4: IpAddress.of('192.0.0.9'), ipv6: IpAddress.of('fd00:7::9') },
      uplinks: [{ device: 'eth0', ipv4: host, ipv6: undefined }],
      ports: { first: 20_000, last: 60_999 },
      features: { socket: true, reassembly: true },
    }),
  ],
  ['own addresses', ownAddressRules({ ...common, addresses: [IpAddress.of('10.2.0.77'), IpAddress.of('fd02::77')] })],
  [
    'kernel',
    kernelRules({
      ...common,
      addresses: [],
      tcpPorts: { first: 20_000, last: 29_999 },
      udpPorts: { first: 40_000, last: 60_999 },
    }),
  ],
]

describe.each(scripts)('%s', (_, script) => {
  test('replaces its own table in one step and touches no other', () => {
    expect(script.startsWith(removalScript('twinbore-a'))).toBe(true)
    expect([...script.matchAll(/table \S+ (\S+)/g)].every(([, name]) => name === 'twinbore-a')).toBe(true)
    expect(script).not.toMatch(/flush/)
  })

  test('drops pool addresses at the end of the way out, and where they come in from elsewhere', () => {
    const leaving = script.slice(script.indexOf('chain leaving'))
    for (const rule of [
      'ip saddr 192.168.77.0/24 drop',
      'ip daddr 192.168.77.0/24 drop',
      'ip6 saddr fd77:77::/64 drop',
    ]) {
      expect(leaving).toContain(rule)
    }
    expect(script).toContain('iifname != { "lo", "tb0" } ip saddr 192.168.77.0/24 drop')
  })

  test('forwards nothing else in a family in which the host forwarded nothing before', () => {
    expect(script).toContain('meta nfproto ipv4 iifname != "tb0" oifname != "tb0" drop')
    expect(script).not.toContain('meta nfproto ipv6 iifname != "tb0" oifname != "tb0" drop')
  })

  test('names no address that is not a literal, no wildcard and no foreign text', () => {
    expect(script).not.toMatch(/undefined|null|\[object/)
  })
})

test('kernel: every masquerade of a protocol with ports has the range of that protocol', () => {
  const rules = scripts[2]![1].split('\n').filter(line => line.includes('masquerade'))
  expect(rules).toHaveLength(6)
  for (const rule of rules) {
    if (rule.includes('tcp')) expect(rule).toMatch(/masquerade to :20000-29999$/)
    else if (rule.includes('udp')) expect(rule).toMatch(/masquerade to :40000-60999$/)
    else expect(rule).toMatch(/l4proto (1|58) masquerade$/)
  }
  expect(scripts[2]![1]).not.toMatch(/random/)
})

test('kernel with own addresses shares clients out by their address', () => {
  const script = kernelRules({
    ...common,
    addresses: [IpAddress.of('10.2.0.77'), IpAddress.of('10.2.0.78'), IpAddress.of('fd02::77')],
    tcpPorts: { first: 20_000, last: 29_999 },
    udpPorts: { first: 20_000, last: 29_999 },
  })
  expect(script).toMatch(/meta l4proto tcp jhash ip saddr mod 2 seed 0x7b 1 snat ip to 10\.2\.0\.78:20000-29999/)
  expect(script).toMatch(/meta l4proto udp snat ip6 to \[fd02::77\]:20000-29999/)
})

describe('what a table keeps about the time before it', () => {
  test('comes back from a listing, however long', () => {
    for (const length of [1, 120, 121, 5000]) {
      const saved = 'x'.repeat(length)
      expect(readSaved(ownAddressRules({ ...common, addresses: [host], saved }))).toBe(saved)
    }
  })

  test('is refused if it could end the comment', () => {
    expect(() => ownAddressRules({ ...common, addresses: [host], saved: 'a"b' })).toThrow(RangeError)
  })
})

test.each(['', 'a b', 'a;b', 'x'.repeat(33), 'ä'])('refuses the instance name %j', name => {
  expect(() => tableName(name)).toThrow(RangeError)
})
