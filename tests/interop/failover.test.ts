// What the stock client's traffic does when UDP goes dark and comes back. Gaps are printed, not judged: with the stock
// client they follow from the dead-peer interval that the gateway announces.
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { type LabCertificates, makeCertificates } from '../lab/certificates.ts'
import { corporateAddress, gatewayAddress, LabNetwork } from '../lab/lab-network.ts'
import type { LabProcess } from '../lab/lab-process.ts'
import { needs } from '../lab/needs.ts'
import { connectOpenconnect, endOpenconnect } from '../lab/openconnect.ts'
import { download, longestGap, nextAnswer, ping, readPing, startFileServer, startPing, upload } from '../lab/traffic.ts'
import { configureGateway, port, startGateway } from '../lab/twinbore.ts'
import { Workspace } from '../lab/workspace.ts'

needs(
  'root',
  'tun',
  'ip',
  'nft',
  'openssl',
  'openconnect',
  'ping',
)('when UDP is blocked', () => {
  let network: LabNetwork
  let workspace: Workspace
  let certificates: LabCertificates
  let client: LabProcess | undefined

  const alice = () => ({
    url: `https://${gatewayAddress}`,
    serverPin: certificates.gatewayPin,
    user: 'alice',
    passwords: ['secret'],
  })

  beforeAll(async () => {
    workspace = new Workspace()
    network = await LabNetwork.create()
    certificates = await makeCertificates(workspace)
    await startFileServer(network)
    await startGateway(network, await configureGateway(workspace, { certificates }))
  })
  afterAll(async () => {
    await network?.close()
    workspace?.remove()
  })
  beforeEach(() => network.openUdp())
  afterEach(async () => {
    if (client) await endOpenconnect(client)
    client = undefined
  })

  test('from the start, everything works over TLS', async () => {
    await network.dropUdp(port)
    const startedAt = performance.now()
    client = await connectOpenconnect(network, alice(), { dtls: false })
    console.log(`UDP blocked from the start: tunnel up after ${(performance.now() - startedAt).toFixed(0)} ms`)
    expect(await ping(network, corporateAddress)).toMatchObject({ received: 3 })
    for (const move of [upload, download]) {
      const result = await move(network, 20_000_000)
      expect(result).toMatchObject({ bytes: 20_000_000, here: result.there })
    }
    expect(client.output).not.toMatch(/Established DTLS connection/)
  })

  test.each(['both', 'to-gateway', 'to-client'] as const)(
    'in mid-session (%s), traffic goes on over TLS, and DTLS comes back with UDP',
    async direction => {
      client = await connectOpenconnect(network, alice())
      const pinging = startPing(network, corporateAddress)
      await nextAnswer(pinging)

      const blockedAt = client.mark
      await network.dropUdp(port, direction)
      await nextAnswer(pinging, 90_000)
      await client.waitFor(/dead peer/i, { since: blockedAt, timeoutMs: 90_000 })
      await nextAnswer(pinging, 90_000)
      const dark = longestGap(pinging)

      const openedAt = client.mark
      await network.openUdp()
      // The stock client tries again at once, for 12 s, and then every 60 s.
      await client.waitFor(/Established DTLS connection/, { since: openedAt, timeoutMs: 120_000 })
      await nextAnswer(pinging)
      const { sent, received } = await readPing(pinging)
      console.log(
        `UDP blocked (${direction}): gap of ${dark.toFixed(0)} ms; whole run ${longestGap(pinging).toFixed(0)} ms, ` +
          `${sent - received} of ${sent} pings lost`,
      )
      const result = await download(network, 10_000_000)
      expect(result).toMatchObject({ bytes: 10_000_000, here: result.there })
    },
  )
})
