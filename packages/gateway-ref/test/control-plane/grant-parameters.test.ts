import type { TunnelRequest } from '@twinbore/core'
import { IpAddress, Prefix } from '@twinbore/core/address'
import { describe, expect, test } from 'vitest'
import type { GatewayOptions } from '../../src/config/gateway-options.ts'
import { type GrantInput, gatewayAddress, grantParameters } from '../../src/control-plane/grant-parameters.ts'
import { configOf } from '../support/config-of.ts'

const both = { ipv4: IpAddress.of('10.77.0.5'), ipv6: IpAddress.of('fd77::5') }
const request: TunnelRequest = {
  ipv4: true,
  ipv6: true,
  fullIpv6: true,
  addresses: [],
  streamEncodings: [],
  device: {},
}

function grant(
  options: Partial<GatewayOptions> = {},
  { request: asked, ...input }: Partial<Omit<GrantInput, 'request'>> & { request?: Partial<TunnelRequest> } = {},
) {
  return grantParameters(configOf(options), {
    request: { ...request, ...asked },
    leased: both,
    outerFamily: 4,
    sessionRemainingSeconds: 1800,
    ...input,
  })
}

const texts = (list: readonly { toString(): string }[]) => list.map(String)

describe('addresses', () => {
  test('come with the mask and the length of their pool', () => {
    const { ipv4, ipv6 } = grant({ pool: { ipv4: '10.64.0.0/10', ipv6: 'fd77::/48' } })
    expect(`${ipv4!.address} ${ipv4!.netmask}`).toBe('10.77.0.5 255.192.0.0')
    expect(`${ipv6!.address}/${ipv6!.prefixLength}`).toBe('fd77::5/48')
  })

  test('of a family that was not leased are absent, with its name servers and excludes', () => {
    const dns = { servers: ['10.9.9.9', 'fd99::53'] }
    const routes = { exclude: ['192.0.2.0/24', '2001:db8::/32'] }
    const only6 = grant({ dns, routes }, { leased: { ipv6: both.ipv6 } })
    expect(only6.ipv4).toBeUndefined()
    expect(texts(only6.dns.servers)).toEqual(['fd99::53'])
    expect(texts(only6.routes.exclude)).toEqual(['2001:db8::/32'])
    const only4 = grant({ dns, routes }, { leased: { ipv4: both.ipv4 } })
    expect(only4.ipv6).toBeUndefined()
    expect(texts(only4.dns.servers)).toEqual(['10.9.9.9'])
    expect(texts(only4.routes.exclude)).toEqual(['192.0.2.0/24'])
  })
})

describe('routes', () => {
  test('none means everything, and names too', () => {
    const { routes, dns, clientBypass } = grant({ dns: { servers: ['10.9.9.9'] } })
    expect(routes.include).toEqual([])
    expect(clientBypass).toBe(false)
    expect(dns.tunnelAll).toBe(true)
  })

  test('some mean those only; a leased family without any gets the gateway alone, as none would mean all of it', () => {
    const { routes, dns, clientBypass } = grant({
      dns: { servers: ['10.9.9.9'] },
      routes: { include: ['10.0.0.0/8', '192.0.2.0/24'] },
    })
    expect(texts(routes.include)).toEqual(['10.0.0.0/8', '192.0.2.0/24', 'fd77::1/128'])
    expect(clientBypass).toBe(true)
    expect(dns.tunnelAll).toBe(false)
  })

  test('of a family that was not leased are left out', () => {
    const routes = { include: ['10.0.0.0/8', '2001:db8::/32'] }
    expect(texts(grant({ routes }, { leased: { ipv6: both.ipv6 } }).routes.include)).toEqual(['2001:db8::/32'])
    expect(texts(grant({ routes }, { leased: { ipv4: both.ipv4 } }).routes.include)).toEqual(['10.0.0.0/8'])
  })

  test('of 500 rules are all granted', () => {
    const include = Array.from({ length: 400 }, (_, i) => `172.16.${i >> 4}.${(i & 15) << 4}/28`)
    const exclude = Array.from({ length: 100 }, (_, i) => `192.0.${i}.0/24`)
    const { routes } = grant({ routes: { include, exclude } })
    expect(texts(routes.include)).toEqual([...include, 'fd77::1/128'])
    expect(texts(routes.exclude)).toEqual(exclude)
  })

  test('with split domains leave other names alone', () => {
    const { dns } = grant({ dns: { servers: ['10.9.9.9'], splitDomains: ['corp.example'] } })
    expect(dns).toMatchObject({ splitDomains: ['corp.example'], tunnelAll: false })
  })
})

