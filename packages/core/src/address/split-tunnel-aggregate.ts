import { Nesting } from './nesting.ts'
import { Prefix } from './prefix.ts'
import type { SplitTunnelRule } from './split-tunnel-rules.ts'

/**
 * Fewer rules that decide every address alike. Two halves of a block with the same decision become one rule for the
 * block; a rule that repeats what holds around it goes.
 */
export function aggregateRules(rules: readonly SplitTunnelRule[]): SplitTunnelRule[] {
  const decided = new Map<string, SplitTunnelRule>()
  for (const rule of rules) {
    const key = rule.prefix.toString()
    const known = decided.get(key)
    // Of equal prefixes exclude counts; of equal rules the first.
    if (known === undefined || (known.decision === 'include' && rule.decision === 'exclude')) {
      decided.set(key, rule)
    }
  }
  mergeHalves(decided)
  const everything = rules.every(rule => rule.decision === 'exclude') ? 'include' : 'exclude'
  const kept = new Nesting<SplitTunnelRule>()
  const needed: SplitTunnelRule[] = []
  for (const rule of [...decided.values()].sort((a, b) => a.prefix.compare(b.prefix))) {
    if ((kept.around(rule.prefix)?.decision ?? everything) === rule.decision) continue
    kept.enter(rule)
    needed.push(rule)
  }
  return keepIncludes(needed, rules)
}

/** From the longest to the shortest, so that blocks that come about are merged in their turn. */
function mergeHalves(decided: Map<string, SplitTunnelRule>): void {
  const byLength: SplitTunnelRule[][] = Array.from({ length: 129 }, () => [])
  for (const rule of decided.values()) byLength[rule.prefix.length]!.push(rule)
  for (let length = 128; length > 0; length--) {
    for (const rule of byLength[length]!) {
      const parent = rule.prefix.parent!
      const sibling = decided.get(siblingOf(rule.prefix, parent).toString())
      if (sibling?.decision !== rule.decision || decided.get(rule.prefix.toString()) !== rule) continue
      decided.delete(rule.prefix.toString())
      decided.delete(sibling.prefix.toString())
      // Whatever rule the block had before, no address was left for it to decide.
      const merged = { prefix: parent, decision: rule.decision, index: Math.min(rule.index, sibling.index) }
      decided.set(parent.toString(), merged)
      byLength[length - 1]!.push(merged)
    }
  }
}

/** The other half of a prefix's parent. */
function siblingOf(prefix: Prefix, parent: Prefix): Prefix {
  return prefix.address.equals(parent.address)
    ? Prefix.of(parent.last, prefix.length)
    : Prefix.of(parent.address, prefix.length)
}

/**
 * An empty include list means everything, so it must not become empty because every include was redundant: where the
 * includes are wholly excluded, one of them stays with its exclude.
 */
function keepIncludes(needed: SplitTunnelRule[], rules: readonly SplitTunnelRule[]): SplitTunnelRule[] {
  const first = rules.find(rule => rule.decision === 'include')
  if (first === undefined || needed.some(rule => rule.decision === 'include')) return needed
  return [first, { ...first, decision: 'exclude' }]
}
