import { AddressPool, type AddressPoolOptions, IpAddress, type Lease, Prefix } from '@twinbore/core/address'
import { machineComplianceTests } from '@twinbore/core/testing'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

function taken(pool: AddressPool, user: string, now = 0, preferred?: string): Lease {
  const outcome = pool.take(user, now, preferred === undefined ? undefined : IpAddress.of(preferred))
  if (outcome.type !== 'leased') throw new Error(`refused: ${outcome.reason}`)
  return outcome.lease
}

const addressOf = (pool: AddressPool, user: string, now = 0, preferred?: string) =>
  `${taken(pool, user, now, preferred).address}`

describe('addresses that are leased', () => {
  test('IPv4: all but the network, the gateway and the broadcast address, then a refusal', () => {
    const pool = new AddressPool({ prefix: '192.168.77.0/29' })
    expect(`${pool.gateway}`).toBe('192.168.77.1')
    const addresses = ['a', 'b', 'c', 'd', 'e'].map(user => addressOf(pool, user))
    expect(addresses).toEqual([2, 3, 4, 5, 6].map(host => `192.168.77.${host}`))
    expect(pool.take('f', 0)).toEqual({ type: 'refused', reason: 'exhausted', leased: 5, quarantined: 0 })
  })

  test('IPv6: all but the subnet-router anycast address and the gateway', () => {
    const pool = new AddressPool({ prefix: 'fd77:77::/125' })
    const addresses = ['a', 'b', 'c', 'd', 'e', 'f'].map(user => addressOf(pool, user))
    expect(addresses).toEqual([2, 3, 4, 5, 6, 7].map(host => `fd77:77::${host}`))
    expect(pool.take('g', 0).type).toBe('refused')
  })

  test('never a gateway of one’s own choice or what is excluded', () => {
    const pool = new AddressPool({
      prefix: '10.0.0.0/28',
      gateway: '10.0.0.14',
      exclude: ['10.0.0.2', '10.0.0.4/30', Prefix.of('172.16.0.0/12'), IpAddress.of('10.0.0.9')],
    })
    const usable = [1, 3, 8, 10, 11, 12, 13]
    expect(pool.stats().capacity).toBe(usable.length)
    expect(usable.map(host => addressOf(pool, `user ${host}`))).toEqual(usable.map(host => `10.0.0.${host}`))
    expect(pool.take('one more', 0).type).toBe('refused')
  })

  test('a /8 and a /64 cost nothing before they are used', () => {
    const large = new AddressPool({ prefix: '10.0.0.0/8' })
    expect(large.stats().capacity).toBe(2 ** 24 - 3)
    expect(addressOf(large, 'a', 0, '10.255.255.254')).toBe('10.255.255.254')
    expect(addressOf(large, 'b', 0, '10.255.255.255')).toBe('10.0.0.2')
    const huge = new AddressPool({ prefix: 'fd77::/64' })
    expect(huge.stats().capacity).toBe(2 ** 32 - 2)
    expect(addressOf(huge, 'a', 0, 'fd77::ffff:ffff')).toBe('fd77::ffff:ffff')
    expect(addressOf(huge, 'b', 0, 'fd77::1:0:0')).toBe('fd77::2')
  })
})