describe('the MTU', () => {
  test.each([
    // Configured, link, outer family, IPv6 inside: granted.
    [1400, undefined, 4, true, 1400],
    [9000, undefined, 4, true, 1434],
    [9000, undefined, 6, true, 1414],
    [9000, 9000, 4, true, 1434],
    [1400, 1492, 4, true, 1400],
    [1400, 1400, 4, true, 1334],
    [1400, 1280, 6, true, 1280],
    [1400, 1280, 4, false, 1214],
    [1400, 576, 4, false, 576],
    [1400, 576, 4, true, 1280],
  ] as const)(
    'of a configured %i, a link of %s, outer IPv%i, inner IPv6 %s is %i',
    (mtu, baseMtu, outerFamily, ipv6, granted) => {
      const leased = ipv6 ? both : { ipv4: both.ipv4 }
      const asked = baseMtu === undefined ? {} : { baseMtu }
      expect(grant({ mtu }, { request: asked, leased, outerFamily }).mtu).toBe(granted)
    },
  )

  test.each([
    ["a stock client's own reckoning is raised", 1390, 1400],
    ["the user's wish is granted", 1300, 1300],
    ['but never below what IPv6 needs (RFC 8200 §5)', 1000, 1280],
    ['nor above what is possible', 1600, 1400],
  ])('%s', (_, mtu, granted) => {
    expect(grant({}, { request: { mtu, baseMtu: 1500 } }).mtu).toBe(granted)
  })
})

test('times are those of the configuration and of the session', () => {
  const session = { maxSeconds: 3000, rekeySeconds: 900, idleSeconds: 600, cookieSeconds: 200, dpdSeconds: 11 }
  const datagram = { port: 8443, appId: new Uint8Array(32) }
  const granted = grant({ session, datagram: { dpdSeconds: 7 } }, { datagram, request: { hostname: 'laptop' } })
  expect(granted).toMatchObject({
    sessionSeconds: 3000,
    sessionRemainingSeconds: 1800,
    idleSeconds: 600,
    disconnectedSeconds: 200,
    hostname: 'laptop',
    stream: { dpdSeconds: 11, rekeySeconds: 900, rekeyMethod: 'new-tunnel' },
    datagram: { ...datagram, dpdSeconds: 7, rekeySeconds: 900, rekeyMethod: 'new-tunnel' },
  })
  expect(grant().datagram).toBeUndefined()
})

test('clients are not asked to renew keys where that is switched off', () => {
  const granted = grant({ session: { rekeySeconds: 0 } }, { datagram: { port: 443, appId: new Uint8Array(32) } })
  expect(granted.stream).toMatchObject({ rekeySeconds: 0, rekeyMethod: 'none' })
  expect(granted.datagram).toMatchObject({ rekeySeconds: 0, rekeyMethod: 'none' })
})

test.each([
  [11, 7, 7],
  [3, 5, 3],
  [0, 5, 5],
  [3, 0, 0],
])('a session probed after %i s and a datagram channel after %i s: the channel after %i s', (session, own, granted) => {
  const datagram = { port: 4433, appId: new Uint8Array(32).fill(7) }
  const options = { session: { dpdSeconds: session }, datagram: { dpdSeconds: own } }
  expect(grant(options, { datagram }).datagram?.dpdSeconds).toBe(granted)
})

test.each([
  ['10.77.0.0/24', '10.77.0.1'],
  ['fd77::/64', 'fd77::1'],
])('the gateway has the first address of the pool %s', (pool, address) => {
  expect(gatewayAddress(Prefix.of(pool)).toString()).toBe(address)
})

describe('a gateway that forwards names', () => {
  test('names itself first, and routes its inside addresses', () => {
    const { dns, routes } = grant({
      dns: { forward: ['10.9.9.9'], servers: ['10.9.9.8'] },
      routes: { include: ['10.0.0.0/24', 'fd99::/64'] },
    })
    expect(texts(dns.servers)).toEqual(['10.77.0.1', 'fd77::1', '10.9.9.8'])
    expect(texts(routes.include)).toEqual(['10.0.0.0/24', '10.77.0.1/32', 'fd99::/64', 'fd77::1/128'])
  })

  test('names only addresses of leased families, and no route where there is one', () => {
    const { dns, routes } = grant(
      { dns: { forward: ['10.9.9.9'] }, routes: { include: ['10.0.0.0/8'] } },
      { leased: { ipv4: both.ipv4 } },
    )
    expect(texts(dns.servers)).toEqual(['10.77.0.1'])
    expect(texts(routes.include)).toEqual(['10.0.0.0/8'])
  })
})
