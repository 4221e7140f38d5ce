// The stock client through the kernel's own translator: super-packets leave for its masquerade and come back from it.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { makeCertificates } from '../lab/certificates.ts'
import {
  corporateAddress,
  corporateAddress6,
  gatewayAddress,
  gatewayInsideAddress,
  gatewayInsideAddress6,
  LabNetwork,
} from '../lab/lab-network.ts'
import { needs } from '../lab/needs.ts'
import { connectOpenconnect, endOpenconnect } from '../lab/openconnect.ts'
import { download, startFileServer, upload } from '../lab/traffic.ts'
import { configureGateway, startGateway } from '../lab/twinbore.ts'
import { Workspace } from '../lab/workspace.ts'

const fileBytes = 50_000_000

needs(
  'root',
  'tun',
  'ip',
  'nft',
  'openssl',
  'openconnect',
)('openconnect and the kernel as translator', () => {
  let network: LabNetwork
  let workspace: Workspace
  let client: Awaited<ReturnType<typeof connectOpenconnect>>

  beforeAll(async () => {
    workspace = new Workspace()
    network = await LabNetwork.create()
    const certificates = await makeCertificates(workspace)
    await startFileServer(network)
    await startGateway(
      network,
      await configureGateway(workspace, { certificates, config: { egress: { mode: 'kernel' } } }),
    )
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
    ['up', 'IPv4', upload, corporateAddress, gatewayInsideAddress],
    ['down', 'IPv4', download, corporateAddress, gatewayInsideAddress],
    ['up', 'IPv6', upload, corporateAddress6, gatewayInsideAddress6],
    ['down', 'IPv6', download, corporateAddress6, gatewayInsideAddress6],
  ] as const)(
    '50 MB go %s over %s with equal SHA-256, from the gateway’s own address',
    async (_, __, move, to, source) => {
      const result = await move(network, fileBytes, to)
      expect(result).toMatchObject({ bytes: fileBytes, here: result.there })
      expect(result.peer.replace('::ffff:', '')).toBe(source)
    },
  )
})
