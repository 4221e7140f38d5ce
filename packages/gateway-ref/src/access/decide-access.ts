import type { AccessEffect, AccessFacts, AccessPolicy, AccessTerms, Condition, Permission } from './access-policy.ts'
import { examine } from './conditions.ts'
import { nextChange } from './time-window.ts'

/** What a policy says of somebody, and how it came to it. */
export interface AccessDecision {
  readonly effect: AccessEffect
  /** The rule that decided; `undefined` when none held, which is a refusal. */
  readonly rule: string | undefined
  /** What the user is told. */
  readonly text: string | undefined
  /** What the session gets; empty with a refusal. With `restrict`, `permissions` are those of the rule. */
  readonly terms: AccessTerms
  /** The grants that `terms` were made of. */
  readonly grants: readonly string[]
  /** The rules that were looked at, in their order; the last one decided, if `rule` is set. */
  readonly trace: readonly TraceStep[]
  /** When it is to be decided anew because hours begin or end (wall clock, ms); `undefined` when time plays no part. */
  readonly changesAt: number | undefined
}

export interface TraceStep {
  readonly rule: string
  readonly holds: boolean
  readonly because: string
}

/** Decides whether somebody gets in, and to what. Pure: the same facts have the same answer. */
export function decideAccess(policy: AccessPolicy, facts: AccessFacts): AccessDecision {
  const trace: TraceStep[] = []
  const changesAt = nextChangeOf(policy, facts.now)
  for (const { name, when, effect, text, permissions } of policy.rules) {
    const { holds, because } = examine(when, facts)
    trace.push({ rule: name, holds, because })
    if (!holds) continue
    const { terms, grants } = effect === 'refuse' ? nothing : grantedTerms(policy, facts, effect, permissions)
    return { effect, rule: name, text, terms, grants, trace, changesAt }
  }
  return { effect: 'refuse', rule: undefined, text: undefined, ...nothing, trace, changesAt }
}

const nothing = Object.freeze({ terms: Object.freeze({}), grants: Object.freeze([]) })

function grantedTerms(
  policy: AccessPolicy,
  facts: AccessFacts,
  effect: AccessEffect,
  permissions: readonly Permission[],
): Pick<AccessDecision, 'terms' | 'grants'> {
  const fitting = policy.grants.filter(({ when }) => examine(when, facts).holds)
  const terms: AccessTerms = Object.assign({}, ...fitting.map(grant => grant.terms))
  return {
    // A grant widens what somebody may reach, but never beyond what a restriction leaves.
    terms: effect === 'restrict' ? { ...terms, permissions } : terms,
    grants: fitting.map(({ name }) => name),
  }
}

function nextChangeOf({ rules, grants }: AccessPolicy, now: number): number | undefined {
  let next: number | undefined
  for (const { when } of [...rules, ...grants]) {
    const change = changeOf(when, now)
    if (change !== undefined && (next === undefined || change < next)) next = change
  }
  return next
}

function changeOf(condition: Condition, now: number): number | undefined {
  switch (condition.type) {
    case 'all':
    case 'any':
      return condition.of.reduce<number | undefined>((next, part) => {
        const change = changeOf(part, now)
        return change === undefined ? next : Math.min(change, next ?? change)
      }, undefined)
    case 'not':
      return changeOf(condition.of, now)
    case 'time':
      return nextChange(condition.window, now)
    default:
      return undefined
  }
}
