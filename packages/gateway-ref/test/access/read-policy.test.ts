import { expect, test } from 'vitest'
import { readPolicy } from '../../src/access/read-policy.ts'
import { formatProblem } from '../../src/config/config-problem.ts'
import { readYaml } from '../../src/config/yaml-source.ts'

function read(text: string) {
  const { policy, problems } = readPolicy(readYaml(text, 'policy.yaml'))
  return { policy, problems: problems.map(formatProblem) }
}

test('reads everything that a policy can say', () => {
  const { policy, problems } = read(`
rules:
  - name: all of it
    when:
      all: [{ group: a }, { user: anna }]
      any: [{ method: token }, { authenticator: [entra, adfs] }]
      not: { network: 203.0.113.0/24 }
      claims:
        tid: corp
        roles: [one, two]
        level: { least: 2 }
        mail: { like: '*@corp.example' }
        admin: { present: false }
        https://corp.example/claim: true
      device: { id: 5f*, platform: linux*, compliant: true, managed: false }
      userAgent: '*openconnect*'
      time: { days: [mon-wed, sat], from: '22:00', to: '06:30', zone: Europe/Berlin }
    effect: restrict
    text: Please mend your device.
    permissions: [{ to: 10.2.0.5 }, { to: 10.2.0.0/24, protocol: tcp, ports: [443, 8000-8080] }]
  - { name: rest, effect: allow }
grants:
  - name: finance
    when: { group: finance }
    routes: { include: [10.3.0.0/16] }
    dns: { servers: [10.3.0.2], splitDomains: [corp.example] }
    addresses: 192.168.77.9
    rate: { upload: none, download: 5 Mbit/s }
    maxSeconds: 600
    permissions: [{ to: 10.3.0.0/16 }]
`)
  expect(problems).toEqual([])
  const [first, rest] = policy!.rules
  expect(first!.when.type === 'all' && first!.when.of.map(({ type }) => type)).toEqual([
    'group',
    'user',
    'any',
    'not',
    ...Array(6).fill('claim'),
    'device-id',
    'platform',
    'compliant',
    'managed',
    'user-agent',
    'time',
  ])
  expect(first!.when.type === 'all' && first!.when.of.at(-1)).toEqual({
    type: 'time',
    window: { days: [1, 2, 3, 6], from: 22 * 60, to: 6 * 60 + 30, zone: 'Europe/Berlin' },
  })
  expect(first!.permissions[1]!.ports).toEqual([
    { first: 443, last: 443 },
    { first: 8000, last: 8080 },
  ])
  expect(rest).toMatchObject({ effect: 'allow', when: { type: 'all', of: [] }, permissions: [] })
  const { terms } = policy!.grants[0]!
  expect(terms.rate).toEqual({ upload: Number.POSITIVE_INFINITY, download: 5_000_000 })
  expect(terms).toMatchObject({ maxSeconds: 600 })
  expect(Object.keys(terms).sort()).toEqual(['addresses', 'dns', 'maxSeconds', 'permissions', 'rate', 'routes'])
})

test.each<[string, string]>([
  ['', 'policy.yaml:1: is missing; write e.g. rules: [{ name: staff, when: { group: staff }, effect: allow }]'],
  ['rules: []', 'policy.yaml:1: rules: is empty: nobody would get in'],
  ['ruels: []', "policy.yaml:1: ruels: unknown key; did you mean 'rules'?"],
  ['rules: [{ name: a, effect: alow }]', "policy.yaml:1: rules[0].effect: 'alow' is not known; write one of allow"],
  ['rules: [{ name: a, effect: allow, when: { grup: x } }]', "rules[0].when.grup: unknown key; did you mean 'group'?"],
  ['rules: [{ name: a, effect: allow, when: { group: [] } }]', 'rules[0].when.group: is empty; write e.g. staff'],
  ['rules: [{ name: a, effect: allow, when: { network: 10.0.0.1/8 } }]', 'has bits set below its length'],
  [
    'rules: [{ name: a, effect: allow, when: { time: { from: "25:00" } } }]',
    "rules[0].when.time.from: '25:00' is not a time",
  ],
  ['rules: [{ name: a, effect: allow, when: { time: { zone: Mars } } }]', "'Mars' is not a time zone"],
  ['rules: [{ name: a, effect: allow, when: { time: { days: mon-fry } } }]', "'mon-fry' is not a day"],
  [
    'rules: [{ name: a, effect: allow, when: { claims: { x: { is: 1, like: b } } } }]',
    'rules[0].when.claims.x: says nothing, or more than one',
  ],
  ['rules: [{ name: a, effect: allow, when: { claims: { x: {} } } }]', 'rules[0].when.claims.x: says nothing'],
  ['rules: [{ name: a, effect: allow, when: { claims: { x: [[1]] } } }]', 'is not text, a number, or true or false'],
  ['rules: [{ name: a, effect: restrict }]', 'rules[0].permissions: is missing; write e.g. [{ to: 10.2.0.5'],
  ['rules: [{ name: a, effect: allow, permissions: [{ to: 10.2.0.5 }] }]', 'stands beside an effect that has none'],
  [
    'rules: [{ name: a, effect: restrict, permissions: [{ to: 10.2.0.5, ports: 443 }] }]',
    'has ports without a protocol',
  ],
  [
    'rules: [{ name: a, effect: restrict, permissions: [{ to: 10.2.0.5, protocol: tcp, ports: 70000 }] }]',
    "'70000' is not a port",
  ],
  ['rules: [{ name: a, effect: allow }, { name: a, effect: allow }]', "rules[1].name: 'a' is the name of rules[0] too"],
  [
    'rules: [{ name: a, effect: allow }]\ngrants:\n  - { name: b, maxSeconds: 1 }',
    "policy.yaml:3: grants[0].maxSeconds: '1' is not",
  ],
])('%j is refused, and told what would be right', (text, message) => {
  const { policy, problems } = read(text)
  expect(policy).toBeUndefined()
  expect(problems.join('\n')).toContain(message)
})

test('conditions may not lie too deep', () => {
  const deep = (levels: number): string => (levels === 0 ? '{ group: a }' : `{ not: ${deep(levels - 1)} }`)
  expect(read(`rules: [{ name: a, effect: allow, when: ${deep(7)} }]`).problems).toEqual([])
  expect(read(`rules: [{ name: a, effect: allow, when: ${deep(8)} }]`).problems.join()).toContain('8 conditions deep')
  expect(read(`rules: [{ name: a, effect: allow, when: ${deep(400)} }]`).policy).toBeUndefined()
})

test('warns of what can be used and is hardly meant', () => {
  expect(read('rules: [{ name: a, effect: allow }, { name: b, effect: refuse }]').problems).toEqual([
    "warning: policy.yaml:1: rules[1]: is never reached: rule 'a' before it fits everybody",
  ])
  expect(read('rules: [{ name: a, effect: refuse }]').problems).toEqual([
    'warning: policy.yaml:1: rules: lets nobody in: every rule refuses, and so does the end of the list',
  ])
})
