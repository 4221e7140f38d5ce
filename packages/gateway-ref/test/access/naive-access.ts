import type { AccessFacts, AccessPolicy, ClaimTest, Condition, TimeWindow } from '../../src/access/access-policy.ts'

// The decision again, by other means and without a care for speed: every condition is turned into the set of things that it
// asks for, patterns are regular expressions, hours are looked up in a list of the minutes of a week.

export function naiveDecision(policy: AccessPolicy, facts: AccessFacts): { effect: string; rule: string | undefined } {
  const fitting = policy.rules.filter(({ when }) => naiveHolds(when, facts))
  const [first] = fitting
  return { effect: first?.effect ?? 'refuse', rule: first?.name }
}

export function naiveHolds(condition: Condition, facts: AccessFacts): boolean {
  const like = (text: string | undefined, patterns: readonly { readonly text: string }[]) =>
    text !== undefined && patterns.some(written => globs(written.text).test(text))
  if (condition.type === 'all') return condition.of.map(part => naiveHolds(part, facts)).every(Boolean)
  if (condition.type === 'any') return condition.of.map(part => naiveHolds(part, facts)).includes(true)
  if (condition.type === 'not') return naiveHolds(condition.of, facts) === false
  if (condition.type === 'user') return like(facts.username, condition.patterns)
  if (condition.type === 'user-agent') return like(facts.userAgent, condition.patterns)
  if (condition.type === 'device-id') return like(facts.device.id, condition.patterns)
  if (condition.type === 'platform') return like(facts.device.platform, condition.patterns)
  if (condition.type === 'group') return facts.groups.filter(group => condition.names.includes(group)).length > 0
  if (condition.type === 'method') return condition.names.includes(facts.method)
  if (condition.type === 'authenticator') return condition.names.includes(facts.authenticator)
  if (condition.type === 'claim') return naiveClaim(facts.claims[condition.claim], condition.test)
  if (condition.type === 'compliant') return Boolean(facts.device.compliant) === condition.is
  if (condition.type === 'managed') return Boolean(facts.device.managed) === condition.is
  if (condition.type === 'network') {
    const bits = facts.address && bitsOf(facts.address.bytes)
    return condition.prefixes.some(
      ({ address, length, family }) =>
        facts.address?.family === family && bits?.slice(0, length) === bitsOf(address.bytes).slice(0, length),
    )
  }
  return condition.type === 'time' && naiveHours(condition.window, facts.now)
}

function naiveClaim(value: unknown, test: ClaimTest): boolean {
  if (test.type === 'present') return (value === undefined || value === null) !== test.is
  const items: unknown[] = value === undefined || value === null ? [] : Array.isArray(value) ? value : [value]
  return items.some(item => {
    if (test.type === 'one-of') return test.values.map(wanted => JSON.stringify(wanted)).includes(JSON.stringify(item))
    if (test.type === 'like')
      return typeof item === 'string' && test.patterns.some(({ text }) => globs(text).test(item))
    return typeof item === 'number' && !(item < test.least) && !(item > test.most)
  })
}

/** The minutes of a week, Sunday first, in which a window is open. */
function naiveHours({ days, from, to, zone }: TimeWindow, now: number): boolean {
  const open = new Set<number>()
  const minutes = (to - from + 1440) % 1440 || 1440
  for (const day of days) for (let i = 0; i < minutes; i++) open.add((day * 1440 + from + i) % 10080)
  const shown = new Date(now).toLocaleString('sv-SE', { timeZone: zone })
  const local = new Date(`${shown.replace(' ', 'T')}Z`)
  return open.has(local.getUTCDay() * 1440 + local.getUTCHours() * 60 + local.getUTCMinutes())
}

function globs(text: string): RegExp {
  return new RegExp(`^${text.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '[^]*')}$`, 'iu')
}

function bitsOf(bytes: Uint8Array): string {
  return Array.from(bytes, byte => byte.toString(2).padStart(8, '0')).join('')
}
