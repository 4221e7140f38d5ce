// npm run bench -- NAME [OPTIONS]: the benches by name. Each prints its progress while it runs, then a table, and writes
// the same as JSON.
import { parseArgs } from 'node:util'
import { compare } from './harness/compare.ts'
import { pat } from './pat.ts'
import { records } from './records.ts'
import { stack } from './stack.ts'
import { tunnel } from './tunnel.ts'

const usage = `npm run bench -- NAME [OPTIONS]

  tunnel      iperf3 through a gateway, from a stock client in network namespaces (needs root)
    --vs PEER       measure this gateway in the same rounds: ocserv
    --seconds N     length of one measurement (4)
  stack       iperf3 through the userspace stack and its sockets, without a tunnel, on one core (needs root)
    --vs PEER       measure this user-mode network in the same rounds: slirp4netns
    --seconds N     length of one measurement (4)
    --profile DIR   write CPU profiles of our process there
  records     sealing and opening of DTLS records, beside openssl's speed for the same ciphers
  pat         translation of packets of known and new flows
  compare OLD.json NEW.json
              two results side by side

  --rounds N        rounds, each of which measures every candidate once (5)
  --json FILE       where the result goes (bench/results/NAME.json)
`

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    vs: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '4' },
    profile: { type: 'string' },
    json: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})

const [name, ...files] = positionals
const rounds = wholeNumber('rounds', values.rounds)
const seconds = wholeNumber('seconds', values.seconds)
const json = values.json ?? `bench/results/${name}.json`

if (values.help || name === undefined) console.log(usage)
else if (name === 'tunnel') await tunnel({ vs: values.vs, rounds, seconds, json })
else if (name === 'stack') await stack({ vs: values.vs, rounds, seconds, profile: values.profile, json })
else if (name === 'records') await records({ rounds, json })
else if (name === 'pat') await pat({ rounds, json })
else if (name === 'compare' && files.length === 2) compare(files[0]!, files[1]!)
else {
  console.error(usage)
  process.exitCode = 2
}

function wholeNumber(option: string, text: string): number {
  const value = Number(text)
  if (Number.isInteger(value) && value > 0) return value
  console.error(`--${option}: '${text}' is not a whole number above 0`)
  process.exit(2)
}