describe('who gets which address', () => {
  test('a user who comes back gets the address again, also within quarantine', () => {
    const pool = new AddressPool({ prefix: '10.0.0.0/24' })
    const lease = taken(pool, 'alice', 0)
    taken(pool, 'bob', 0)
    pool.release(lease, 1000)
    expect(addressOf(pool, 'alice', 2000)).toBe('10.0.0.2')
    const again = pool.leaseOf(IpAddress.of('10.0.0.2'))!
    pool.release(again, 3000)
    expect(addressOf(pool, 'carol', 500_000)).toBe('10.0.0.4')
    expect(addressOf(pool, 'alice', 1_000_000)).toBe('10.0.0.2')
  })

  test('others get it only after the quarantine, and only when nothing else is left', () => {
    const pool = new AddressPool({ prefix: '10.0.0.0/29', quarantineMs: 1000 })
    const leases = ['a', 'b', 'c', 'd', 'e'].map(user => taken(pool, user))
    pool.release(leases[1]!, 5000)
    pool.release(leases[3]!, 5100)
    expect(pool.take('f', 5999)).toEqual({ type: 'refused', reason: 'exhausted', leased: 3, quarantined: 2 })
    expect(addressOf(pool, 'f', 6000)).toBe('10.0.0.3')
    expect(pool.take('g', 6099).type).toBe('refused')
    expect(addressOf(pool, 'g', 6100)).toBe('10.0.0.5')
  })

  test('the binding of the user who is absent the longest goes first', () => {
    const pool = new AddressPool({ prefix: '10.0.0.0/29', quarantineMs: 0 })
    const leases = ['a', 'b', 'c', 'd', 'e'].map(user => taken(pool, user))
    for (const [i, lease] of [4, 0, 2].map(place => leases[place]!).entries()) pool.release(lease, 100 + i)
    expect(addressOf(pool, 'new', 200)).toBe('10.0.0.6')
    expect(addressOf(pool, 'c', 200)).toBe('10.0.0.4')
    expect(addressOf(pool, 'newer', 200)).toBe('10.0.0.2')
    expect(pool.take('a', 200).type).toBe('refused')
  })

  test('a preferred address is given when it is free, and otherwise another one', () => {
    const pool = new AddressPool({ prefix: '10.0.0.0/24', quarantineMs: 1000 })
    expect(addressOf(pool, 'a', 0, '10.0.0.50')).toBe('10.0.0.50')
    expect(addressOf(pool, 'b', 0, '10.0.0.50')).toBe('10.0.0.2')
    for (const never of ['10.0.0.0', '10.0.0.1', '10.0.0.255', '10.0.1.7', 'fd00::7']) {
      expect(addressOf(pool, `wants ${never}`, 0, never)).not.toBe(never)
    }
    pool.release(pool.leaseOf(IpAddress.of('10.0.0.50'))!, 10)
    expect(addressOf(pool, 'c', 20, '10.0.0.50')).not.toBe('10.0.0.50')
    expect(addressOf(pool, 'a', 20, '10.0.0.50')).toBe('10.0.0.50')
  })

  test('a user may hold several leases; only the last one that ended is bound', () => {
    const pool = new AddressPool({ prefix: '10.0.0.0/24', quarantineMs: 10 })
    const [first, second] = [taken(pool, 'a'), taken(pool, 'a')]
    expect(`${first.address} ${second.address}`).toBe('10.0.0.2 10.0.0.3')
    pool.release(first, 0)
    pool.handleDeadline(50)
    pool.release(second, 100)
    expect(pool.stats().bound).toBe(0)
    pool.handleDeadline(500)
    expect(pool.stats()).toEqual({ capacity: 253, leased: 0, quarantined: 0, bound: 1 })
    expect(addressOf(pool, 'a', 500)).toBe('10.0.0.3')
    expect(addressOf(pool, 'b', 500)).toBe('10.0.0.2')
  })

  test('of two addresses that a user gave back at nearly the same time, the last is bound', () => {
    const pool = new AddressPool({ prefix: '10.0.0.0/24', quarantineMs: 10 })
    const [first, second] = [taken(pool, 'a'), taken(pool, 'a')]
    pool.release(first, 0)
    pool.release(second, 1)
    pool.handleDeadline(500)
    expect(pool.stats()).toMatchObject({ quarantined: 0, bound: 1 })
    expect(addressOf(pool, 'b', 500)).toBe('10.0.0.2')
    expect(addressOf(pool, 'c', 500)).toBe('10.0.0.4')
    expect(addressOf(pool, 'a', 500)).toBe('10.0.0.3')
  })

  test('a forgotten address that somebody asked for is not given to anybody else', () => {
    const pool = new AddressPool({ prefix: '10.0.0.0/24', quarantineMs: 0, maxBindings: 0 })
    for (const lease of ['a', 'b'].map(user => taken(pool, user))) pool.release(lease, 0)
    pool.handleDeadline(1)
    const preferred = addressOf(pool, 'c', 2, '10.0.0.3')
    const others = ['d', 'e', 'f'].map(user => addressOf(pool, user, 3))
    expect([preferred, ...others.sort()]).toEqual(['10.0.0.3', '10.0.0.2', '10.0.0.4', '10.0.0.5'])
  })

  test('bindings are bounded: the longest absent is forgotten, and its address used before new ones', () => {
    const pool = new AddressPool({ prefix: '10.0.0.0/24', quarantineMs: 0, maxBindings: 2 })
    const leases = ['a', 'b', 'c'].map(user => taken(pool, user))
    for (const [i, lease] of leases.entries()) pool.release(lease, i)
    pool.handleDeadline(10)
    expect(pool.stats().bound).toBe(2)
    expect(addressOf(pool, 'd', 10)).toBe('10.0.0.2')
    expect(addressOf(pool, 'a', 10)).toBe('10.0.0.5')
    expect(addressOf(pool, 'c', 10)).toBe('10.0.0.4')
  })
})

