import type { TunnelParameters } from '@twinbore/core'
import { IpAddress, Prefix } from '@twinbore/core/address'
import { describe, expect, test } from 'vitest'
import { planRoutes } from '../../src/client/route-plan.ts'
import { parametersOf } from '../support/parameters.ts'

const gateway = '198.51.100.1'
const plan = (parameters: Partial<TunnelParameters>, include: string[] = [], exclude: string[] = [], at = gateway) =>
  planRoutes(
    parametersOf({
      ...parameters,
      routes: { include: include.map(text => Prefix.of(text)), exclude: exclude.map(text => Prefix.of(text)) },
    }),
    IpAddress.of(at),
  )
const halves4 = ['0.0.0.0/1', '128.0.0.0/1']
const halves6 = ['::/1', '8000::/1']

describe('without an include', () => {
  test('each family that is leased goes through the tunnel whole, as halves; the gateway stays outside', () => {
    expect(plan({})).toEqual({ tunnel: [...halves4, ...halves6], outside: ['198.51.100.1/32'] })
    const { ipv6: _, ...only4 } = parametersOf({})
    expect(planRoutes(only4, IpAddress.of('2001:db8::1'))).toEqual({ tunnel: halves4, outside: [] })
  })

  test('a gateway with an IPv6 address stays outside of the IPv6 halves', () => {
    expect(plan({}, [], [], '2001:db8::1').outside).toEqual(['2001:db8::1/128'])
  })

  test('excludes stay outside', () => {
    expect(plan({}, [], ['192.0.2.0/24', '2001:db8::/32']).outside).toEqual([
      '192.0.2.0/24',
      '2001:db8::/32',
      '198.51.100.1/32',
    ])
  })
})

describe('with includes', () => {
  test('only these go through the tunnel, and the gateway only matters where one covers it', () => {
    expect(plan({}, ['10.0.0.0/8', '2001:db8::/32'])).toEqual({ tunnel: ['10.0.0.0/8', '2001:db8::/32'], outside: [] })
    expect(plan({}, ['198.51.100.0/24'])).toEqual({ tunnel: ['198.51.100.0/24'], outside: ['198.51.100.1/32'] })
  })

  test('a family without one is not meant', () => {
    expect(plan({}, ['10.0.0.0/8']).tunnel).toEqual(['10.0.0.0/8'])
  })

  test('a default route is meant as halves', () => {
    expect(plan({}, ['0.0.0.0/0']).tunnel).toEqual(halves4)
  })

  test('an exclude equal to an include wins, a longer one stands beside it', () => {
    expect(plan({}, ['10.0.0.0/8', '172.16.0.0/12'], ['10.0.0.0/8', '172.16.5.0/24'])).toEqual({
      tunnel: ['172.16.0.0/12'],
      outside: ['10.0.0.0/8', '172.16.5.0/24'],
    })
  })

  test('each route appears once', () => {
    expect(plan({}, ['10.0.0.0/8', '10.0.0.0/8'], ['10.1.0.0/16', '10.1.0.0/16'])).toEqual({
      tunnel: ['10.0.0.0/8'],
      outside: ['10.1.0.0/16'],
    })
  })
})
