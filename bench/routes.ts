// Prefixes: what a split tunnel's rules make of them, and the longest match of an address, beside packages of npm that
// people use for either. Every candidate's answers are compared with ours before they are timed.
import { IpAddress, NO_ROUTE, Prefix, PrefixSet, RouteTable } from '@twinbore/core/address'
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
  const tasks = [...[10, 100, 500].flatMap(setTasks), ...[100, 10_000].flatMap(lookupTasks), parseTask()]
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
function setTasks(count: number): Task[] {
  const texts = somePrefixes(count, 1)
  const holes = somePrefixes(count, 2)
  const ours = (list: readonly string[]): PrefixSet => PrefixSet.of(list.map(text => Prefix.of(text)))
  return [
    {
      measure: `merge ${count} prefixes`,
      unit: 'µs',
      perRun: 1,
      ways: {
        twinbore: () => ours(texts).prefixes.join(),
        'cidr-tools': () => mergeCidr(texts).map(withLength).join(),
      },
    },
    {
      measure: `${count} prefixes without ${count} others`,
      unit: 'µs',
      perRun: 1,
      ways: {
        twinbore: () => ours(texts).subtract(ours(holes)).prefixes.join(),
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

function parseTask(): Task {
  const random = numbers(5)
  const texts = Array.from({ length: 200 }, () => `${IpAddress.fromNumber(BigInt(random(2 ** 32)), 4)}`)
  return {
    measure: 'read and write an IPv4 address',
    unit: 'ns',
    perRun: texts.length,
    ways: {
      twinbore: () => texts.map(text => IpAddress.of(text).toString()).join(),
      'ipaddr.js': () => texts.map(text => ipaddr.IPv4.parse(text).toString()).join(),
    },
  }
}

/** The same for the same seed: /8 to /28, most of them long, some inside others. */
function somePrefixes(count: number, seed: number): string[] {
  const random = numbers(seed)
  return Array.from({ length: count }, () => {
    const length = 8 + Math.max(random(21), random(21))
    return `${Prefix.of(IpAddress.fromNumber(BigInt(random(2 ** 32)), 4), length)}`
  })
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

function withLength(text: string): string {
  return text.includes('/') ? text : `${text}/32`
}
