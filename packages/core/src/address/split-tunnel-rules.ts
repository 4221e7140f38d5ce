import { Nesting } from './nesting.ts'
import { Prefix, prefixTextHasHostBits } from './prefix.ts'
import { PrefixSet } from './prefix-set.ts'

/** What a split tunnel is told: prefixes as text (with a length or a netmask) or as values. */
export interface SplitTunnelRules {
  /** What goes through the tunnel. Empty means everything. */
  readonly include?: readonly (string | Prefix)[]
  /** What stays outside all the same. */
  readonly exclude?: readonly (string | Prefix)[]
}

/** One rule as it was read. */
export interface SplitTunnelRule {
  readonly prefix: Prefix
  readonly decision: 'include' | 'exclude'
  /** Its place in the list that it was written in, from 0. */
  readonly index: number
}

export type SplitTunnelProblemCode =
  | 'not-a-prefix'
  | 'ipv4-mapped'
  | 'host-bits'
  | 'too-many-rules'
  | 'many-rules'
  | 'duplicate'
  | 'same-prefix-in-both'
  | 'include-inside-exclude'
  | 'exclude-without-effect'
  | 'default-route'

/** What is wrong (`error`: there is no policy) or strange (`warning`) about rules. */
export interface SplitTunnelProblem {
  readonly severity: 'error' | 'warning'
  readonly code: SplitTunnelProblemCode
  /** One sentence that names the rule and what would be right. */
  readonly message: string
  /** The list and the place in it, where one rule is to blame. */
  readonly list?: 'include' | 'exclude'
  readonly index?: number
}

const mappedSpace = Prefix.of('::ffff:0:0/96')

/** Turns what was written into rules, and remarks on each and on how they go together. */
export function readSplitTunnelRules(
  rules: SplitTunnelRules,
  hostBits: 'warn' | 'reject',
): { accepted: SplitTunnelRule[]; problems: SplitTunnelProblem[] } {
  const accepted: SplitTunnelRule[] = []
  const problems: SplitTunnelProblem[] = []
  for (const decision of ['include', 'exclude'] as const) {
    for (const [index, written] of (rules[decision] ?? []).entries()) {
      const prefix = typeof written === 'string' ? Prefix.parse(written.trim()) : written
      const problem = problemOf(written, prefix, decision, hostBits)
      if (problem) problems.push({ ...problem, list: decision, index })
      if (prefix) accepted.push({ prefix, decision, index })
    }
  }
  problems.push(...relations(accepted))
  return { accepted, problems }
}

function problemOf(
  written: string | Prefix,
  prefix: Prefix | undefined,
  decision: string,
  hostBits: 'warn' | 'reject',
): SplitTunnelProblem | undefined {
  if (!prefix) {
    const message = `${decision} rule '${written}' is no prefix such as 10.0.0.0/8, 10.0.0.0/255.0.0.0 or fd00::/8`
    return { severity: 'error', code: 'not-a-prefix', message }
  }
  if (mappedSpace.covers(prefix)) {
    const inner = Prefix.of(prefix.address.unmapped, prefix.length - 96)
    const message = `${decision} rule ${prefix} is IPv4 in IPv6 form, which no packet carries: write ${inner}`
    return { severity: 'error', code: 'ipv4-mapped', message }
  }
  if (typeof written === 'string' && prefixTextHasHostBits(written.trim())) {
    return hostBits === 'reject'
      ? {
          severity: 'error',
          code: 'host-bits',
          message: `${decision} rule '${written}' has host bits set: write ${prefix}`,
        }
      : {
          severity: 'warning',
          code: 'host-bits',
          message: `${decision} rule '${written}' has host bits set: it is read as ${prefix}`,
        }
  }
  if (prefix.length === 0) {
    const better = decision === 'include' ? 'an empty include list means everything' : 'nothing of that family is left'
    return {
      severity: 'warning',
      code: 'default-route',
      message: `${decision} rule ${prefix} is everything: ${better}`,
    }
  }
  return undefined
}

/** What is strange about pairs of rules. */
function relations(rules: readonly SplitTunnelRule[]): SplitTunnelProblem[] {
  const problems: SplitTunnelProblem[] = []
  const known = new Map<string, SplitTunnelRule>()
  const inner = (rule: SplitTunnelRule) => ({ list: rule.decision, index: rule.index })
  for (const rule of rules) {
    const key = `${rule.decision} ${rule.prefix}`
    const first = known.get(key)
    if (first) {
      const message = `${rule.decision} rule ${rule.prefix} is there twice`
      problems.push({ severity: 'warning', code: 'duplicate', message, ...inner(rule) })
      continue
    }
    known.set(key, rule)
  }
  const excludesAround = nearestExcludes(known.values())
  const included = PrefixSet.of(rules.filter(rule => rule.decision === 'include').map(rule => rule.prefix))
  for (const rule of known.values()) {
    if (rule.decision === 'include') {
      if (known.has(`exclude ${rule.prefix}`)) {
        const message = `${rule.prefix} is both included and excluded: it stays outside the tunnel`
        problems.push({ severity: 'warning', code: 'same-prefix-in-both', message, ...inner(rule) })
        continue
      }
      const around = excludesAround.get(rule)
      if (!around) continue
      const message =
        `include rule ${rule.prefix} lies inside exclude rule ${around.prefix}: clients that follow the longest ` +
        'prefix tunnel it, clients that subtract excludes do not'
      problems.push({ severity: 'warning', code: 'include-inside-exclude', message, ...inner(rule) })
    } else if (!included.isEmpty && !included.overlaps(rule.prefix)) {
      const message = `exclude rule ${rule.prefix} has no effect: no include rule overlaps it`
      problems.push({ severity: 'warning', code: 'exclude-without-effect', message, ...inner(rule) })
    }
  }
  return problems
}

/** For each include rule inside exclude rules, the longest of them. */
function nearestExcludes(rules: Iterable<SplitTunnelRule>): Map<SplitTunnelRule, SplitTunnelRule> {
  const excludes = new Nesting<SplitTunnelRule>()
  const nearest = new Map<SplitTunnelRule, SplitTunnelRule>()
  for (const rule of [...rules].sort((a, b) => a.prefix.compare(b.prefix))) {
    const around = excludes.around(rule.prefix)
    if (rule.decision === 'exclude') excludes.enter(rule)
    else if (around) nearest.set(rule, around)
  }
  return nearest
}
