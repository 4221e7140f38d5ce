import { z } from 'zod'
import { formatValue } from '../config/config-problem.ts'
import {
  address,
  domainName,
  duration,
  flag,
  list,
  prefix,
  rate,
  section,
  textSetting,
  word,
} from '../config/setting.ts'
import type {
  AccessGrant,
  AccessPolicy,
  AccessRule,
  AccessTerms,
  ClaimTest,
  ClaimValue,
  Condition,
  Permission,
  PortSpan,
  TimeWindow,
} from './access-policy.ts'
import { pattern } from './pattern.ts'
import { isTimeZone } from './time-window.ts'

// What a policy file may say. Every setting tells its own mistakes; what concerns several is in `readPolicy`.

const MOST_RULES = 1000
const MOST_GRANTS = 1000

/** One value, or a list of them. */
function several<Value>(item: z.ZodType<Value>, example: string): z.ZodType<Value[]> {
  return z.preprocess(
    value => (value === undefined || Array.isArray(value) ? value : [value]),
    list(item, example).min(1, `is empty; write e.g. ${example}, or leave it out`),
  )
}

function text(what: string, example: string): z.ZodType<string> {
  return textSetting(what, example, value => (value.trim() === '' || value.length > 1024 ? undefined : value))
}

const likeness = (what: string, example: string) => text(what, example).transform(pattern)

const dayNames = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']

const days = textSetting<number[]>('a day such as mon, or days such as mon-fri', 'mon-fri', value => {
  const [first = '', last = first, ...more] = value.toLowerCase().split('-')
  const [from, to] = [dayNames.indexOf(first), dayNames.indexOf(last)]
  if (from === -1 || to === -1 || more.length > 0) return undefined
  return Array.from({ length: ((to - from + 7) % 7) + 1 }, (_, i) => (from + i) % 7)
})

const clockTime = (example: string) =>
  textSetting<number>("a time of day from '00:00' to '24:00'", example, value => {
    const match = /^(\d\d):(\d\d)$/.exec(value)
    const minutes = match ? Number(match[1]) * 60 + Number(match[2]) : -1
    return match && Number(match[2]) < 60 && minutes <= 24 * 60 ? minutes : undefined
  })

const time: z.ZodType<TimeWindow> = section(
  {
    days: several(days, '[mon-fri]').prefault(['sun-sat']),
    from: clockTime("'08:00'").prefault('00:00'),
    to: clockTime("'18:00'").prefault('24:00'),
    zone: textSetting<string>('a time zone', 'Europe/Berlin', value =>
      isTimeZone(value) ? value : undefined,
    ).prefault('UTC'),
  },
  "{ days: mon-fri, from: '08:00', to: '18:00', zone: Europe/Berlin }",
).transform(value => ({ ...value, days: [...new Set(value.days.flat())].sort(), to: value.to % (24 * 60) }))

const claimExample = '{ tid: 11111111-2222-3333-4444-555555555555 }'
const scalar: z.ZodType<ClaimValue> = z.union([z.string(), z.number(), z.boolean()], {
  error: ({ input }) => `${formatValue(input)} is not text, a number, or true or false; write e.g. ${claimExample}`,
})

const claimTest: z.ZodType<ClaimTest> = z
  .preprocess(
    value =>
      typeof value === 'object' && value !== null && !Array.isArray(value) ? value : { is: value ?? undefined },
    z.strictObject({
      is: several(scalar, 'member').optional(),
      like: several(likeness('text', '*@corp.example'), "'*@corp.example'").optional(),
      present: flag(true).optional(),
      least: z.number({ error: ({ input }) => `${formatValue(input)} is not a number; write e.g. 2` }).optional(),
      most: z.number({ error: ({ input }) => `${formatValue(input)} is not a number; write e.g. 9` }).optional(),
    }),
  )
  .transform(({ is, like, present, least, most }, context): ClaimTest => {
    const isRange = least !== undefined || most !== undefined
    const tests: ClaimTest[] = [
      ...(is ? [{ type: 'one-of', values: is } as const] : []),
      ...(like ? [{ type: 'like', patterns: like } as const] : []),
      ...(present === undefined ? [] : [{ type: 'present', is: present } as const]),
      ...(isRange ? [{ type: 'range', least: least ?? -Infinity, most: most ?? Infinity } as const] : []),
    ]
    if (tests.length === 1) return tests[0]!
    const message = 'says nothing, or more than one thing; write one of a value, like, present, or least and most'
    context.issues.push({ code: 'custom', message, input: is })
    return z.NEVER
  })

