// Prefixes: what a split tunnel's rules make of them, and the longest match of an address, beside packages of npm that
// people use for either. Every candidate's answers are compared with ours before they are timed.
import {
  type Family,
  IpAddress,
  NO_ROUTE,
  Prefix,
  PrefixSet,
  RouteTable,
  SplitTunnelPolicy,
} from '@twinbore/core/address'
import { containsCidr, excludeCidr, mergeCidr } from 'cidr-tools'
import ipaddr from 'ipaddr.js'
import { compareCandidates } from './harness/compare.ts'
import { progress } from './harness/progress.ts'
import { Recorder } from './harness/result.ts'
import { type Bench, sharedOptions, type Words } from './harness/words.ts'

const peers = ['cidr-tools', 'ipaddr.js'] as const
type Name = 'twinbore' | (typeof peers)[number]

/** One thing that each candidate does in its own way, `perRun` times at once. */
interface Task {
  readonly measure: string
  readonly unit: string
  readonly perRun: number
  /** Absent: the candidate has nothing of the kind. Each returns what it found out, in a form that can be compared. */
  readonly ways: Partial<Record<Name, () => string>>
}

export const routes: Bench = {
  name: 'routes',
  summary: 'split-tunnel sets and longest-prefix match',
  options: { vs: sharedOptions.vs(peers.join(', ')), seconds: sharedOptions.seconds(0.3) },
  run,
}

async function run(words: Words): Promise<void> {
  const vs = words.list('vs', peers)
  const { rounds } = words
  const seconds = words.number('seconds', 0.3, { whole: false })
  const families = [4, 6] as const
  const tasks = [
    ...families.flatMap(family => [10, 100, 500].flatMap(count => setTasks(count, family))),
    ...[100, 10_000].flatMap(lookupTasks),
    ...families.map(parseTask),
    policyTask(),
    compileTask(),
  ]
  const recorder = new Recorder()
  for (const { measure, ways } of tasks) {
    for (const name of vs) {
      if (ways[name] && ways[name]() !== ways.twinbore!()) throw new Error(`${measure}: ${name} finds something else`)
    }
  }
  for (let round = 1; round <= rounds; round += 1) {
    for (const { measure, unit, perRun, ways } of tasks) {
      for (const name of ['twinbore', ...vs] as const) {
        const way = ways[name]
        if (!way) continue
        if (round === 1) time(way, seconds * 500)
        const nanoseconds = time(way, seconds * 1000) / perRun
        recorder.add(name, measure, unit, 'less', unit === 'ns' ? nanoseconds : nanoseconds / 1000)
      }
    }
    progress(`round ${round} of ${rounds} done`)
  }
  compareCandidates(recorder.finish('routes', { vs, rounds, seconds }, words.json))
}

/** Nanoseconds of one run: as many as fit into the time, and one at least. */
function time(way: () => unknown, milliseconds: number): number {
  const startedAt = performance.now()
  let runs = 0
  let elapsed = 0
  while (elapsed < milliseconds) {
    way()
    runs += 1
    elapsed = performance.now() - startedAt
  }
  return (elapsed * 1e6) / runs
}

/** From texts to texts, as the rules of a configuration become the routes of a client. */
function setTasks(count: number, family: Family): Task[] {
  const texts = somePrefixes(count, 1, family)
  const holes = somePrefixes(count, 2, family)
  const named = family === 4 ? `${count}` : `${count} IPv6`
  const ours = (list: readonly string[]): PrefixSet => PrefixSet.of(list.map(text => Prefix.of(text)))
  return [
    {
      measure: `merge ${named} prefixes`,
      unit: 'µs',
      perRun: 1,
      ways: {
        twinbore: () => ours(texts).prefixes.map(textOf).join(),
        'cidr-tools': () => mergeCidr(texts).map(withLength).join(),
      },
    },
    {
      measure: `${named} prefixes without ${count} others`,
      unit: 'µs',
      perRun: 1,
      ways: {
        twinbore: () => ours(texts).subtract(ours(holes)).prefixes.map(textOf).join(),
        'cidr-tools': () => excludeCidr(texts, holes).map(withLength).join(),
      },
    },
  ]
}

