// What has to be reached and what is aimed at, beside a peer in the same run: the table of the fast data plane.
import type { BenchResult } from './harness/result.ts'
import { median } from './harness/statistics.ts'

/** A bound: a share of the peer's median, plus something in the unit of the measure; or a value of its own. */
export type Bound = { readonly times: number; readonly plus?: number } | { readonly value: number }

export interface Goal {
  readonly bench: string
  /** Options that a run must have for the goal to be about it. */
  readonly when: Readonly<Record<string, unknown>>
  readonly measure: string
  /** Whose median the bounds are relative to. */
  readonly peer?: string
  readonly must: Bound
  readonly aim: Bound
}

const stock = { client: 'openconnect', stream: false, family: 4 }
const own = { client: 'twinbore', stream: false, family: 4 }
const streamOnly = { client: 'openconnect', stream: true, family: 4 }
const vsOcserv = (bench: string, when: Goal['when'], measure: string, must: Bound, aim: Bound): Goal => ({
  bench,
  when,
  measure,
  peer: 'ocserv',
  must,
  aim,
})
const tunnel = (when: Goal['when'], measure: string, must: number, aim: number): Goal =>
  vsOcserv('tunnel', when, measure, { times: must }, { times: aim })

export const goals: readonly Goal[] = [
  tunnel(stock, 'down: gateway CPU', 1 / 4, 1 / 5),
  tunnel(stock, 'up: gateway CPU', 1 / 3, 1 / 4),
  tunnel(own, 'down: gateway CPU', 1 / 6, 1 / 8),
  tunnel(own, 'up: gateway CPU', 1 / 6, 1 / 8),
  tunnel(streamOnly, 'down: gateway CPU', 1 / 2, 1 / 3),
  tunnel(streamOnly, 'up: gateway CPU', 1 / 2, 1 / 3),
  tunnel(stock, '64-byte UDP up: gateway', 1 / 2, 1 / 3),
  tunnel(stock, '64-byte UDP down: gateway', 1 / 2, 1 / 3),
  vsOcserv('tunnel', stock, 'idle: RTT p50', { times: 1, plus: 0.2 }, { times: 1 }),
  tunnel(stock, 'down: RTT p95', 1, 1 / 2),
  tunnel(stock, 'up: RTT p95', 1, 1 / 2),
  vsOcserv('sessions', {}, 'new sessions', { times: 2 }, { times: 5 }),
  vsOcserv('sessions', {}, 'memory of an idle session', { times: 1 / 10 }, { value: 64 }),
  { bench: 'sessions', when: {}, measure: 'all sessions against one', must: { value: 80 }, aim: { value: 95 } },
]

export interface Verdict {
  readonly goal: Goal
  /** The bound in the unit of the measure, and how far beyond (below 0: within) it the median is, as a share of it. */
  readonly must: { readonly bound: number; readonly missedBy: number }
  readonly aim: { readonly bound: number; readonly missedBy: number }
}

/** What the goals say about one candidate's measure; `undefined` where there is no goal or no peer to compare with. */
export function judge(result: BenchResult, candidate: string, measure: string): Verdict | undefined {
  const ours = result.series.find(series => series.candidate === candidate && series.measure === measure)
  const goal = goals.find(
    one =>
      one.bench === result.bench &&
      one.measure === measure &&
      Object.entries(one.when).every(([name, value]) => result.options[name] === value),
  )
  const theirs = result.series.find(series => series.candidate === goal?.peer && series.measure === measure)
  if (!ours || !goal || (goal.peer !== undefined && !theirs)) return undefined
  const mine = median(ours.samples)
  const check = (bound: Bound): Verdict['must'] => {
    const limit = 'value' in bound ? bound.value : median(theirs!.samples) * bound.times + (bound.plus ?? 0)
    return { bound: limit, missedBy: ours.better === 'less' ? mine / limit - 1 : 1 - mine / limit }
  }
  return { goal, must: check(goal.must), aim: check(goal.aim) }
}

/** `must 2.05 s/GB: reached; aim 1.64 s/GB: missed by 12 %`. */
export function verdictText({ must, aim }: Verdict, show: (bound: number) => string): string {
  const part = (name: string, { bound, missedBy }: Verdict['must']): string =>
    `${name} ${show(bound)}: ${missedBy <= 0 ? 'reached' : `missed by ${(missedBy * 100).toFixed(0)} %`}`
  return `${part('must', must)}; ${part('aim', aim)}`
}
