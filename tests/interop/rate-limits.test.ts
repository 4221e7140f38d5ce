// A stock client whose session has rates: TCP fills them in both directions, and a reload changes them without a cut.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { makeCertificates } from '../lab/certificates.ts'
import { gatewayAddress, LabNetwork } from '../lab/lab-network.ts'
import type { LabProcess } from '../lab/lab-process.ts'
import { needs } from '../lab/needs.ts'
import { connectOpenconnect, endOpenconnect } from '../lab/openconnect.ts'
import { startIperfServer, stream } from '../lab/traffic.ts'
import { configureGateway, startGateway } from '../lab/twinbore.ts'
import { Workspace } from '../lab/workspace.ts'

needs(
  'root',
  'tun',
  'ip',
  'nft',
  'openssl',
  'openconnect',
  'iperf3',
)('a session with rates', () => {
  let network: LabNetwork
  let workspace: Workspace
  let gateway: LabProcess
  let client: LabProcess
  let configure: (upload: string, download: string) => Promise<string>

  beforeAll(async () => {
    workspace = new Workspace()
    network = await LabNetwork.create()
    const certificates = await makeCertificates(workspace)
    await startIperfServer(network)
    configure = (upload, download) =>
      configureGateway(workspace, { certificates, config: { session: { rate: { upload, download } } } })
    gateway = await startGateway(network, await configure('20 Mbit/s', '40 Mbit/s'))
    client = await connectOpenconnect(network, {
      url: `https://${gatewayAddress}`,
      serverPin: certificates.gatewayPin,
      user: 'alice',
      passwords: ['secret'],
    })
  })
  afterAll(async () => {
    if (client) await endOpenconnect(client)
    await network?.close()
    workspace?.remove()
  })

  test.each([
    ['at first', '20 Mbit/s', '40 Mbit/s', 20e6, 40e6],
    ['after a reload', '50 Mbit/s', '10 Mbit/s', 50e6, 10e6],
  ])(
    '%s TCP gets 85 %% of a rate at least, and no more than it and a burst',
    { timeout: 120_000, retry: 2 },
    async (...words) => {
      const [, upload, download, most, mostDown] = words
      const since = gateway.mark
      await configure(upload, download)
      gateway.kill('SIGHUP')
      await gateway.waitFor(/reloaded/, { since })
      const seconds = 5
      for (const [direction, limit] of [
        ['up', most],
        ['down', mostDown],
      ] as const) {
        const { bitsPerSecond } = await stream(network, direction, { seconds })
        console.log(`${direction}: ${(bitsPerSecond / 1e6).toFixed(1)} of ${limit / 1e6} Mbit/s`)
        expect(bitsPerSecond).toBeGreaterThan(limit * 0.85)
        // The burst is that of 200 ms.
        expect(bitsPerSecond).toBeLessThan(limit * (1 + 0.2 / seconds) * 1.05)
      }
      expect(client.output).not.toMatch(/reconnect/i)
    },
  )
})