/** The index of the longest prefix around each of some addresses, half of which are inside one. */
function lookupTasks(count: number): Task[] {
  const texts = [...new Set(somePrefixes(count, 3))]
  const perRun = 200
  const random = numbers(4)
  const addresses = Array.from({ length: perRun }, (_, n) =>
    n % 2 === 0 ? IpAddress.fromNumber(BigInt(random(2 ** 32)), 4) : Prefix.of(texts[random(texts.length)]!).address,
  )
  const table = RouteTable.compile(texts.map((text, value) => ({ prefix: Prefix.of(text), value })))
  const keys = addresses.map(address => Number(address.toNumber()))
  const longestFirst = texts
    .map((text, value) => ({ value, range: ipaddr.IPv4.parseCIDR(text) }))
    .sort((a, b) => b.range[1] - a.range[1])
  const parsed = addresses.map(address => ipaddr.IPv4.parse(`${address}`))
  const lookup: Task = {
    measure: `longest of ${count} prefixes`,
    unit: 'ns',
    perRun,
    ways: {
      twinbore: () => keys.map(key => table.lookupIpv4(key)).join(),
      'ipaddr.js': () =>
        parsed.map(one => longestFirst.find(({ range }) => one.match(range))?.value ?? NO_ROUTE).join(),
    },
  }
  const named = addresses.slice(0, 20).map(address => `${address}`)
  const inside: Task = {
    measure: `whether in any of ${count} prefixes, from text`,
    unit: 'ns',
    perRun: named.length,
    ways: {
      twinbore: () => named.map(text => table.lookupAddress(IpAddress.of(text)) !== NO_ROUTE).join(),
      'cidr-tools': () => named.map(text => containsCidr(texts, text)).join(),
      'ipaddr.js': () =>
        named
          .map(text => {
            const one = ipaddr.IPv4.parse(text)
            return longestFirst.some(({ range }) => one.match(range))
          })
          .join(),
    },
  }
  return [lookup, inside]
}

function parseTask(family: Family): Task {
  const random = numbers(5)
  const texts = Array.from({ length: 200 }, () => `${someAddress(random, family)}`)
  return {
    measure: `read and write an IPv${family} address`,
    unit: 'ns',
    perRun: texts.length,
    ways: {
      twinbore: () => texts.map(text => IpAddress.of(text).toString()).join(),
      'ipaddr.js': () => texts.map(text => ipaddr.parse(text).toString()).join(),
    },
  }
}

/** What no other package does: rules with everything that is strange about them, and the table of as many routes. */
function policyTask(): Task {
  const rules = { include: somePrefixes(500, 1), exclude: somePrefixes(500, 2) }
  return {
    measure: 'policy of 500 include and 500 exclude rules',
    unit: 'µs',
    perRun: 1,
    ways: { twinbore: () => `${SplitTunnelPolicy.of(rules, { maxRules: 1000 }).ruleCount.aggregated}` },
  }
}

function compileTask(): Task {
  const entries = somePrefixes(10_000, 3).map((text, value) => ({ prefix: Prefix.of(text), value }))
  return {
    measure: 'table of 10000 prefixes',
    unit: 'µs',
    perRun: 1,
    ways: { twinbore: () => `${RouteTable.compile(entries).size}` },
  }
}

/** The same for the same seed: /8 to /28 or /24 to /64, most of them long, some inside others. */
function somePrefixes(count: number, seed: number, family: Family = 4): string[] {
  const random = numbers(seed)
  return Array.from({ length: count }, () => {
    const length = family === 4 ? 8 + Math.max(random(21), random(21)) : 24 + Math.max(random(41), random(41))
    return `${Prefix.of(someAddress(random, family), length)}`
  })
}

/** Of IPv6 somewhere in 2001:d00::/24, so that some prefixes lie inside others. */
function someAddress(random: (bound: number) => number, family: Family): IpAddress {
  if (family === 4) return IpAddress.ofIpv4Number(random(2 ** 32))
  return IpAddress.ofIpv6Words(0x2001_0d00 + random(256), random(2 ** 32), random(2 ** 32), random(2 ** 32))
}

/** Whole numbers below a bound, the same for the same seed. */
function numbers(seed: number): (bound: number) => number {
  let state = seed
  return bound => {
    state = (state + 0x9e37_79b9) >>> 0
    let mixed = Math.imul(state ^ (state >>> 16), 0x85eb_ca6b)
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2_ae35)
    return Math.floor((((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32) * bound)
  }
}

function textOf(prefix: Prefix): string {
  return prefix.toString()
}

function withLength(text: string): string {
  return text.includes('/') ? text : `${text}/${text.includes(':') ? 128 : 32}`
}
