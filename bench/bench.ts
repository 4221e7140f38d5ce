// npm run bench -- NAME [OPTIONS]: the benches by name. Each prints its progress while it runs, then a table, and writes
// the same as JSON and as a chart.
import { parseArgs } from 'node:util'
import { failover } from './failover.ts'
import { handshake } from './handshake.ts'
import { writeChart } from './harness/chart-file.ts'
import { compare } from './harness/compare.ts'
import { type Bench, sharedOptions, UsageError, Words } from './harness/words.ts'
import { pat } from './pat.ts'
import { records } from './records.ts'
import { report } from './report.ts'
import { routes } from './routes.ts'
import { sessions } from './sessions.ts'
import { stack } from './stack.ts'
import { tunnel } from './tunnel.ts'

const benches: readonly Bench[] = [
  tunnel,
  sessions,
  failover,
  {
    name: 'stack',
    summary: 'iperf3 through the userspace stack and its sockets, without a tunnel, on one core (needs root)',
    options: {
      vs: sharedOptions.vs('slirp4netns'),
      seconds: sharedOptions.seconds(4),
      profile: { type: 'string', value: 'DIR', help: 'write CPU profiles of our process there' },
    },
    run: words =>
      stack({
        vs: words.list('vs', ['slirp4netns'])[0],
        rounds: words.rounds,
        seconds: words.number('seconds', 4),
        profile: words.text('profile'),
        json: words.json,
      }),
  },
  handshake,
  {
    name: 'records',
    summary: "sealing and opening of DTLS records, beside openssl's speed for the same ciphers",
    options: { vs: { type: 'string', value: 'PEER', help: 'openssl, which is measured without being asked for too' } },
    run: words => {
      words.list('vs', ['openssl'])
      return records({ rounds: words.rounds, json: words.json })
    },
  },
  {
    name: 'pat',
    summary: 'translation of packets of known and new flows',
    options: {},
    run: words => pat({ rounds: words.rounds, json: words.json }),
  },
  routes,
]

const usage = `npm run bench -- NAME [OPTIONS]

${benches.map(usageOf).join('\n')}
  compare OLD.json NEW.json
              two results side by side
  chart FILE.json
              draws a result anew, beside it
  report      renders the tables of docs/performance.md from bench/results/

  --rounds N        rounds, each of which measures every candidate once (5)
  --json FILE       where the result goes; its chart goes beside it (.cache/bench/NAME.json)
  --save NAME       the same as --json bench/results/DATE-NAME.json
`

const [name, ...words] = process.argv.slice(2)
try {
  if (name === 'compare' && words.length === 2) compare(words[0]!, words[1]!)
  else if (name === 'chart' && words.length === 1) writeChart(words[0]!)
  else if (name === 'report' && words.length === 0) report()
  else {
    const bench = benches.find(one => one.name === name)
    if (bench) await run(bench, words)
    else if (name === undefined || name === '--help') console.log(usage)
    else throw new UsageError(`'${process.argv.slice(2).join(' ')}' is not known. npm run bench prints what is.`)
  }
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  console.error(error.message)
  process.exitCode = 2
}

async function run(bench: Bench, args: readonly string[]): Promise<void> {
  const values = parse(bench, args)
  if (values.help === true) {
    console.log(usageOf(bench))
    return
  }
  const day = new Date().toISOString().slice(0, 10)
  const saved = typeof values.save === 'string' ? `bench/results/${day}-${values.save}.json` : undefined
  await bench.run(new Words({ ...values, json: values.json ?? saved ?? `.cache/bench/${bench.name}.json` }))
}

function parse(bench: Bench, args: readonly string[]): Record<string, unknown> {
  const common = { rounds: 'string', json: 'string', save: 'string', help: 'boolean' } as const
  const types = {
    ...common,
    ...Object.fromEntries(Object.entries(bench.options).map(([key, { type }]) => [key, type])),
  }
  const options = Object.fromEntries(Object.entries(types).map(([key, type]) => [key, { type }]))
  try {
    return parseArgs({ args: [...args], options }).values
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

function usageOf({ name, summary, options }: Bench): string {
  const lines = Object.entries(options).map(
    ([key, { value, help }]) => `    ${`--${key}${value ? ` ${value}` : ''}`.padEnd(24)} ${help}`,
  )
  return [`  ${name.padEnd(11)} ${summary}`, ...lines].join('\n')
}
