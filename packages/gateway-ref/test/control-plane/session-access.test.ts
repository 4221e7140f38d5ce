// What an access policy does to sessions: at login, when they come back, when it changes, and as hours begin and end.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { readPolicy } from '../../src/access/read-policy.ts'
import { readYaml } from '../../src/config/yaml-source.ts'
import { configOf } from '../support/config-of.ts'
import { sessionWorld } from '../support/session-world.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'], now: Date.parse('2026-11-25T10:00:00Z') })
})
afterEach(() => {
  vi.useRealTimers()
})

const staff = '{ name: staff, when: { group: staff }, effect: allow }'
const sick =
  '{ name: sick, when: { group: sick }, effect: restrict, permissions: [{ to: 10.2.0.5, protocol: tcp, ports: 443 }] }'
const remediation = [{ to: '10.2.0.5/32', protocol: 'tcp', ports: [{ first: 443, last: 443 }] }]

function policyOf(...rules: string[]) {
  const { policy, problems } = readPolicy(readYaml(`rules: [${rules.join(', ')}]`, 'policy.yaml'))
  expect(problems.filter(({ severity }) => severity === 'error')).toEqual([])
  return policy
}

function world(...rules: string[]) {
  const made = sessionWorld()
  made.access.policy = policyOf(...rules)
  made.users.set('anna', { groups: ['staff'] })
  return made
}

/** Logs in as `SessionHost` sees it: with what the authenticator said. */
function login({ host, users }: ReturnType<typeof sessionWorld>, username: string, changed: object = {}) {
  const identity = {
    username,
    method: 'password',
    authenticator: 'local',
    groups: [],
    addresses: [],
    claims: {},
  } as const
  const details = { ...identity, ...users.get(username), ...changed }
  return host.openSession({ username, method: 'password', details }, { remoteAddress: '198.51.100.7' })
}

function cookieOf(grant: ReturnType<typeof login>): string {
  if ('refused' in grant) throw new Error(grant.refused)
  return grant.cookie
}

describe('at login', () => {
  test('whom no rule lets in is refused, and told so in the words of the rule', () => {
    const made = world("{ name: others, when: { user: dora }, effect: refuse, text: 'Not today.' }", staff)
    expect(login(made, 'anna')).toHaveProperty('cookie')
    expect(login(made, 'otto')).toEqual({ refused: 'The access policy does not let you in' })
    expect(login(made, 'dora')).toEqual({ refused: 'Not today.' })
    expect(made.host.size).toBe(1)
    const lines = made.log.lines.filter(({ message }) => message === 'access refused')
    expect(lines).toMatchObject([
      { level: 'warn', fields: { user: 'otto', because: 'in none of the groups staff' } },
      { fields: { user: 'dora', rule: 'others' } },
    ])
  })

  test('a session lives no longer than its terms and its token say', () => {
    const made = world(staff)
    made.access.policy = {
      ...policyOf(staff)!,
      grants: [{ name: 'short', when: { type: 'all', of: [] }, terms: { maxSeconds: 100 } }],
    }
    const attempt = made.connect(cookieOf(login(made, 'anna')))
    expect(attempt.granted?.sessionRemainingSeconds).toBe(100)
    const token = { id: 't', issuer: 'i', subject: 's', issuedAt: undefined, expiresAt: Date.now() + 40_000 }
    const other = made.connect(cookieOf(login(made, 'anna', { token })))
    expect(other.granted?.sessionRemainingSeconds).toBe(40)
    vi.advanceTimersByTime(40_000)
    expect(made.told).toContain('closed 2 session-expired')
    expect(made.host.size).toBe(1)
  })
})

describe('a restriction', () => {
  test('is there before the first packet, and survives the data plane', () => {
    const made = world(sick, staff)
    made.users.set('otto', { groups: ['sick'] })
    made.connect(cookieOf(login(made, 'otto')))
    expect(made.commanded('install-session')).toMatchObject({ entry: { permissions: remediation } })
    expect([...made.host.inPlane.restore()][0]).toMatchObject({
      type: 'install-session',
      entry: { permissions: remediation },
    })
  })

  test('comes over a session that runs, cuts its flows, and can be lifted', () => {
    const made = world(sick, staff)
    made.connect(cookieOf(login(made, 'anna')))
    expect(made.commanded('set-permissions')).toBeUndefined()
    made.users.set('anna', { groups: ['sick'] })
    made.told.length = 0
    made.host.reconfigure(configOf())
    expect(made.commanded('set-permissions')).toEqual({ type: 'set-permissions', session: 0, permissions: remediation })
    expect(made.told).toEqual(['released 10.77.0.2'])
    made.users.set('anna', { groups: ['staff'] })
    made.host.reconfigure(configOf())
    expect(made.commanded('set-permissions')).toEqual({ type: 'set-permissions', session: 0, permissions: undefined })
    expect(made.told).toEqual(['released 10.77.0.2'])
    expect(made.host.size).toBe(1)
  })
})

describe('who loses the right to be inside', () => {
  test('is out when the policy changes', () => {
    const made = world(staff)
    made.connect(cookieOf(login(made, 'anna')))
    made.access.policy = policyOf('{ name: nobody, effect: refuse }')
    made.host.reconfigure(configOf())
    expect(made.told).toContain('closed 1 administrator')
    expect(made.host.size).toBe(0)
  })

  test('does not come back with a cookie', () => {
    const made = world(staff)
    const cookie = cookieOf(login(made, 'anna'))
    made.users.set('anna', { groups: [] })
    const attempt = made.connect(cookie)
    expect(attempt.refused).toEqual({ status: 401, reason: 'The access policy does not let you in' })
    expect(made.host.size).toBe(0)
  })

  test('is out within a second of the end of the hours, and only then', () => {
    vi.setSystemTime(Date.parse('2026-11-25T10:29:50Z'))
    const hours = "{ name: hours, when: { group: staff, time: { to: '10:30' } }, effect: allow }"
    const made = world(hours)
    made.connect(cookieOf(login(made, 'anna')))
    vi.advanceTimersByTime(9999)
    expect(made.host.size).toBe(1)
    vi.advanceTimersByTime(1000)
    expect(made.told).toContain('closed 1 administrator')
    expect(made.host.size).toBe(0)
  })
})

test('terms of a grant are told to the client and to the data plane', () => {
  const made = world(staff)
  const { policy } = readPolicy(
    readYaml(
      `
rules: [${staff}]
grants:
  - name: finance
    routes: { include: [10.9.0.0/16], exclude: [10.9.1.0/24] }
    dns: { servers: [10.9.0.2], searchDomains: [finance.example] }
    addresses: [10.77.0.99]
    rate: { upload: 5 Mbit/s }
`,
      'policy.yaml',
    ),
  )
  made.access.policy = policy
  const { granted } = made.connect(cookieOf(login(made, 'anna')))
  expect(granted?.routes.include.map(String)).toContain('10.9.0.0/16')
  expect(granted?.routes.exclude.map(String)).toEqual(['10.9.1.0/24'])
  expect(granted?.dns.servers.map(String)).toEqual(['10.9.0.2'])
  expect(granted?.ipv4?.address.toString()).toBe('10.77.0.99')
  expect(made.commanded('set-rate')).toMatchObject({ rate: { upload: 5e6 } })
})