describe('the life of a lease', () => {
  test('ends at its deadline unless it is renewed', () => {
    const pool = new AddressPool({ prefix: '10.0.0.0/24', leaseMs: 1000, quarantineMs: 500 })
    const lease = taken(pool, 'a', 0)
    expect([lease.expiresAt, pool.deadline]).toEqual([1000, 1000])
    const renewed = pool.renew(lease, 600)!
    expect([renewed.id, renewed.expiresAt, pool.deadline]).toEqual([lease.id, 1600, 1600])
    pool.handleDeadline(1599)
    expect(pool.poll()).toBeUndefined()
    pool.handleDeadline(1600)
    expect(pool.poll()).toEqual({ type: 'lease-expired', lease: renewed })
    expect(pool.renew(renewed, 1600)).toBeUndefined()
    expect(pool.release(renewed, 1600)).toBe(false)
    expect(pool.deadline).toBe(2100)
  })

  test('a late handleDeadline doesn’t lengthen the quarantine', () => {
    const pool = new AddressPool({ prefix: '10.0.0.0/30', leaseMs: 1000, quarantineMs: 500 })
    taken(pool, 'a', 0)
    expect(addressOf(pool, 'b', 1500)).toBe('10.0.0.2')
  })

  test('lasts until it is released by default', () => {
    const pool = new AddressPool({ prefix: '10.0.0.0/24' })
    expect(taken(pool, 'a', 0).expiresAt).toBe(Infinity)
    expect(pool.deadline).toBeUndefined()
  })

  test('a lease that has ended can’t end the next one of its address', () => {
    const pool = new AddressPool({ prefix: '10.0.0.0/30', quarantineMs: 0 })
    const old = taken(pool, 'a', 0)
    expect(pool.release(old, 1)).toBe(true)
    const next = taken(pool, 'b', 2)
    expect(next.address.equals(old.address)).toBe(true)
    expect(pool.release(old, 3)).toBe(false)
    expect(pool.leaseOf(next.address)).toEqual(next)
  })
})

describe.each<[string, AddressPoolOptions]>([
  ['IPv4', { prefix: '10.0.0.0/28', exclude: ['10.0.0.5'], quarantineMs: 40, leaseMs: 100, maxBindings: 3 }],
  ['IPv6', { prefix: 'fd00::/124', exclude: ['fd00::5'], quarantineMs: 40, leaseMs: 100, maxBindings: 3 }],
])('any history of an %s pool', (_, options) => {
  const user = fc.integer({ min: 0, max: 11 }).map(number => `user ${number}`)
  const step = fc.record({
    wait: fc.nat({ max: 30 }),
    act: fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({ take: user, preferred: fc.option(fc.nat({ max: 15 }), { nil: undefined, freq: 3 }) }),
      },
      { weight: 3, arbitrary: fc.record({ release: fc.nat() }) },
      { weight: 2, arbitrary: fc.record({ renew: fc.nat() }) },
    ),
  })
  const { quarantineMs, leaseMs } = options as { quarantineMs: number; leaseMs: number }

  test('two live leases never share an address, reserved ones stay free, quarantine holds, refusal means exhausted (model)', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), steps => {
        const pool = new AddressPool(options)
        const base = pool.prefix.address.toNumber()
        const live = new Map<string, Lease>()
        const quarantine = new Map<string, { user: string; until: number }>()
        const everySeen: Lease[] = []
        let now = 0
        const passTime = () => {
          for (const [address, lease] of live) {
            if (lease.expiresAt > now) continue
            live.delete(address)
            quarantine.set(address, { user: lease.user, until: lease.expiresAt + quarantineMs })
          }
          for (const [address, { until }] of quarantine) if (until <= now) quarantine.delete(address)
        }
        for (const { wait, act } of steps) {
          now += wait
          passTime()
          if ('take' in act) {
            const preferred =
              act.preferred === undefined
                ? undefined
                : IpAddress.fromNumber(base + BigInt(act.preferred), pool.prefix.family)
            const outcome = pool.take(act.take, now, preferred)
            if (outcome.type === 'refused') {
              expect(live.size + quarantine.size).toBe(pool.stats().capacity)
              continue
            }
            const { lease } = outcome
            const address = `${lease.address}`
            expect(live.has(address)).toBe(false)
            const held = quarantine.get(address)
            if (held) expect(held.user).toBe(act.take)
            const offset = Number(lease.address.toNumber() - base)
            expect([0, 1, 5].includes(offset)).toBe(false)
            if (pool.prefix.family === 4) expect(offset).not.toBe(15)
            expect(offset).toBeLessThan(16)
            quarantine.delete(address)
            live.set(address, lease)
            everySeen.push(lease)
          } else if (everySeen.length > 0) {
            const lease = everySeen[('release' in act ? act.release : act.renew) % everySeen.length]!
            const alive = live.get(`${lease.address}`)?.id === lease.id
            if ('release' in act) {
              expect(pool.release(lease, now)).toBe(alive)
              if (!alive) continue
              live.delete(`${lease.address}`)
              quarantine.set(`${lease.address}`, { user: lease.user, until: now + quarantineMs })
            } else {
              const renewed = pool.renew(lease, now)
              expect(renewed !== undefined).toBe(alive)
              if (renewed) live.set(`${lease.address}`, { ...renewed, expiresAt: now + leaseMs })
            }
          }
          passTime()
          const stats = pool.stats()
          expect([stats.leased, stats.quarantined]).toEqual([live.size, quarantine.size])
          expect(stats.bound).toBeLessThanOrEqual(3)
        }
        for (const lease of live.values()) expect(pool.leaseOf(lease.address)?.id).toBe(lease.id)
      }),
      { numRuns: 400 },
    )
  })
})