const conditionExample = '{ group: staff }'
const device = section(
  {
    id: several(likeness('a device id', '5f1d2c'), '5f1d2c').optional(),
    platform: several(likeness('a platform', 'linux*'), 'linux*').optional(),
    compliant: flag(true).optional(),
    managed: flag(true).optional(),
  },
  '{ compliant: true }',
)

/** How deep conditions may lie within each other. */
const MOST_LEVELS = 8

function condition(level: number): z.ZodType<Condition> {
  const inner: z.ZodType<Condition> =
    level < MOST_LEVELS
      ? z.lazy(() => condition(level + 1))
      : z.never({ error: `lies more than ${MOST_LEVELS} conditions deep; write more rules instead` })
  return section(
    {
      all: list(inner, `[${conditionExample}]`).optional(),
      any: list(inner, `[${conditionExample}]`).optional(),
      not: inner.optional(),
      user: several(likeness('a user name', 'anna'), 'anna').optional(),
      group: several(text('a group name', 'staff'), 'staff').optional(),
      method: several(text('a login method', 'token'), 'token').optional(),
      authenticator: several(text('the name of an authenticator', 'local'), 'local').optional(),
      claims: z
        .record(z.string(), claimTest, {
          error: ({ input }) => `${formatValue(input)} is not a section of claims; write e.g. ${claimExample}`,
        })
        .optional(),
      device: device.optional(),
      userAgent: several(likeness('a user agent', "'*openconnect*'"), "'*openconnect*'").optional(),
      network: several(prefix('203.0.113.0/24'), '203.0.113.0/24').optional(),
      time: time.optional(),
    },
    conditionExample,
  ).transform((value): Condition => {
    const { all, any, not, user, group, method, authenticator, claims = {}, device = {}, userAgent, network } = value
    const parts: Condition[] = [
      ...(all ?? []),
      ...(any ? [{ type: 'any', of: any } as const] : []),
      ...(not ? [{ type: 'not', of: not } as const] : []),
      ...(user ? [{ type: 'user', patterns: user } as const] : []),
      ...(group ? [{ type: 'group', names: group } as const] : []),
      ...(method ? [{ type: 'method', names: method } as const] : []),
      ...(authenticator ? [{ type: 'authenticator', names: authenticator } as const] : []),
      ...Object.entries(claims).map(([claim, test]) => ({ type: 'claim', claim, test }) as const),
      ...(device.id ? [{ type: 'device-id', patterns: device.id } as const] : []),
      ...(device.platform ? [{ type: 'platform', patterns: device.platform } as const] : []),
      ...(device.compliant === undefined ? [] : [{ type: 'compliant', is: device.compliant } as const]),
      ...(device.managed === undefined ? [] : [{ type: 'managed', is: device.managed } as const]),
      ...(userAgent ? [{ type: 'user-agent', patterns: userAgent } as const] : []),
      ...(network ? [{ type: 'network', prefixes: network } as const] : []),
      ...(value.time ? [{ type: 'time', window: value.time } as const] : []),
    ]
    return parts.length === 1 ? parts[0]! : { type: 'all', of: parts }
  })
}

const when: z.ZodType<Condition> = condition(1)

const portSpan = z.preprocess(
  value => (typeof value === 'number' ? String(value) : value),
  textSetting<PortSpan>('a port, or ports such as 8000-8080', '443', value => {
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(value)
    if (!match) return undefined
    const [first, last] = [Number(match[1]), Number(match[2] ?? match[1])]
    return first >= 1 && first <= last && last <= 65_535 ? { first, last } : undefined
  }),
)

const permissionExample = '{ to: 10.2.0.5, protocol: tcp, ports: 443 }'
const permission: z.ZodType<Permission> = section(
  {
    to: prefix('10.2.0.5'),
    protocol: word(['tcp', 'udp', 'icmp']).optional(),
    ports: several(portSpan, '443').optional(),
  },
  permissionExample,
).transform(({ to, protocol, ports }, context) => {
  if (ports && protocol !== 'tcp' && protocol !== 'udp') {
    const message = 'has ports without a protocol that has them; write protocol: tcp or protocol: udp'
    context.issues.push({ code: 'custom', path: ['ports'], message, input: ports })
  }
  return { to, protocol, ports }
})

const name = textSetting<string>('a name', 'staff', value =>
  /^[\p{L}\p{N}][\p{L}\p{N} ._-]{0,63}$/u.test(value) ? value : undefined,
)
const effects = ['allow', 'refuse', 'restrict'] as const

