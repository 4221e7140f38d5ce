import { IpAddress, Prefix } from '@twinbore/core/address'
import { type Random, randomBelow } from '@twinbore/core/runtime'
import type { AccessFacts, AccessPolicy, ClaimTest, Condition } from '../../src/access/access-policy.ts'
import { pattern } from '../../src/access/pattern.ts'

// Policies and facts made of few words, so that they meet often.

const groups = ['staff', 'admins', 'contractors', 'finance']
const users = ['anna', 'bert', 'Carla@corp.example', 'dora@other.example']
const patterns = ['*', 'anna', 'A*', '*@corp.example', '*r*', 'x*'].map(pattern)
const agents = ['Open AnyConnect VPN Agent v9.01', 'twinbore/0.1', 'AnyConnect Darwin', 'rx']
const claims = ['tid', 'amr', 'level', 'roles', '']
const values = ['abc', 'mfa', 'pwd', 2, 5, true, false, '']
const zones = ['UTC', 'Europe/Berlin', 'Asia/Kathmandu', 'America/New_York']
const prefixes = ['0.0.0.0/0', '203.0.113.0/24', '203.0.113.64/26', '198.51.100.7', '2001:db8::/32', '::/0'].map(
  Prefix.of,
)
const addresses = ['203.0.113.70', '203.0.113.1', '198.51.100.7', '2001:db8::1', '2001:db9::1'].map(IpAddress.of)

/** Chooses. */
export class Dice {
  private readonly random: Random
  constructor(random: Random) {
    this.random = random
  }
  below(limit: number): number {
    return randomBelow(this.random, limit)
  }
  one<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)]!
  }
  /** One or more. */
  some<Item>(items: readonly Item[]): Item[] {
    return Array.from({ length: 1 + this.below(3) }, () => this.one(items))
  }
  chance(percent: number): boolean {
    return this.below(100) < percent
  }
}

export function randomPolicy(dice: Dice): AccessPolicy {
  return {
    rules: Array.from({ length: dice.below(6) }, (_, i) => ({
      name: `rule ${i}`,
      when: randomCondition(dice, 0),
      effect: dice.one(['allow', 'refuse', 'restrict'] as const),
      text: undefined,
      permissions: [],
    })),
    grants: [],
  }
}

function randomCondition(dice: Dice, level: number): Condition {
  const inner = () => Array.from({ length: dice.below(4) }, () => randomCondition(dice, level + 1))
  switch (dice.below(level < 3 ? 15 : 12)) {
    case 0:
      return { type: dice.one(['user', 'user-agent', 'device-id', 'platform'] as const), patterns: dice.some(patterns) }
    case 1:
    case 2:
      return { type: 'group', names: dice.some(groups) }
    case 3:
      return { type: 'method', names: dice.some(['token', 'password']) }
    case 4:
      return { type: 'authenticator', names: dice.some(['entra', 'users']) }
    case 5:
      return { type: 'compliant', is: dice.chance(50) }
    case 6:
      return { type: 'managed', is: dice.chance(50) }
    case 7:
      return { type: 'network', prefixes: dice.some(prefixes) }
    case 8: {
      const window = { from: dice.below(1440), to: dice.below(1440), zone: dice.one(zones) }
      return { type: 'time', window: { days: dice.some([0, 1, 2, 3, 4, 5, 6]), ...window } }
    }
    case 9:
    case 10:
    case 11:
      return { type: 'claim', claim: dice.one(claims), test: randomTest(dice) }
    case 12:
      return { type: 'not', of: randomCondition(dice, level + 1) }
    case 13:
      return { type: 'any', of: inner() }
    default:
      return { type: 'all', of: inner() }
  }
}

function randomTest(dice: Dice): ClaimTest {
  switch (dice.below(4)) {
    case 0:
      return { type: 'present', is: dice.chance(50) }
    case 1:
      return { type: 'like', patterns: dice.some(patterns) }
    case 2:
      return { type: 'range', least: dice.below(4), most: 3 + dice.below(4) }
    default:
      return { type: 'one-of', values: dice.some(values) }
  }
}

export function randomFacts(dice: Dice): AccessFacts {
  const maybe = <Value>(value: Value): Value | undefined => (dice.chance(70) ? value : undefined)
  const held: Record<string, unknown> = {}
  for (const claim of claims) {
    if (dice.chance(30)) continue
    held[claim] = dice.one<() => unknown>([() => dice.one(values), () => dice.some(values), () => [], () => null])()
  }
  return {
    username: dice.one(users),
    groups: dice.chance(80) ? dice.some(groups) : [],
    method: dice.one(['token', 'password', 'certificate']),
    authenticator: dice.one(['entra', 'users', 'adfs']),
    claims: held,
    device: {
      id: maybe(dice.one(users)),
      platform: maybe(dice.one(agents)),
      compliant: maybe(dice.chance(50)),
      managed: maybe(dice.chance(50)),
    },
    userAgent: maybe(dice.one(agents)),
    address: maybe(dice.one(addresses)),
    now: Date.UTC(2026, 0, 1) + dice.below(365 * 24 * 60) * 60_000 + dice.below(60_000),
  }
}
