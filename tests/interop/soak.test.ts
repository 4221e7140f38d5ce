// A gateway in use: stock clients come, move files, lose UDP or TCP, and go, in an order that a seed chooses. The process
// neither ends nor grows. SOAK_SECONDS is its length (short by default: `npm run soak` runs it for an hour), SOAK_SEED the seed.
import { readFileSync } from 'node:fs'
import { seededRandom } from '@twinbore/core/runtime'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type LabCertificates, makeCertificates } from '../lab/certificates.ts'
import { corporateAddress, corporateAddress6, gatewayAddress, LabNetwork } from '../lab/lab-network.ts'
import type { LabProcess } from '../lab/lab-process.ts'
import { needs } from '../lab/needs.ts'
import { connectOpenconnect, endOpenconnect } from '../lab/openconnect.ts'
import { download, ping, reach, startFileServer, upload } from '../lab/traffic.ts'
import { configureGateway, port, startGateway } from '../lab/twinbore.ts'
import { Workspace } from '../lab/workspace.ts'

const seconds = Number(process.env.SOAK_SECONDS ?? 20)
const seed = Number(process.env.SOAK_SEED ?? Date.now() % 2 ** 31)
const mayGrowBytes = 64 * 1024 * 1024

needs(
  'root',
  'tun',
  'ip',
  'nft',
  'ss',
  'openssl',
  'openconnect',
  'ping',
)('a gateway in use', () => {
  let network: LabNetwork
  let workspace: Workspace
  let certificates: LabCertificates
  let gateway: LabProcess

  beforeAll(async () => {
    workspace = new Workspace()
    network = await LabNetwork.create()
    certificates = await makeCertificates(workspace)
    await startFileServer(network)
    gateway = await startGateway(network, await configureGateway(workspace, { certificates }))
  })
  afterAll(async () => {
    await network?.close()
    workspace?.remove()
  })

  test('goes on as on its first minute', { timeout: (seconds + 300) * 1000 }, async () => {
    console.log(`SOAK_SECONDS=${seconds} SOAK_SEED=${seed}`)
    const random = seededRandom(seed)
    const until = performance.now() + seconds * 1000
    const counts = { sessions: 0, transfers: 0, bytes: 0, udpBlocks: 0, tcpCuts: 0 }
    let client: LabProcess | undefined
    let baseline = 0

    const connectClient = async (): Promise<LabProcess> => {
      counts.sessions += 1
      const server = { url: `https://${gatewayAddress}`, serverPin: certificates.gatewayPin }
      return connectOpenconnect(network, { ...server, user: 'alice', passwords: ['secret'] })
    }
    const steps: ((client: LabProcess) => Promise<void>)[] = [
      async () => {
        const move = random.uint32() % 2 === 0 ? upload : download
        const bytes = 1 + (random.uint32() % 20_000_000)
        const result = await move(network, bytes, random.uint32() % 4 === 0 ? corporateAddress6 : corporateAddress)
        expect(result).toMatchObject({ bytes, here: result.there })
        counts.transfers += 1
        counts.bytes += bytes
      },
      async () => {
        const size = random.uint32() % 1300
        expect(await ping(network, corporateAddress, { sizeBytes: size })).toMatchObject({ received: 3 })
      },
      async () => {
        counts.udpBlocks += 1
        await network.dropUdp(port)
        await reach(network, corporateAddress, 60_000)
        await network.openUdp()
      },
      async running => {
        const since = running.mark
        counts.tcpCuts += 1
        await network.cutTcp(port)
        await running.waitFor(/CSTP connected/, { since, timeoutMs: 60_000 })
        await reach(network, corporateAddress, 60_000)
      },
      async running => {
        await endOpenconnect(running)
        client = undefined
      },
    ]

    try {
      while (performance.now() < until) {
        client ??= await connectClient()
        await steps[random.uint32() % steps.length]!(client)
        // The first quarter fills caches and tables; growth counts from then on.
        if (baseline === 0 && performance.now() > until - seconds * 750) baseline = residentBytes(gateway.pid)
      }
      if (client) await endOpenconnect(client)
    } catch (error) {
      throw new Error(`SOAK_SEED=${seed} failed after ${JSON.stringify(counts)}`, { cause: error })
    }
    const end = residentBytes(gateway.pid)
    console.log(`${JSON.stringify(counts)}, ${(baseline / 1e6).toFixed(0)} -> ${(end / 1e6).toFixed(0)} MB`)
    expect(gateway.hasEnded).toBe(false)
    expect(counts.sessions).toBeGreaterThan(0)
    expect(baseline).toBeGreaterThan(0)
    expect(end - baseline).toBeLessThan(mayGrowBytes)
    expect(gateway.output).not.toMatch(/unhandled|uncaught|InvariantError/i)
  })
})

function residentBytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) * 1024
}
