import { IpAddress, Prefix } from '@twinbore/core/address'
import { seededRandom } from '@twinbore/core/runtime'
import { describe, expect, test } from 'vitest'
import type { AccessFacts, AccessPolicy, AccessRule, Condition } from '../../src/access/access-policy.ts'
import { claimValue } from '../../src/access/conditions.ts'
import { decideAccess } from '../../src/access/decide-access.ts'
import { naiveDecision } from './naive-access.ts'
import { Dice, randomFacts, randomPolicy } from './random-access.ts'

const anna: AccessFacts = {
  username: 'anna',
  groups: ['staff'],
  method: 'token',
  authenticator: 'entra',
  claims: {},
  device: {},
  userAgent: 'Open AnyConnect VPN Agent v9.01',
  address: IpAddress.of('203.0.113.7'),
  now: Date.parse('2026-11-25T10:00:00Z'),
}

const everybody: Condition = { type: 'all', of: [] }

function rule(name: string, when: Condition, effect: AccessRule['effect'] = 'allow'): AccessRule {
  return { name, when, effect, text: `${name} says`, permissions: [] }
}

function decide(rules: AccessRule[], facts: Partial<AccessFacts> = {}, grants: AccessPolicy['grants'] = []) {
  return decideAccess({ rules, grants }, { ...anna, ...facts })
}

test('the first rule that holds decides, and its text is told', () => {
  const decision = decide([
    rule('contractors', { type: 'group', names: ['contractors'] }, 'refuse'),
    rule('staff', { type: 'group', names: ['staff'] }),
    rule('rest', everybody, 'refuse'),
  ])
  expect(decision).toMatchObject({ effect: 'allow', rule: 'staff', text: 'staff says' })
  expect(decision.trace).toEqual([
    { rule: 'contractors', holds: false, because: 'in none of the groups contractors' },
    { rule: 'staff', holds: true, because: 'in group staff' },
  ])
})

test('nobody gets in when no rule holds', () => {
  expect(decide([])).toMatchObject({ effect: 'refuse', rule: undefined, trace: [], terms: {} })
  expect(decide([rule('never', { type: 'any', of: [] })])).toMatchObject({ effect: 'refuse', rule: undefined })
})

describe('what is not known never holds', () => {
  test.each<[string, Condition]>([
    ['a device', { type: 'compliant', is: true }],
    ['a source', { type: 'network', prefixes: [Prefix.of('0.0.0.0/0'), Prefix.of('::/0')] }],
    ['a user agent', { type: 'user-agent', patterns: [{ text: '*', pieces: ['', ''] }] }],
    ['a claim', { type: 'claim', claim: 'tid', test: { type: 'like', patterns: [{ text: '*', pieces: ['', ''] }] } }],
    // A claim that every object has by birth is not one that the provider made.
    ['a claim that is none', { type: 'claim', claim: 'constructor', test: { type: 'present', is: true } }],
  ])('%s', (_, condition) => {
    const facts = { device: {}, address: undefined, userAgent: undefined }
    expect(decide([rule('known', condition)], facts).effect).toBe('refuse')
  })

  test('a device that is not known to be compliant counts as not compliant', () => {
    const decision = decide([rule('sick', { type: 'compliant', is: false }, 'refuse'), rule('rest', everybody)])
    expect(decision).toMatchObject({ effect: 'refuse', rule: 'sick' })
    expect(decision.trace[0]?.because).toBe('the device is not known to be compliant')
  })
})

test('grants add up, the later ones before the earlier ones; a restriction keeps its own destinations', () => {
  const wide = [{ to: Prefix.of('10.0.0.0/8'), protocol: undefined, ports: undefined }]
  const narrow = [{ to: Prefix.of('10.2.0.5'), protocol: 'tcp', ports: [{ first: 443, last: 443 }] }] as const
  const grants: AccessPolicy['grants'] = [
    { name: 'all', when: everybody, terms: { maxSeconds: 60, permissions: wide } },
    { name: 'staff', when: { type: 'group', names: ['staff'] }, terms: { maxSeconds: 600 } },
    { name: 'others', when: { type: 'group', names: ['others'] }, terms: { maxSeconds: 6 } },
  ]
  expect(decide([rule('in', everybody)], {}, grants)).toMatchObject({
    terms: { maxSeconds: 600, permissions: wide },
    grants: ['all', 'staff'],
  })
  const restricted = { ...rule('sick', everybody, 'restrict'), permissions: narrow }
  expect(decide([restricted], {}, grants).terms).toEqual({ maxSeconds: 600, permissions: narrow })
  expect(decide([rule('out', everybody, 'refuse')], {}, grants)).toMatchObject({ terms: {}, grants: [] })
})

test('says when hours make it worth deciding anew, also when another rule decided', () => {
  const hours: Condition = { type: 'time', window: { days: [3], from: 0, to: 605, zone: 'UTC' } }
  expect(decide([rule('in', everybody), rule('hours', { type: 'not', of: hours })]).changesAt).toBe(
    Date.parse('2026-11-25T10:05:00Z'),
  )
  expect(decide([rule('in', everybody)]).changesAt).toBeUndefined()
})

test('finds nested claims by JSON Pointer, and whole names as they are', () => {
  const claims = { 'https://corp.example/role': 'a', realm: { roles: ['b'], 'x/y': 1 } }
  expect(claimValue(claims, 'https://corp.example/role')).toBe('a')
  expect(claimValue(claims, '/realm/roles/0')).toBe('b')
  expect(claimValue(claims, '/realm/x~1y')).toBe(1)
  expect(claimValue(claims, '/realm/nothing/there')).toBeUndefined()
  expect(claimValue(claims, '/realm/__proto__')).toBeUndefined()
})

test('agrees with a naive reference, and the trace names the rule that decided', () => {
  const seed = Number(process.env.FUZZ_SEED ?? 6)
  const runs = Number(process.env.FUZZ_RUNS ?? 100_000)
  const dice = new Dice(seededRandom(seed))
  const effects = { allow: 0, refuse: 0, restrict: 0 }
  for (let run = 0; run < runs; run++) {
    const policy = randomPolicy(dice)
    const facts = randomFacts(dice)
    const decision = decideAccess(policy, facts)
    const { effect, rule: decided } = naiveDecision(policy, facts)
    if (decision.effect !== effect || decision.rule !== decided) {
      expect.fail(`seed ${seed}, run ${run}: ${JSON.stringify({ policy, facts, decision, effect, decided })}`)
    }
    const last = decision.trace.at(-1)
    if (decided !== undefined && (last?.rule !== decided || !last.holds)) {
      expect.fail(`seed ${seed}, run ${run}: the trace ends with ${JSON.stringify(last)}`)
    }
    if (decision.trace.filter(({ holds }) => holds).length > (decided === undefined ? 0 : 1)) {
      expect.fail(`seed ${seed}, run ${run}: more than one rule holds in the trace`)
    }
    effects[decision.effect]++
  }
  // Otherwise nothing was compared.
  for (const count of Object.values(effects)) expect(count).toBeGreaterThan(runs / 10)
})
