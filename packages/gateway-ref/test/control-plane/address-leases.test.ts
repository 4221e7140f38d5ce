import { IpAddress, Prefix } from '@twinbore/core/address'
import { describe, expect, test } from 'vitest'
import { AddressLeases } from '../../src/control-plane/address-leases.ts'

const both = { ipv4: true, ipv6: true }
const pools = (ipv4?: string, ipv6?: string, quarantineSeconds = 60) =>
  new AddressLeases({
    ipv4: ipv4 ? Prefix.of(ipv4) : undefined,
    ipv6: ipv6 ? Prefix.of(ipv6) : undefined,
    quarantineSeconds,
  })
const wishFor = (user: string, ...wishes: string[]) => ({
  user,
  ...both,
  wishes: wishes.map(text => IpAddress.of(text)),
})

describe('address leases', () => {
  test('are of each family that there is and that is wanted', () => {
    const leases = pools('10.77.0.0/24', 'fd77::/64')
    expect(`${leases.gateway(4)} ${leases.gateway(6)}`).toBe('10.77.0.1 fd77::1')
    const { addresses, exhausted } = leases.take(wishFor('anna'), 0)
    expect(`${addresses!.ipv4} ${addresses!.ipv6}`).toBe('10.77.0.2 fd77::2')
    expect(exhausted).toEqual([])
    const only6 = leases.take({ ...wishFor('otto'), ipv4: false }, 0).addresses!
    expect(only6.ipv4).toBeUndefined()
    expect(`${only6.ipv6}`).toBe('fd77::3')
  })

  test('of a family that nobody offers are none, and nothing is exhausted', () => {
    expect(pools('10.77.0.0/24').take({ ...wishFor('anna'), ipv4: false }, 0)).toEqual({
      addresses: undefined,
      exhausted: [],
    })
    expect(pools('10.77.0.0/24').gateway(6)).toBeUndefined()
  })

  test('go on with one family when the other is exhausted, and say which', () => {
    const leases = pools('10.77.0.0/30', 'fd77::/64')
    leases.take(wishFor('anna'), 0)
    const second = leases.take(wishFor('otto'), 0)
    expect(second.addresses!.ipv4).toBeUndefined()
    expect(`${second.addresses!.ipv6}`).toBe('fd77::3')
    expect(second.exhausted.map(String)).toEqual(['10.77.0.0/30'])
  })

  test('are the first wish that is free', () => {
    const leases = pools('10.77.0.0/24')
    const wish = wishFor('anna', '10.77.0.50', '10.77.0.60')
    expect(`${leases.take(wish, 0).addresses!.ipv4}`).toBe('10.77.0.50')
    expect(`${leases.take(wish, 0).addresses!.ipv4}`).toBe('10.77.0.60')
    expect(`${leases.take(wish, 0).addresses!.ipv4}`).not.toMatch(/\.(50|60)$/)
    expect(`${leases.take(wishFor('otto', '192.0.2.1'), 0).addresses!.ipv4}`).toMatch(/^10\.77\.0\./)
    expect(leases.size).toBe(4)
  })

  test('that are released rest: their user gets them back, others only when they have rested', () => {
    const leases = pools('10.77.0.0/30')
    const { addresses } = leases.take(wishFor('anna'), 0)
    leases.release(addresses!, 1000)
    expect(leases.size).toBe(0)
    expect(leases.take(wishFor('otto'), 60_999).addresses).toBeUndefined()
    const again = leases.take(wishFor('anna'), 60_999).addresses!
    expect(`${again.ipv4}`).toBe(`${addresses!.ipv4}`)
    leases.release(again, 61_000)
    expect(`${leases.take(wishFor('otto'), 121_000).addresses!.ipv4}`).toBe(`${addresses!.ipv4}`)
  })

  test('that are released twice take nothing from who has them next', () => {
    const leases = pools('10.77.0.0/30', undefined, 0)
    const { addresses } = leases.take(wishFor('anna'), 0)
    leases.release(addresses!, 0)
    leases.release(addresses!, 0)
    expect(leases.take(wishFor('otto'), 1).addresses).toBeDefined()
    expect(leases.take(wishFor('dora'), 1).addresses).toBeUndefined()
  })
})
