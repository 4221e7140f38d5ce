// End to end: traffic between the client's host and the corporate host, through our gateway and, in the same rounds, through
// others. Every candidate has its own three hosts; the ones that are not measured are idle meanwhile.
import type { GatewayStats } from '@twinbore/gateway-ref'
import { corporateAddress, corporateAddress6 } from '../tests/lab/lab-network.ts'
import { reach, startIperfServer, stream as streamTcp } from '../tests/lab/traffic.ts'
import { type Candidate, needsOfPeer, openCandidate, type TunnelSetup, tunnelPeers } from './harness/candidates.ts'
import { compareCandidates } from './harness/compare.ts'
import { gatewayStats } from './harness/gateway.ts'
import { hasAll, presentPeers } from './harness/needs.ts'
import { progress } from './harness/progress.ts'
import { Recorder } from './harness/result.ts'
import { addRoundTrips, endRoundTrips, measureRoundTrips, startRoundTrips } from './harness/round-trips.ts'
import { flood } from './harness/small-packets.ts'
import { median } from './harness/statistics.ts'
import { type Bench, drivers, sharedOptions, UsageError, type Words } from './harness/words.ts'

type Direction = 'up' | 'down'

interface Plan {
  readonly address: string
  readonly seconds: number
  readonly flows: number
  readonly udp64: boolean
}

export const tunnel: Bench = {
  name: 'tunnel',
  summary: 'throughput, CPU and round trips through a gateway, in network namespaces (needs root)',
  options: {
    vs: sharedOptions.vs(tunnelPeers.join(', ')),
    client: { type: 'string', value: 'NAME', help: 'client of our gateway: openconnect or twinbore (openconnect)' },
    stream: { type: 'boolean', help: 'the stream channel alone, UDP blocked; with ocserv at most' },
    direction: { type: 'string', value: 'WHICH', help: 'up, down or both, one after the other (both)' },
    family: { type: 'string', value: 'N', help: 'IP version inside the tunnel, 4 or 6 (4)' },
    flows: { type: 'string', value: 'N', help: 'TCP connections at once (1)' },
    udp64: { type: 'boolean', help: '64-byte UDP packets in place of TCP' },
    egress: { type: 'string', value: 'MODE', help: 'way out of our gateway: translate, kernel or sockets (translate)' },
    aes256: { type: 'boolean', help: 'AES-256-GCM for everyone who has it, in place of what the ends choose' },
    driver: sharedOptions.driver,
    seconds: sharedOptions.seconds(4),
  },
  run,
}

async function run(words: Words): Promise<void> {
  const peers = words.list('vs', tunnelPeers)
  const setup: TunnelSetup = {
    client: words.choice('client', ['openconnect', 'twinbore'], 'openconnect'),
    stream: words.flag('stream'),
    aes256: words.flag('aes256'),
    egress: words.choice('egress', ['translate', 'kernel', 'sockets'], 'translate'),
    driver: words.choice('driver', drivers, 'auto'),
  }
  const direction = words.choice('direction', ['up', 'down', 'both'], 'both')
  const directions: readonly Direction[] = direction === 'both' ? ['up', 'down'] : [direction]
  const family = Number(words.choice('family', ['4', '6'], '4'))
  const { rounds } = words
  const plan: Plan = {
    address: family === 6 ? corporateAddress6 : corporateAddress,
    seconds: words.number('seconds', 4),
    flows: words.number('flows', 1),
    udp64: words.flag('udp64'),
  }
  if (setup.stream && peers.some(peer => peer !== 'ocserv')) throw new UsageError('--stream: only ocserv has one too')
  if (setup.aes256 && setup.client === 'twinbore') throw new UsageError('--aes256: our client leaves it to the gateway')
  if (!hasAll('tunnel', ['root', 'tun', 'ip', 'iperf3', 'nft', 'openssl', 'ping'])) return
  if (setup.client === 'openconnect' && !hasAll('tunnel', ['openconnect'])) return
  const present = presentPeers(peers, needsOfPeer)

  const recorder = new Recorder()
  const candidates: Candidate[] = []
  let driver: string | undefined
  try {
    for (const name of ['twinbore', ...present] as const) candidates.push(await prepare(name, setup, plan, directions))
    driver = (await gatewayStats(candidates[0]!.gateway)).dataPlane.driver
    for (let round = 1; round <= rounds; round += 1) {
      for (const candidate of candidates) {
        const label = `round ${round} of ${rounds}: ${candidate.name}`
        const idle = await measureRoundTrips(candidate.network, plan.address, plan.seconds / 2)
        addRoundTrips(recorder, candidate.name, 'idle', idle)
        progress(`${label} idle RTT ${median(idle.milliseconds).toFixed(2)} ms`)
        for (const direction of directions) {
          progress(`${label} ${direction} ${await measure(recorder, candidate, direction, plan)}`)
        }
      }
    }
  } finally {
    for (const candidate of candidates) await candidate.close()
  }
  const ciphers = Object.fromEntries(candidates.map(({ name, cipher }) => [name, cipher]))
  const { address: _, ...asked } = plan
  const result = recorder.finish(
    'tunnel',
    { vs: present, rounds, ...setup, driver, family, ...asked, ciphers },
    words.json,
  )
  compareCandidates(result)
}

