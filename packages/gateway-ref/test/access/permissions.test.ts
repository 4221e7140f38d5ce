import { IpAddress, Prefix } from '@twinbore/core/address'
import { expect, test } from 'vitest'
import { claimFacts } from '../../src/access/claim-facts.ts'
import { permits, readDestination } from '../../src/access/permissions.ts'

test('reads destinations as people write them', () => {
  expect(readDestination('tcp 10.2.0.5:443')).toEqual({ protocol: 'tcp', address: IpAddress.of('10.2.0.5'), port: 443 })
  expect(readDestination('udp [2001:db8::1]:53')).toMatchObject({ protocol: 'udp', port: 53 })
  expect(readDestination('icmp 2001:db8::1')).toMatchObject({ protocol: 'icmp' })
  for (const wrong of [
    '10.2.0.5:443',
    'tcp 10.2.0.5',
    'tcp 10.2.0.5:0',
    'tcp [10.2.0.5]:1',
    'tcp 2001:db8::1:1',
    'sctp 10.2.0.5:1',
    '',
  ]) {
    expect(readDestination(wrong)).toBeUndefined()
  }
})

test('a permission covers prefix, protocol and ports', () => {
  const permissions = [
    { to: Prefix.of('10.2.0.0/24'), protocol: 'tcp', ports: [{ first: 443, last: 444 }] },
    { to: Prefix.of('2001:db8::/32'), protocol: undefined, ports: undefined },
  ] as const
  const may = (text: string) => permits(permissions, readDestination(text)!)
  expect(['tcp 10.2.0.9:443', 'tcp 10.2.0.9:444', 'udp [2001:db8::1]:1', 'icmp 2001:db8::1'].map(may)).toEqual(
    Array(4).fill(true),
  )
  expect(
    ['tcp 10.2.0.9:445', 'udp 10.2.0.9:443', 'icmp 10.2.0.9', 'tcp 10.2.1.9:443', 'icmp 2001:db9::1'].map(may),
  ).toEqual(Array(5).fill(false))
  expect(permits([], readDestination('tcp 10.2.0.9:443')!)).toBe(false)
  expect(permits(undefined, readDestination('tcp 10.2.0.9:443')!)).toBe(true)
})

test('claims say who somebody is; what is of another kind says nothing', () => {
  expect(
    claimFacts({ preferred_username: 'anna', groups: ['a', 7, 'b'], roles: 'b', deviceid: 'x', compliant: 'True' }),
  ).toEqual({
    username: 'anna',
    groups: ['a', 'b'],
    device: { id: 'x', compliant: true, managed: undefined },
  })
  expect(claimFacts({ preferred_username: 7, sub: 's', compliant: 1 })).toEqual({
    username: 's',
    groups: [],
    device: { id: undefined, compliant: undefined, managed: undefined },
  })
  expect(claimFacts({}).username).toBeUndefined()
})
