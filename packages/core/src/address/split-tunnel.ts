import { IpAddress } from './ip-address.ts'
import type { Prefix } from './prefix.ts'
import { NO_ROUTE, RouteTable } from './route-table.ts'
import { aggregateRules } from './split-tunnel-aggregate.ts'
import {
  readSplitTunnelRules,
  type SplitTunnelProblem,
  type SplitTunnelRule,
  type SplitTunnelRules,
} from './split-tunnel-rules.ts'

export interface SplitTunnelOptions {
  /** The most rules, include and exclude together. One more is an error; nothing is left out. @defaultValue 500 */
  readonly maxRules?: number
  /** The number of rules from which on there is a warning. @defaultValue 250 */
  readonly warnFromRules?: number
  /** What a prefix with host bits (`10.1.2.3/8`) is: a warning, and read as `10.0.0.0/8`, or an error. @defaultValue 'warn' */
  readonly hostBits?: 'warn' | 'reject'
  /**
   * Whether clients get the fewest rules with the same meaning in place of those written; the limit then counts what
   * is left. @defaultValue false
   */
  readonly aggregate?: boolean
}

export const defaultSplitTunnelOptions: Required<SplitTunnelOptions> = {
  maxRules: 500,
  warnFromRules: 250,
  hostBits: 'warn',
  aggregate: false,
}

/** Rules that were read: the policy unless there is an error, and everything that deserves mention. */
export interface SplitTunnelResult {
  readonly policy: SplitTunnelPolicy | undefined
  readonly problems: readonly SplitTunnelProblem[]
}

/** Why an address goes where it goes. */
export interface SplitTunnelExplanation {
  readonly address: IpAddress
  /** `include`: through the tunnel. `exclude`: outside. */
  readonly decision: 'include' | 'exclude'
  /** The rule that decided; absent when no rule matches. */
  readonly rule?: SplitTunnelRule
  /** One sentence for people. */
  readonly reason: string
}

/**
 * Which destinations go through the tunnel. The longest matching prefix decides; an exclude rule beats an include rule
 * of the same prefix; where nothing matches, an address goes through the tunnel only if there are no include rules.
 * That is what clients do that install both lists as routes.
 */
export class SplitTunnelPolicy {
  /** What a client is told: sorted, without duplicates. Empty means everything. */
  readonly include: readonly Prefix[]
  readonly exclude: readonly Prefix[]
  /** How many rules were written, and how few have the same meaning. */
  readonly ruleCount: { readonly written: number; readonly aggregated: number }
  private readonly rules: readonly SplitTunnelRule[]
  private readonly table: RouteTable
  private readonly includesEverything: boolean

  private constructor(rules: readonly SplitTunnelRule[], pushed: readonly SplitTunnelRule[], aggregated: number) {
    this.rules = rules
    this.include = prefixesOf(pushed, 'include')
    this.exclude = prefixesOf(pushed, 'exclude')
    this.ruleCount = { written: rules.length, aggregated }
    this.includesEverything = !rules.some(rule => rule.decision === 'include')
    this.table = RouteTable.compile(inOrderOfPrecedence(rules))
  }

  /** Reads rules and says everything that is wrong or strange about them. */
  static read(rules: SplitTunnelRules, options: SplitTunnelOptions = {}): SplitTunnelResult {
    const config = { ...defaultSplitTunnelOptions, ...options }
    const { accepted, problems } = readSplitTunnelRules(rules, config.hostBits)
    const aggregated = aggregateRules(accepted)
    const limit = limitProblem(rules, aggregated.length, config)
    if (limit) problems.push(limit)
    const failed = problems.some(problem => problem.severity === 'error')
    const pushed = config.aggregate ? aggregated : accepted
    const policy = failed ? undefined : new SplitTunnelPolicy(accepted, pushed, aggregated.length)
    return { policy, problems }
  }