/** Connects a candidate, and lets it carry what does not count, so that its code is warm. */
async function prepare(
  name: Candidate['name'],
  setup: TunnelSetup,
  plan: Plan,
  directions: readonly Direction[],
): Promise<Candidate> {
  const candidate = await openCandidate(name, setup)
  try {
    await startIperfServer(candidate.network)
    await reach(candidate.network, plan.address)
    const unheard = new Recorder()
    for (const direction of directions) await measure(unheard, candidate, direction, { ...plan, seconds: 1 })
    return candidate
  } catch (error) {
    await candidate.close()
    throw error
  }
}

/** Returns what it found as text for the progress. */
async function measure(recorder: Recorder, candidate: Candidate, direction: Direction, plan: Plan): Promise<string> {
  const { name, network, gateway } = candidate
  const statsBefore = name === 'twinbore' ? await gatewayStats(gateway) : undefined
  const pinging = startRoundTrips(network, plan.address)
  const cpuBefore = candidate.cpu()
  const text = plan.udp64
    ? await measureFlood(recorder, candidate, direction, plan, cpuBefore)
    : await measureTcp(recorder, candidate, direction, plan, cpuBefore)
  const under = plan.udp64 ? `64-byte UDP ${direction}` : direction
  addRoundTrips(recorder, name, under, await endRoundTrips(pinging))
  if (statsBefore) addBatches(recorder, under, direction, statsBefore, await gatewayStats(gateway))
  return text
}

async function measureTcp(
  recorder: Recorder,
  { name, network, cpu }: Candidate,
  direction: Direction,
  { address, seconds, flows }: Plan,
  cpuBefore: number,
): Promise<string> {
  const { bitsPerSecond, bytes } = await streamTcp(network, direction, { seconds, address, streams: flows })
  const perGigabyte = (cpu() - cpuBefore) / bytes
  recorder.add(name, `${direction}: throughput`, 'Mbit/s', 'more', bitsPerSecond / 1e6)
  recorder.add(name, `${direction}: gateway CPU`, 's/GB', 'less', perGigabyte)
  return `${(bitsPerSecond / 1e6).toFixed(0)} Mbit/s, ${perGigabyte.toFixed(2)} CPU-s/GB`
}

async function measureFlood(
  recorder: Recorder,
  { name, network, cpu }: Candidate,
  direction: Direction,
  { address, seconds }: Plan,
  cpuBefore: number,
): Promise<string> {
  const { handled, deliveredPerSecond } = await flood(network, direction, { seconds, address })
  const perPacket = (cpu() - cpuBefore) / handled
  recorder.add(name, `64-byte UDP ${direction}: gateway`, 'ns/packet', 'less', perPacket)
  recorder.add(name, `64-byte UDP ${direction}: handled`, 'packets/s', 'more', handled / seconds)
  recorder.add(name, `64-byte UDP ${direction}: delivered`, 'packets/s', 'more', deliveredPerSecond)
  return `${perPacket.toFixed(0)} ns/packet, ${deliveredPerSecond.toFixed(0)} packets/s delivered`
}

/** How many packets one system call moved, by the gateway's own counters. */
function addBatches(
  recorder: Recorder,
  under: string,
  direction: Direction,
  before: GatewayStats,
  after: GatewayStats,
): void {
  const add = (what: string, packets: number, calls: number): void => {
    if (calls > 0) recorder.add('twinbore', `${under}: packets per ${what}`, 'packets', 'more', packets / calls)
  }
  const device = (name: keyof GatewayStats['device']): number => after.device[name] - before.device[name]
  const socket = (name: keyof NonNullable<GatewayStats['socket']>): number =>
    (after.socket?.[name] ?? 0) - (before.socket?.[name] ?? 0)
  if (direction === 'up') {
    add('receive', socket('datagramsReceived'), socket('receiveCalls'))
    add('device write', device('packetsWritten'), device('writes'))
  } else {
    add('device read', device('packetsRead'), device('reads'))
    add('send', socket('datagramsSent'), socket('sendCalls'))
  }
}
