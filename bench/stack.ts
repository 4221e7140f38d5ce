// The userspace stack with its sockets, without tunnel and encryption: iperf3 from a network namespace whose only way out
// is the candidate, to a server on the loopback of the host that the candidate runs on. Every candidate has its own hosts;
// the ones that are not measured are idle meanwhile.
//
//   client: iperf3 -> kernel TUN or TAP -> candidate -> sockets -> loopback -> iperf3 --server     (host 'gateway')
import { fileURLToPath } from 'node:url'
import { gatewayInsideAddress, LabNetwork } from '../tests/lab/lab-network.ts'
import type { LabProcess } from '../tests/lab/lab-process.ts'
import { stream } from '../tests/lab/traffic.ts'
import { compareCandidates } from './harness/compare.ts'
import { pinnedTo, reserveCore } from './harness/cores.ts'
import { cpuNanoseconds } from './harness/cpu-time.ts'
import { type BenchNeed, hasAll } from './harness/needs.ts'
import { progress } from './harness/progress.ts'
import { Recorder } from './harness/result.ts'

export interface StackBenchOptions {
  readonly vs: string | undefined
  readonly rounds: number
  readonly seconds: number
  /** A folder for CPU profiles of our candidate; without it none are written. */
  readonly profile: string | undefined
  readonly json: string
}

type Peer = 'twinbore' | 'slirp4netns'

interface Candidate {
  readonly name: Peer
  readonly network: LabNetwork
  readonly process: LabProcess
}

const mtu = 1400
const target = gatewayInsideAddress
const relayProgram = fileURLToPath(new URL('./stack-relay.ts', import.meta.url))

export async function stack({ vs, rounds, seconds, profile, json }: StackBenchOptions): Promise<void> {
  if (vs !== undefined && vs !== 'slirp4netns') throw new Error(`--vs: '${vs}' is not known; slirp4netns is.`)
  const needs: readonly BenchNeed[] = ['root', 'tun', 'ip', 'iperf3', 'taskset']
  if (!hasAll('stack', vs ? [...needs, 'slirp4netns'] : needs)) return
  const cores = reserveCore()
  const recorder = new Recorder()
  const candidates: Candidate[] = []
  try {
    for (const name of ['twinbore', vs] as const) {
      if (name) candidates.push(await setUp(name, cores.measured, profile))
    }
    for (const candidate of candidates) {
      progress(`warming ${candidate.name} up`)
      for (const direction of ['up', 'down'] as const) await measure(candidate, direction, 1)
    }
    for (let round = 1; round <= rounds; round += 1) {
      for (const candidate of candidates) {
        for (const direction of ['up', 'down'] as const) {
          const { megabits, cpuPerGigabyte, coreShare } = await measure(candidate, direction, seconds)
          recorder.add(candidate.name, `${direction}: throughput`, 'Mbit/s', 'more', megabits)
          recorder.add(candidate.name, `${direction}: CPU`, 's/GB', 'less', cpuPerGigabyte)
          progress(
            `round ${round} of ${rounds}: ${candidate.name} ${direction} ` +
              `${megabits.toFixed(0)} Mbit/s, ${cpuPerGigabyte.toFixed(2)} CPU-s/GB, ` +
              `${(coreShare * 100).toFixed(0)} % of its core`,
          )
        }
      }
    }
    // Its profile is written when it ends by itself.
    for (const candidate of candidates) await candidate.process.stop()
  } finally {
    for (const { network } of candidates) await network.close()
  }
  const result = recorder.finish('stack', { vs, rounds, seconds, mtu, cores }, json)
  compareCandidates(result)
}

async function measure(
  { network, process: { pid } }: Candidate,
  direction: 'up' | 'down',
  seconds: number,
): Promise<{ megabits: number; cpuPerGigabyte: number; coreShare: number }> {
  const before = cpuNanoseconds(pid)
  const { bitsPerSecond, bytes } = await stream(network, direction, { seconds, address: target })
  const cpuSeconds = (cpuNanoseconds(pid) - before) / 1e9
  const cpuPerGigabyte = cpuSeconds / (bytes / 1e9)
  return { megabits: bitsPerSecond / 1e6, cpuPerGigabyte, coreShare: (cpuPerGigabyte * bitsPerSecond) / 8e9 }
}

async function setUp(name: Peer, core: number, profile: string | undefined): Promise<Candidate> {
  progress(`setting up ${name}`)
  const network = await LabNetwork.create()
  try {
    const server = network.start('gateway', 'iperf3', ['--server', '--forceflush', '--bind', target])
    await server.waitFor(/listening/i)
    const process =
      name === 'twinbore' ? await startRelay(network, core, profile) : await startSlirp4netns(network, core)
    return { name, network, process }
  } catch (error) {
    await network.close()
    throw error
  }
}

/** slirp4netns makes its TAP inside the client's namespace and configures it; its sockets are the gateway host's. */
async function startSlirp4netns(network: LabNetwork, core: number): Promise<LabProcess> {
  const place = ['--netns-type=path', `/run/netns/${network.namespace('client')}`, 'tap0']
  const words = ['--configure', `--mtu=${mtu}`, '--disable-dns', '--ready-fd=1', ...place]
  const process = startPinned(network, core, 'slirp4netns', words)
  await process.waitFor(/^1/, { stdoutOnly: true })
  return process
}

/** The TUN is made where the sockets are and moved to the client, where it has the addresses that slirp4netns gives. */
async function startRelay(network: LabNetwork, core: number, profile: string | undefined): Promise<LabProcess> {
  const nodeOptions = ['--import', import.meta.resolve('tsx')]
  if (profile !== undefined) nodeOptions.push('--cpu-prof', `--cpu-prof-dir=${profile}`)
  const words = [...nodeOptions, relayProgram, 'tun0', `${mtu}`, target]
  const relay = startPinned(network, core, process.execPath, words)
  await relay.waitFor(/^open tun0$/m)
  await network.mustRun('gateway', 'ip', ['link', 'set', 'tun0', 'netns', network.namespace('client')])
  for (const words of ['link set tun0 up', 'addr add 10.0.2.100/24 dev tun0', 'route add default via 10.0.2.2']) {
    await network.mustRun('client', 'ip', words.split(' '))
  }
  return relay
}

function startPinned(network: LabNetwork, core: number, program: string, args: readonly string[]): LabProcess {
  const words = [...pinnedTo(core), program, ...args]
  return network.start('gateway', words[0]!, words.slice(1))
}
