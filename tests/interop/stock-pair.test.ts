// The laboratory proves itself: Debian's openconnect against Debian's ocserv, no program of ours between them. When this
// fails, failures of the other suites say nothing. It also tells what the stock pair does on this machine.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type LabCertificates, makeCertificates } from '../lab/certificates.ts'
import {
  corporateAddress,
  corporateAddress6,
  gatewayAddress,
  gatewayInsideAddress,
  LabNetwork,
} from '../lab/lab-network.ts'
import type { LabProcess } from '../lab/lab-process.ts'
import { needs } from '../lab/needs.ts'
import { startOcserv } from '../lab/ocserv.ts'
import { connectOpenconnect, endOpenconnect, tunnelAddresses } from '../lab/openconnect.ts'
import { download, longestGap, nextAnswer, ping, readPing, startFileServer, startPing, upload } from '../lab/traffic.ts'
import { Workspace } from '../lab/workspace.ts'

needs(
  'root',
  'tun',
  'ip',
  'nft',
  'openssl',
  'openconnect',
  'ocserv',
  'ocpasswd',
  'ping',
)('stock client and stock server', () => {
  let network: LabNetwork
  let workspace: Workspace
  let certificates: LabCertificates
  let client: LabProcess

  beforeAll(async () => {
    workspace = new Workspace()
    network = await LabNetwork.create()
    certificates = await makeCertificates(workspace)
    await startFileServer(network)
    await startOcserv(network, workspace, { certificates, users: { alice: 'secret' }, dpdSeconds: 3 })
    client = await connectOpenconnect(network, {
      url: `https://${gatewayAddress}`,
      serverPin: certificates.gatewayPin,
      user: 'alice',
      passwords: ['secret'],
    })
  })
  afterAll(async () => {
    await network?.close()
    workspace?.remove()
  })

  test('the client has an address of the pool, and the corporate host is reached over both families', async () => {
    expect(tunnelAddresses(client)[0]).toMatch(/^10\.201\.0\./)
    expect(await ping(network, corporateAddress)).toMatchObject({ received: 3 })
    expect(await ping(network, corporateAddress6)).toMatchObject({ received: 3 })
  })

  test('files cross unharmed', async () => {
    for (const move of [upload, download]) {
      const result = await move(network, 20_000_000)
      expect(result).toMatchObject({ bytes: 20_000_000, here: result.there })
      expect(result.peer).toContain(gatewayInsideAddress)
    }
  })

  test('a blocked UDP path ends the DTLS channel, and a free one brings it back', async () => {
    const pinging = startPing(network, corporateAddress)
    await nextAnswer(pinging)
    const since = client.mark
    await network.dropUdp(443)
    await client.waitFor(/DTLS Dead Peer Detection detected dead peer/, { since, timeoutMs: 60_000 })
    await nextAnswer(pinging)
    console.log(`stock pair, UDP blocked, dead-peer detection of 3 s: gap of ${longestGap(pinging).toFixed(0)} ms`)
    await network.openUdp()
    await readPing(pinging)
  })

  test('a TCP connection that is cut comes back with the same address', async () => {
    const since = client.mark
    const before = tunnelAddresses(client)
    await network.cutTcp(443)
    await client.waitFor(/CSTP connected/, { since, timeoutMs: 60_000 })
    expect(await ping(network, corporateAddress)).toMatchObject({ received: 3 })
    expect(tunnelAddresses(client)).toEqual(before)
  })

  test('the client leaves when it is told to', async () => {
    const { code } = await endOpenconnect(client)
    expect(code).toBe(0)
  })
})
