// Many sessions: how fast they come, what an idle one weighs, and how fairly they share. One load generator, the same for all
// candidates, is every client; each candidate has its own hosts.
import { setTimeout as wait } from 'node:timers/promises'
import type { LabProcess } from '../tests/lab/lab-process.ts'
import { compareCandidates } from './harness/compare.ts'
import { reserveCore } from './harness/cores.ts'
import { collectGarbage, gatewayStats } from './harness/gateway.ts'
import { hasAll } from './harness/needs.ts'
import { cpuOfTree, memoryOfTree } from './harness/processes.ts'
import { progress } from './harness/progress.ts'
import { Recorder } from './harness/result.ts'
import {
  type LoadProcess,
  openSessionCandidate,
  passwordHashes,
  payloadBytes,
  type SessionCandidate,
} from './harness/session-load.ts'
import { fairness } from './harness/statistics.ts'
import { type Bench, drivers, sharedOptions, type Words } from './harness/words.ts'
import type { EchoAnswer } from './load/generator.ts'

interface Plan {
  readonly sessions: number
  readonly concurrency: number
  readonly seconds: number
  /** Packets that a single session keeps on the way. */
  readonly window: number
  /** The same of each session, when all are active: fewer, as their packets wait for each other. */
  readonly each: number
  /** Seconds between two looks at memory: V8 gives back what a wave of logins took some 8 s after a collection. */
  readonly settle: number
}

interface Loaded {
  readonly candidate: SessionCandidate
  readonly load: LoadProcess
  /** Another process, whose one session floods. */
  readonly flooder: LoadProcess
}

/** By so many logins the code of both ends is compiled for the most part: the first hundred cost up to twice as much. */
const warmUp = 300
/** Sessions that share the gateway with the one that floods. */
const bystanders = 20

export const sessions: Bench = {
  name: 'sessions',
  summary: 'new sessions, memory of idle ones, many active at once, one that floods (needs root)',
  options: {
    vs: sharedOptions.vs('ocserv'),
    sessions: { type: 'string', value: 'N', help: 'sessions at once (200)' },
    concurrency: { type: 'string', value: 'N', help: 'logins at once (8)' },
    window: {
      type: 'string',
      value: 'N',
      help: 'packets that a session keeps on the way while it is the only one (64)',
    },
    each: { type: 'string', value: 'N', help: 'packets that each keeps on the way while all are active (4)' },
    settle: { type: 'string', value: 'S', help: 'seconds for which memory must have stayed the same (10)' },
    driver: sharedOptions.driver,
    seconds: sharedOptions.seconds(4),
  },
  run,
}

async function run(words: Words): Promise<void> {
  const vs = words.list('vs', ['ocserv'])
  const { rounds } = words
  const driver = words.choice('driver', drivers, 'auto')
  const plan: Plan = {
    sessions: words.number('sessions', 200),
    concurrency: words.number('concurrency', 8),
    seconds: words.number('seconds', 4, { whole: false }),
    window: words.number('window', 64),
    each: words.number('each', 4),
    settle: words.number('settle', 10, { whole: false }),
  }
  if (!hasAll('sessions', ['root', 'tun', 'ip', 'nft', 'openssl', 'taskset'])) return
  if (vs.length > 0 && !hasAll('sessions', ['ocserv'])) return
  const cores = reserveCore()
  const recorder = new Recorder()
  const candidates: Loaded[] = []
  try {
    for (const name of ['twinbore', ...vs] as const) {
      const candidate = await openSessionCandidate(name, plan.sessions + 32, driver, cores.measured)
      const loaded = { candidate, load: candidate.startLoad(), flooder: candidate.startLoad() }
      candidates.push(loaded)
      // Sessions that do not count: afterwards code is compiled, and memory holds what the first ones bring.
      await loaded.load.open(Math.min(warmUp, plan.sessions), plan.concurrency)
      await loaded.load.echo({ sessions: 1, window: plan.window, seconds: Math.min(1, plan.seconds) })
      await loaded.load.closeAll()
    }
    for (let round = 1; round <= rounds; round += 1) {
      for (const loaded of candidates) await measure(recorder, loaded, plan, `round ${round} of ${rounds}`)
    }
  } finally {
    for (const { candidate } of candidates) await candidate.close()
  }
  const passwords = Object.fromEntries(candidates.map(({ candidate: { name } }) => [name, passwordHashes[name]]))
  const result = recorder.finish(
    'sessions',
    { vs, rounds, ...plan, driver, payloadBytes, passwords, cores },
    words.json,
  )
  compareCandidates(result)
}

