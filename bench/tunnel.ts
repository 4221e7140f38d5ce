// End to end: iperf3 between the stock client's host and the corporate host, through our gateway and, in the same rounds,
// through another one. Every candidate has its own three hosts; the ones that are not measured are idle meanwhile.
import { makeCertificates } from '../tests/lab/certificates.ts'
import { corporateAddress, gatewayAddress, LabNetwork } from '../tests/lab/lab-network.ts'
import { ocservWorkers, startOcserv } from '../tests/lab/ocserv.ts'
import { connectOpenconnect } from '../tests/lab/openconnect.ts'
import { reach, startIperfServer, stream } from '../tests/lab/traffic.ts'
import { configureGateway, startGateway } from '../tests/lab/twinbore.ts'
import { Workspace } from '../tests/lab/workspace.ts'
import { compareCandidates } from './harness/compare.ts'
import { cpuNanoseconds } from './harness/cpu-time.ts'
import { progress } from './harness/progress.ts'
import { Recorder } from './harness/result.ts'

export interface TunnelBenchOptions {
  readonly vs: string | undefined
  readonly rounds: number
  readonly seconds: number
  readonly json: string
}

type Peer = 'twinbore' | 'ocserv'

interface Candidate {
  readonly name: Peer
  readonly network: LabNetwork
  /** The processes whose CPU time counts: for ocserv the session's worker alone. */
  readonly pids: readonly number[]
  close(): Promise<void>
}

export async function tunnel({ vs, rounds, seconds, json }: TunnelBenchOptions): Promise<void> {
  if (vs !== undefined && vs !== 'ocserv') throw new Error(`--vs: '${vs}' is not known; ocserv is.`)
  const recorder = new Recorder()
  const candidates: Candidate[] = []
  try {
    for (const name of ['twinbore', vs] as const) if (name) candidates.push(await setUp(name))
    for (let round = 1; round <= rounds; round += 1) {
      for (const candidate of candidates) {
        for (const direction of ['up', 'down'] as const) {
          const before = cpuOf(candidate)
          const { bitsPerSecond, bytes } = await stream(candidate.network, direction, { seconds })
          const cpuSeconds = (cpuOf(candidate) - before) / 1e9
          const perGigabyte = cpuSeconds / (bytes / 1e9)
          recorder.add(candidate.name, `${direction}: throughput`, 'Mbit/s', 'more', bitsPerSecond / 1e6)
          recorder.add(candidate.name, `${direction}: gateway CPU`, 's/GB', 'less', perGigabyte)
          progress(
            `round ${round} of ${rounds}: ${candidate.name} ${direction} ` +
              `${(bitsPerSecond / 1e6).toFixed(0)} Mbit/s, ${perGigabyte.toFixed(2)} CPU-s/GB`,
          )
        }
      }
    }
  } finally {
    for (const candidate of candidates) await candidate.close()
  }
  const result = recorder.finish('tunnel', { vs, rounds, seconds, client: 'openconnect' }, json)
  if (vs !== undefined) compareCandidates(result, 'twinbore', vs)
}

async function setUp(name: Peer): Promise<Candidate> {
  progress(`setting up ${name}`)
  const workspace = new Workspace()
  const network = await LabNetwork.create()
  const close = async (): Promise<void> => {
    await network.close()
    workspace.remove()
  }
  try {
    const certificates = await makeCertificates(workspace)
    await startIperfServer(network)
    const server =
      name === 'ocserv'
        ? await startOcserv(network, workspace, { certificates, users: { alice: 'secret' } })
        : await startGateway(network, await configureGateway(workspace, { certificates }))
    await connectOpenconnect(network, {
      url: `https://${gatewayAddress}`,
      serverPin: certificates.gatewayPin,
      user: 'alice',
      passwords: ['secret'],
    })
    await reach(network, corporateAddress)
    const pids = name === 'ocserv' ? ocservWorkers(server) : [server.pid]
    if (pids.length === 0) throw new Error('ocserv has no worker for the session.')
    return { name, network, pids, close }
  } catch (error) {
    await close()
    throw error
  }
}

function cpuOf({ pids }: Candidate): number {
  return pids.reduce((sum, pid) => sum + cpuNanoseconds(pid), 0)
}
