// What traffic notices when UDP is cut, and when it returns: the longest time without an answer to pings through the tunnel,
// by a stock client and by ours. The cut is silent, as of a firewall: nobody is told.
import { corporateAddress } from '../tests/lab/lab-network.ts'
import { longestGap, nextAnswer, startPing } from '../tests/lab/traffic.ts'
import { port } from '../tests/lab/twinbore.ts'
import { type Candidate, openCandidate, type TunnelSetup } from './harness/candidates.ts'
import { compareCandidates } from './harness/compare.ts'
import { hasAll } from './harness/needs.ts'
import { progress } from './harness/progress.ts'
import { Recorder } from './harness/result.ts'
import { type Bench, sharedOptions, type Words } from './harness/words.ts'

interface Pair {
  /** The candidate of the result: gateway and, unless it is its own, client. */
  readonly label: string
  readonly client: TunnelSetup['client']
  readonly tunnel: Candidate
}

/** Seconds between two pings: what a gap is known to. */
const interval = 0.02
// A stock client that failed to come back to UDP tries again after a minute.
const timeoutMs = 150_000

export const failover: Bench = {
  name: 'failover',
  summary: 'the gap in traffic when UDP is cut and when it returns (needs root)',
  options: {
    vs: sharedOptions.vs('ocserv'),
    dpd: { type: 'string', value: 'N', help: 'seconds of silence after which a channel is probed, for all (5)' },
  },
  run,
}

async function run(words: Words): Promise<void> {
  const vs = words.list('vs', ['ocserv'])
  const { rounds } = words
  const dpdSeconds = words.number('dpd', 5)
  if (!hasAll('failover', ['root', 'tun', 'ip', 'nft', 'openssl', 'openconnect', 'ping'])) return
  if (vs.length > 0 && !hasAll('failover', ['ocserv'])) return
  const recorder = new Recorder()
  const pairs: Pair[] = []
  try {
    for (const [label, name, client] of [
      ['twinbore', 'twinbore', 'twinbore'],
      ['twinbore, openconnect', 'twinbore', 'openconnect'],
      ...vs.map(peer => [`${peer}, openconnect`, peer, 'openconnect'] as const),
    ] as const) {
      const setup: TunnelSetup = {
        client,
        stream: false,
        aes256: false,
        egress: 'translate',
        driver: 'auto',
        dpdSeconds,
      }
      pairs.push({ label, client, tunnel: await openCandidate(name, setup) })
    }
    for (let round = 1; round <= rounds; round += 1) {
      for (const pair of pairs) {
        const found = await measure(recorder, pair)
        progress(`round ${round} of ${rounds}: ${pair.label}: ${found}`)
      }
    }
  } finally {
    for (const { tunnel } of pairs) await tunnel.close()
  }
  compareCandidates(recorder.finish('failover', { vs, rounds, dpdSeconds }, words.json))
}

async function measure(recorder: Recorder, { label, client, tunnel }: Pair): Promise<string> {
  const { network } = tunnel
  const ours = client === 'twinbore'
  const cut = await gapDuring(tunnel, async () => {
    const since = tunnel.client.mark
    await network.dropUdp(port)
    await tunnel.client.waitFor(ours ? /data goes by the stream channel/ : /dead peer/i, { since, timeoutMs })
  })
  let seconds = 0
  const back = await gapDuring(tunnel, async () => {
    const since = tunnel.client.mark
    const openedAt = performance.now()
    await network.openUdp()
    const sign = ours ? /data goes by the datagram channel/ : /Established DTLS connection/
    await tunnel.client.waitFor(sign, { since, timeoutMs })
    seconds = (performance.now() - openedAt) / 1000
  })
  recorder.add(label, 'UDP cut: gap in traffic', 'ms', 'less', cut)
  recorder.add(label, 'UDP back: gap in traffic', 'ms', 'less', back)
  recorder.add(label, 'UDP back: until the datagram channel is in use', 's', 'less', seconds)
  return `gap of ${cut.toFixed(0)} ms; back after ${seconds.toFixed(1)} s with a gap of ${back.toFixed(0)} ms`
}

/** The longest time in milliseconds between two answers, from before `act` until answers come after it. */
async function gapDuring({ network }: Candidate, act: () => Promise<void>): Promise<number> {
  const pinging = startPing(network, corporateAddress, interval)
  await nextAnswer(pinging)
  await act()
  // Twice: answers to what was sent before may be on the way still.
  for (let n = 0; n < 2; n += 1) await nextAnswer(pinging, timeoutMs)
  await pinging.stop('SIGINT')
  return longestGap(pinging)
}