async function measure(recorder: Recorder, loaded: Loaded, plan: Plan, round: string): Promise<void> {
  const { candidate, load, flooder } = loaded
  const { name, gateway } = candidate
  const label = `${round}: ${name}`
  const before = await settledMemory(candidate, plan.settle)
  // V8 throws code away that was not used for some collections: it is compiled before anything is measured.
  await load.open(Math.min(warmUp, plan.sessions), plan.concurrency)
  await load.closeAll()
  const cpuBefore = [cpuOfTree(gateway.pid), cpuOfTree(load.pid)] as const
  const { seconds, times } = await load.open(plan.sessions, plan.concurrency)
  const cpuOf = (pid: number, start: number): number => (cpuOfTree(pid) - start) / plan.sessions / 1e6
  const gatewayCpu = cpuOf(gateway.pid, cpuBefore[0])
  recorder.add(name, 'new session: gateway CPU', 'ms', 'less', gatewayCpu)
  recorder.add(name, 'new session: load generator CPU', 'ms', 'less', cpuOf(load.pid, cpuBefore[1]))
  const busy = ((gatewayCpu * plan.sessions) / 1000 / seconds) * 100
  recorder.add(name, "new sessions: gateway's use of its core", '%', 'more', busy)
  recorder.add(name, 'new sessions', 'sessions/s', 'more', plan.sessions / seconds)
  recorder.add(name, 'new session: login to datagram channel, p50', 'ms', 'less', times.p50)
  recorder.add(name, 'new session: login to datagram channel, p95', 'ms', 'less', times.p95)
  const after = await settledMemory(candidate, plan.settle)
  const kibibytes = (after - before) / plan.sessions / 1024
  recorder.add(name, 'memory of an idle session', 'KiB', 'less', kibibytes)
  recorder.add(name, 'memory of the gateway, all idle', 'MiB', 'less', memoryOfTree(gateway.pid) / 2 ** 20)
  progress(`${label} ${(plan.sessions / seconds).toFixed(0)} new sessions/s, ${kibibytes.toFixed(0)} KiB each`)

  // Not counted: a gateway may answer the first packets by the stream channel.
  await load.echo({ sessions: plan.sessions, window: 1, seconds: plan.seconds })
  const carry = async (when: string, count: number, window: number): Promise<EchoAnswer> => {
    const [cpu, loadCpu] = [cpuOfTree(gateway.pid), cpuOfTree(load.pid)]
    const answer = await load.echo({ sessions: count, window, seconds: plan.seconds })
    const microseconds = (now: number, start: number): number => (now - start) / 1000 / packetsOf(answer)
    recorder.add(name, `${when}: gateway CPU`, 'µs/packet', 'less', microseconds(cpuOfTree(gateway.pid), cpu))
    recorder.add(name, `${when}: load generator CPU`, 'µs/packet', 'less', microseconds(cpuOfTree(load.pid), loadCpu))
    return answer
  }
  const one = await carry('one session', 1, plan.window)
  const all = await carry('all sessions', plan.sessions, plan.each)
  const [single, together] = [megabits(one), megabits(all)]
  recorder.add(name, 'one session: throughput', 'Mbit/s', 'more', single)
  recorder.add(name, 'all sessions: throughput', 'Mbit/s', 'more', together)
  recorder.add(name, 'all sessions against one', '%', 'more', (together / single) * 100)
  recorder.add(name, "all sessions: Jain's index", 'of 1', 'more', fairness(all.echoed))
  addTimes(recorder, name, 'all sessions', all)
  progress(`${label} one session ${single.toFixed(0)} Mbit/s, all together ${together.toFixed(0)} Mbit/s`)

  const paced = { sessions: Math.min(bystanders, plan.sessions), window: 64, paceMs: 50, seconds: plan.seconds }
  addTimes(recorder, name, 'few packets, alone', await load.echo(paced))
  await flooder.open(1, 1)
  const flooding = flooder.echo({ sessions: 1, window: 2048, seconds: plan.seconds + 1 })
  await wait(500)
  const beside = await load.echo(paced).finally(() => flooding)
  addTimes(recorder, name, 'few packets, beside one that floods', beside)
  progress(`${label} beside one that floods: p95 ${beside.roundTrips.p95.toFixed(1)} ms`)
  await flooder.closeAll()
  if (name === 'twinbore') progress(`${label} dropped so far: ${JSON.stringify(await dropped(gateway))}`)
  await load.closeAll()
}

/** What the gateway and its socket did not take, by the reason. */
async function dropped(gateway: LabProcess): Promise<Record<string, number>> {
  const { drops, socket, device, datagram } = await gatewayStats(gateway)
  const all = {
    ...drops,
    ...Object.fromEntries(
      Object.entries({ ...datagram }).filter(([reason]) => /unknown|drop|refused|limit/i.test(reason)),
    ),
    socketReceive: socket?.receiveQueueDrops ?? 0,
    socketSend: socket?.sendQueueDrops ?? 0,
    deviceWrite: device.writeDrops,
  }
  return Object.fromEntries(Object.entries(all).filter(([, count]) => count > 0))
}

const mostLooks = 6

/** Bytes, once nothing moves any more: processes of sessions that left are gone, garbage is collected and its memory given back. */
async function settledMemory({ name, gateway }: SessionCandidate, seconds: number): Promise<number> {
  let last = Number.POSITIVE_INFINITY
  for (let look = 0; look < mostLooks; look++) {
    if (name === 'twinbore') await collectGarbage(gateway)
    await wait(seconds * 1000)
    const memory = memoryOfTree(gateway.pid, 'own')
    if (Math.abs(memory - last) <= memory * 0.01) return memory
    last = memory
  }
  return last
}

/** Of payload, there and back counted once. */
function megabits(answer: EchoAnswer): number {
  return (packetsOf(answer) * payloadBytes * 8) / answer.seconds / 1e6
}

function packetsOf({ echoed }: EchoAnswer): number {
  return echoed.reduce((sum, count) => sum + count, 0)
}

function addTimes(recorder: Recorder, name: string, when: string, { roundTrips, sent, lost }: EchoAnswer): void {
  // On a machine that is too busy nothing may be back in time.
  if (sent > lost && Number.isFinite(roundTrips.p50)) {
    recorder.add(name, `${when}: RTT p50`, 'ms', 'less', roundTrips.p50)
    recorder.add(name, `${when}: RTT p95`, 'ms', 'less', roundTrips.p95)
  }
  recorder.add(name, `${when}: lost`, '%', 'less', sent === 0 ? 0 : (lost / sent) * 100)
}
