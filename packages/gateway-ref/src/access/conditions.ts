import type { AccessFacts, ClaimTest, Condition } from './access-policy.ts'
import { isLike, type Pattern } from './pattern.ts'
import { isWithin } from './time-window.ts'

/** What came of a condition, and the words for it. */
export interface Finding {
  readonly holds: boolean
  /** Such as `group is one of staff`: the smallest condition that settled the matter. */
  readonly because: string
}

/** Whether a condition holds, and why. Every condition has an end: the reader bounds how deep they may lie. */
export function examine(condition: Condition, facts: AccessFacts): Finding {
  switch (condition.type) {
    case 'all': {
      // What fails first is the reason; when all hold, they are all the reason.
      const findings: Finding[] = []
      for (const part of condition.of) {
        const finding = examine(part, facts)
        if (!finding.holds) return finding
        findings.push(finding)
      }
      return { holds: true, because: findings.map(({ because }) => because).join('; ') || 'it asks for nothing' }
    }
    case 'any': {
      const findings: Finding[] = []
      for (const part of condition.of) {
        const finding = examine(part, facts)
        if (finding.holds) return finding
        findings.push(finding)
      }
      return { holds: false, because: findings.map(({ because }) => because).join('; ') || 'it names nothing' }
    }
    case 'not': {
      const { holds, because } = examine(condition.of, facts)
      return { holds: !holds, because }
    }
    case 'user':
      return likeness('user', facts.username, condition.patterns)
    case 'user-agent':
      return likeness('user agent', facts.userAgent, condition.patterns)
    case 'device-id':
      return likeness('device', facts.device.id, condition.patterns)
    case 'platform':
      return likeness('platform', facts.device.platform, condition.patterns)
    case 'group': {
      const found = condition.names.find(name => facts.groups.includes(name))
      return found === undefined
        ? { holds: false, because: `in none of the groups ${condition.names.join(', ')}` }
        : { holds: true, because: `in group ${found}` }
    }
    case 'method':
      return membership('method', facts.method, condition.names)
    case 'authenticator':
      return membership('authenticator', facts.authenticator, condition.names)
    case 'claim':
      return examineClaim(condition.claim, condition.test, facts.claims)
    case 'compliant':
      return deviceState('compliant', facts.device.compliant, condition.is)
    case 'managed':
      return deviceState('managed', facts.device.managed, condition.is)
    case 'network': {
      const { address } = facts
      if (!address) return { holds: false, because: 'the source address is not known' }
      const found = condition.prefixes.find(prefix => prefix.contains(address))
      return found
        ? { holds: true, because: `${address} is in ${found}` }
        : { holds: false, because: `${address} is in none of ${condition.prefixes.join(', ')}` }
    }
    case 'time':
      return isWithin(condition.window, facts.now)
        ? { holds: true, because: 'within the hours' }
        : { holds: false, because: 'outside the hours' }
  }
}

/**
 * The claim of a name. A name that begins with `/` is a JSON Pointer (RFC 6901) into nested claims; any other is the whole
 * name, dots and slashes included, as providers use URLs for names.
 */
export function claimValue(claims: Readonly<Record<string, unknown>>, claim: string): unknown {
  if (!claim.startsWith('/')) return Object.hasOwn(claims, claim) ? claims[claim] : undefined
  let value: unknown = claims
  for (const step of claim.slice(1).split('/')) {
    const name = step.replaceAll('~1', '/').replaceAll('~0', '~')
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
    value = (value as Record<string, unknown>)[name]
  }
  return value
}

function examineClaim(claim: string, test: ClaimTest, claims: Readonly<Record<string, unknown>>): Finding {
  const value = claimValue(claims, claim)
  const isThere = value !== undefined && value !== null
  if (test.type === 'present') {
    return { holds: isThere === test.is, because: `claim ${claim} is ${isThere ? 'there' : 'missing'}` }
  }
  if (!isThere) return { holds: false, because: `claim ${claim} is missing` }
  const holds = (Array.isArray(value) ? value : [value]).some(item => passes(item, test))
  return { holds, because: `claim ${claim} is ${holds ? '' : 'not '}${wanted(test)}` }
}

function passes(item: unknown, test: Exclude<ClaimTest, { type: 'present' }>): boolean {
  switch (test.type) {
    case 'one-of':
      return test.values.some(value => value === item)
    case 'like':
      return typeof item === 'string' && test.patterns.some(pattern => isLike(item, pattern))
    case 'range':
      return typeof item === 'number' && item >= test.least && item <= test.most
  }
}

function wanted(test: Exclude<ClaimTest, { type: 'present' }>): string {
  switch (test.type) {
    case 'one-of':
      return test.values.map(value => JSON.stringify(value)).join(' or ')
    case 'like':
      return `like ${test.patterns.map(({ text }) => text).join(' or ')}`
    case 'range':
      return `from ${test.least} to ${test.most}`
  }
}

function likeness(what: string, text: string | undefined, patterns: readonly Pattern[]): Finding {
  if (text === undefined) return { holds: false, because: `${what} is not known` }
  const found = patterns.find(pattern => isLike(text, pattern))
  return found
    ? { holds: true, because: `${what} is like ${found.text}` }
    : { holds: false, because: `${what} is not like ${patterns.map(pattern => pattern.text).join(' or ')}` }
}

function membership(what: string, value: string, names: readonly string[]): Finding {
  return names.includes(value)
    ? { holds: true, because: `${what} is ${value}` }
    : { holds: false, because: `${what} is ${value}, not ${names.join(' or ')}` }
}

function deviceState(what: string, known: boolean | undefined, is: boolean): Finding {
  const word = known === undefined ? `not known to be ${what}` : known ? what : `not ${what}`
  return { holds: (known === true) === is, because: `the device is ${word}` }
}