  /** Like `read`, for rules that must be good. @throws RangeError that names every error */
  static of(rules: SplitTunnelRules, options: SplitTunnelOptions = {}): SplitTunnelPolicy {
    const { policy, problems } = SplitTunnelPolicy.read(rules, options)
    if (policy) return policy
    const errors = problems.filter(problem => problem.severity === 'error')
    throw new RangeError(errors.map(problem => problem.message).join('; '))
  }

  /** Whether an address goes through the tunnel. */
  includes(address: IpAddress): boolean {
    const index = this.table.lookupAddress(address)
    return index === NO_ROUTE ? this.includesEverything : this.rules[index]!.decision === 'include'
  }

  /** Decides about an address and says why. @throws RangeError when the text is no address */
  explain(address: IpAddress | string): SplitTunnelExplanation {
    const wanted = typeof address === 'string' ? IpAddress.of(address) : address
    const index = this.table.lookupAddress(wanted)
    if (index === NO_ROUTE) {
      const decision = this.includesEverything ? 'include' : 'exclude'
      const reason = this.includesEverything
        ? `${wanted} goes through the tunnel: no rule matches, and without include rules everything does`
        : `${wanted} stays outside the tunnel: no rule matches, and there are include rules`
      return { address: wanted, decision, reason }
    }
    const rule = this.rules[index]!
    const way = rule.decision === 'include' ? 'goes through the tunnel' : 'stays outside the tunnel'
    const reason = `${wanted} ${way}: ${rule.decision} rule ${rule.prefix}${this.comparedToOthers(rule, wanted)}`
    return { address: wanted, decision: rule.decision, rule, reason }
  }

  /** What the deciding rule prevailed over: the longest matching one of the other kind. */
  private comparedToOthers(rule: SplitTunnelRule, address: IpAddress): string {
    let rival: SplitTunnelRule | undefined
    for (const other of this.rules) {
      if (other.decision === rule.decision || !other.prefix.contains(address)) continue
      if (rival === undefined || other.prefix.length > rival.prefix.length) rival = other
    }
    if (rival === undefined) return ' is the longest match'
    return rival.prefix.equals(rule.prefix)
      ? ` prevails over the ${rival.decision} rule of the same prefix`
      : ` is longer than ${rival.decision} rule ${rival.prefix}`
  }
}

function prefixesOf(rules: readonly SplitTunnelRule[], decision: SplitTunnelRule['decision']): Prefix[] {
  const sorted = rules
    .filter(rule => rule.decision === decision)
    .map(rule => rule.prefix)
    .sort((a, b) => a.compare(b))
  return sorted.filter((prefix, i) => i === 0 || !prefix.equals(sorted[i - 1]!))
}

/** Of equal prefixes a table keeps the last, so excludes come after includes. */
function* inOrderOfPrecedence(rules: readonly SplitTunnelRule[]): Generator<{ prefix: Prefix; value: number }> {
  for (const decision of ['include', 'exclude'] as const) {
    for (const [value, rule] of rules.entries()) if (rule.decision === decision) yield { prefix: rule.prefix, value }
  }
}

function limitProblem(
  rules: SplitTunnelRules,
  aggregated: number,
  config: Required<SplitTunnelOptions>,
): SplitTunnelProblem | undefined {
  const includes = rules.include?.length ?? 0
  const excludes = rules.exclude?.length ?? 0
  const counted = config.aggregate ? aggregated : includes + excludes
  const counts = `${includes + excludes} split-tunnel rules (${includes} include, ${excludes} exclude)`
  if (counted > config.maxRules) {
    const outcome = config.aggregate
      ? `even aggregated they are ${aggregated}`
      : `aggregated they would be ${aggregated}${aggregated <= config.maxRules ? ', which would fit' : ''}`
    const message = `${counts} exceed the limit of ${config.maxRules} shared by both lists; ${outcome}`
    return { severity: 'error', code: 'too-many-rules', message }
  }
  if (counted < config.warnFromRules) return undefined
  const message = `${counts}, ${aggregated} when aggregated: the limit is ${config.maxRules} shared by both lists`
  return { severity: 'warning', code: 'many-rules', message }
}