const rule: z.ZodType<AccessRule> = section(
  {
    name,
    when: when.optional(),
    effect: word(effects),
    text: text('a text of up to 1024 characters', 'Please update your client.').optional(),
    permissions: list(permission, `[${permissionExample}]`).optional(),
  },
  '{ name: staff, when: { group: staff }, effect: allow }',
).transform(({ permissions, when: written, ...rest }, context): AccessRule => {
  const refuse = (message: string) =>
    context.issues.push({ code: 'custom', path: ['permissions'], message, input: permissions })
  if (rest.effect === 'restrict' && !permissions) refuse(`is missing; write e.g. [${permissionExample}]`)
  if (rest.effect !== 'restrict' && permissions)
    refuse("stands beside an effect that has none; write effect: 'restrict'")
  return { ...rest, text: rest.text, when: written ?? always, permissions: permissions ?? [] }
})

const always: Condition = Object.freeze({ type: 'all', of: Object.freeze([]) })

const grant: z.ZodType<AccessGrant> = section(
  {
    name,
    when: when.optional(),
    routes: section(
      {
        include: list(prefix('10.2.0.0/24'), '[10.2.0.0/24]').prefault([]),
        exclude: list(prefix('10.2.0.128/25'), '[10.2.0.128/25]').prefault([]),
      },
      '{ include: [10.2.0.0/24] }',
    ).optional(),
    dns: section(
      {
        servers: list(address('10.2.0.2'), '[10.2.0.2]').prefault([]),
        searchDomains: list(domainName('corp.example'), '[corp.example]').prefault([]),
        splitDomains: list(domainName('corp.example'), '[corp.example]').prefault([]),
      },
      '{ servers: [10.2.0.2] }',
    ).optional(),
    addresses: several(address('192.168.77.9'), '192.168.77.9').optional(),
    rate: section(
      { upload: rate('50 Mbit/s').optional(), download: rate('200 Mbit/s').optional() },
      '{ upload: 50 Mbit/s }',
    ).optional(),
    maxSeconds: duration(3600, 10).optional(),
    permissions: list(permission, `[${permissionExample}]`).optional(),
  },
  '{ name: finance, when: { group: finance }, routes: { include: [10.3.0.0/16] } }',
).transform(({ name: called, when: written, rate: limits, ...terms }): AccessGrant => {
  // `none` reads as `undefined`, and so does what is not written: told apart by the key.
  const rates = limits && Object.fromEntries(Object.entries(limits).map(([key, bits]) => [key, bits ?? Infinity]))
  const given = Object.fromEntries(Object.entries({ ...terms, rate: rates }).filter(([, value]) => value !== undefined))
  return { name: called, when: written ?? always, terms: given as AccessTerms }
})

/** A policy file. */
export const policySchema: z.ZodType<AccessPolicy> = section(
  {
    rules: list(rule, '[{ name: staff, when: { group: staff }, effect: allow }]')
      .min(1, 'is empty: nobody would get in; write e.g. [{ name: everybody, effect: allow }]')
      .max(MOST_RULES, `has more than ${MOST_RULES} rules`),
    grants: list(grant, '[{ name: finance, when: { group: finance }, maxSeconds: 3600 }]')
      .max(MOST_GRANTS, `has more than ${MOST_GRANTS} grants`)
      .prefault([]),
  },
  'rules: [{ name: staff, when: { group: staff }, effect: allow }]',
)

const sections: Readonly<Record<string, readonly string[]>> = {
  '': ['rules', 'grants'],
  rules: ['name', 'when', 'effect', 'text', 'permissions'],
  grants: ['name', 'when', 'routes', 'dns', 'addresses', 'rate', 'maxSeconds', 'permissions'],
  permissions: ['to', 'protocol', 'ports'],
  device: ['id', 'platform', 'compliant', 'managed'],
  time: ['days', 'from', 'to', 'zone'],
  claims: ['is', 'like', 'present', 'least', 'most'],
  routes: ['include', 'exclude'],
  dns: ['servers', 'searchDomains', 'splitDomains'],
  rate: ['upload', 'download'],
}
const conditionNames = [
  'all',
  'any',
  'not',
  'user',
  'group',
  'method',
  'authenticator',
  'claims',
  'device',
  'userAgent',
  'network',
  'time',
]

/** The names that may stand in the section at a path. */
export function namesIn(path: readonly (string | number)[]): readonly string[] {
  const steps = path.filter(step => typeof step === 'string')
  // What stands below `claims` is named by the provider.
  const last = steps.at(-2) === 'claims' ? 'claims' : (steps.at(-1) ?? '')
  return sections[last] ?? conditionNames
}