test('a hundred thousand users come and go without the pool walking through its whole prefix', () => {
  const pool = new AddressPool({ prefix: '10.0.0.0/8', quarantineMs: 100, maxBindings: 1000 })
  let highest = 0n
  for (let i = 0; i < 100_000; i++) {
    const lease = taken(pool, `user ${i}`, i)
    if (lease.address.toNumber() > highest) highest = lease.address.toNumber()
    pool.release(lease, i)
  }
  expect(highest - pool.prefix.address.toNumber()).toBeLessThan(1200n)
  expect(pool.stats()).toMatchObject({ leased: 0, bound: 1000 })
})

test('a full /16 is leased, each address once', () => {
  const pool = new AddressPool({ prefix: '10.1.0.0/16' })
  const seen = new Set<string>()
  for (let i = 0; i < 65_533; i++) seen.add(addressOf(pool, `user ${i}`))
  expect(seen.size).toBe(65_533)
  expect(pool.take('one more', 0).type).toBe('refused')
})

test.each<[string, AddressPoolOptions]>([
  ['leaves no address', { prefix: '10.0.0.0/31' }],
  ['leaves no address', { prefix: '10.0.0.1/32' }],
  ['leaves no address', { prefix: 'fd00::/127' }],
  ['leaves no address', { prefix: '10.0.0.0/24', exclude: ['10.0.0.0/8'] }],
  ['not a prefix', { prefix: 'nonsense' }],
  ['gateway 10.0.1.1 must be inside', { prefix: '10.0.0.0/24', gateway: '10.0.1.1' }],
  ['quarantineMs', { prefix: '10.0.0.0/24', quarantineMs: -1 }],
  ['leaseMs', { prefix: '10.0.0.0/24', leaseMs: 0 }],
  ['maxBindings', { prefix: '10.0.0.0/24', maxBindings: Number.NaN }],
])('options that make no pool: %s', (message, options) => {
  expect(() => new AddressPool(options)).toThrow(message)
})

describe('keeps the machine contract', () => {
  const checks = machineComplianceTests(() => {
    const machine = new AddressPool({ prefix: '10.0.0.0/28', leaseMs: 50, quarantineMs: 20 })
    const inputs = Array.from({ length: 20 }, (_, i) => (now: number) => {
      const outcome = machine.take(`user ${i % 7}`, now)
      if (outcome.type === 'leased' && i % 3 === 0) machine.release(outcome.lease, now)
    })
    return { machine, inputs }
  })
  test.each(checks)('$name', ({ run }) => run())
})
