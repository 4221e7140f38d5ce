// What sockets of the gateway may be opened to in the name of clients.
import { IpAddress, Prefix, type RouteTable } from '@twinbore/core/address'
import { describe, expect, test } from 'vitest'
import { deniedDestinations } from '../../../src/data-plane/denied-destinations.ts'
import { embeddedIpv4, mayReach } from '../../../src/egress/sockets/exposure.ts'

const table = (allow: readonly string[] = []): RouteTable =>
  deniedDestinations({
    pools: [Prefix.of('192.168.77.0/24'), Prefix.of('fd77:77::/64')],
    ownAddresses: ['127.0.0.1', '::1', '10.2.0.1', 'fd02::1'].map(text => IpAddress.of(text)),
    allowed: allow.map(text => Prefix.of(text)),
  })
const reaches = (address: string, { allow = [] as readonly string[], isOwn = false } = {}): boolean =>
  mayReach(table(allow), IpAddress.of(address), isOwn)

test.each([
  ['an ordinary host', '10.2.0.2'],
  ['an ordinary host', '198.51.100.7'],
  ['an ordinary host', 'fd02::2'],
  ['an ordinary host', '2001:db8::7'],
  ['the neighbour of a refused range', '126.255.255.255'],
  ['the neighbour of a refused range', '128.0.0.1'],
  ['the neighbour of a refused range', '223.255.255.255'],
  ['the neighbour of a refused range', '169.253.255.255'],
  ['the neighbour of a refused range', '1.0.0.0'],
])('%s is reached: %s', (_, address) => {
  expect(reaches(address)).toBe(true)
})

test.each([
  ['this host, which Linux takes for loopback', '0.0.0.0'],
  ['this network', '0.1.2.3'],
  ['loopback', '127.0.0.1'],
  ['loopback', '127.255.255.254'],
  ['link-local and metadata', '169.254.169.254'],
  ['multicast', '224.0.0.251'],
  ['multicast', '239.255.255.250'],
  ['reserved', '240.0.0.1'],
  ['broadcast', '255.255.255.255'],
  ['another client', '192.168.77.9'],
  ['the gateway inside', '192.168.77.1'],
  ['an address of the host', '10.2.0.1'],
  ['an address of the host', 'fd02::1'],
  ['unspecified', '::'],
  ['loopback', '::1'],
  ['link-local', 'fe80::1'],
  ['link-local', 'febf::1'],
  ['multicast', 'ff02::1'],
  ['another client', 'fd77:77::9'],
  ['mapped loopback', '::ffff:127.0.0.1'],
  ['a mapped ordinary host, which nobody needs to write so', '::ffff:10.2.0.2'],
  ['loopback behind NAT64', '64:ff9b::7f00:1'],
  ['metadata behind NAT64', '64:ff9b::169.254.169.254'],
  ['loopback in 6to4', '2002:7f00:1::1'],
  ['loopback in Teredo', '2001::80ff:fffe'],
  ['compatible loopback', '::127.0.0.1'],
  ['compatible address of the host', '::10.2.0.1'],
  ['loopback behind NAT64 of a site', '64:ff9b:1::7f00:1'],
  ['metadata by ISATAP', 'fd00::5efe:a9fe:a9fe'],
  ['metadata by ISATAP, global', '2001:db8::200:5efe:a9fe:a9fe'],
])('%s is refused: %s', (_, address) => {
  expect(reaches(address)).toBe(false)
})

describe('what is allowed by name', () => {
  test.each([
    ['127.0.0.0/8', '127.0.0.1'],
    ['127.0.0.1/32', '127.0.0.1'],
    ['::1/128', '::1'],
    ['10.2.0.1/32', '10.2.0.1'],
    ['169.254.1.0/24', '169.254.1.7'],
    ['64:ff9b::/96', '64:ff9b::10.2.0.2'],
  ])('%s: %s is reached', (allowed, address) => {
    expect(reaches(address, { allow: [allowed] })).toBe(true)
  })

  test.each([
    ['127.0.0.1/32', '127.0.0.2'],
    ['0.0.0.0/0', '127.0.0.1'],
    ['10.0.0.0/8', '10.2.0.1'],
    ['::/0', '::1'],
    ['64:ff9b::/96', '64:ff9b::127.0.0.1'],
    ['64:ff9b::/96', '64:ff9b::10.2.0.1'],
    ['::ffff:0:0/96', '::ffff:169.254.169.254'],
    ['2002::/16', '2002:a9fe:a9fe::1'],
    ['2001::/32', '2001::5601:5601'],
  ])('%s does not make %s reachable: the longest prefix decides, and so does what is inside', (allowed, address) => {
    expect(reaches(address, { allow: [allowed] })).toBe(false)
  })

  test('an address that the system calls its own needs a rule that names it', () => {
    expect(reaches('10.9.9.9', { isOwn: true })).toBe(false)
    expect(reaches('10.9.9.9', { isOwn: true, allow: ['10.9.9.9/32'] })).toBe(true)
    expect(reaches('127.0.0.1', { isOwn: true, allow: ['127.0.0.0/8'] })).toBe(true)
  })
})

test.each([
  ['::ffff:192.0.2.1', '192.0.2.1'],
  ['2002:c000:201::', '192.0.2.1'],
  ['2001:0:1:2:3:4:3fff:fdfe', '192.0.2.1'],
  ['64:ff9b::192.0.2.1', '192.0.2.1'],
  ['2001:db8::1', undefined],
  ['192.0.2.1', undefined],
])('inside %s is %s', (address, inside) => {
  expect(embeddedIpv4(IpAddress.of(address))?.toString()).toBe(inside)
})
