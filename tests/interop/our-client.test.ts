// Our client: against Debian's ocserv, and against our own gateway.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type LabCertificates, makeCertificates } from '../lab/certificates.ts'
import { corporateAddress, corporateAddress6, gatewayAddress, LabNetwork } from '../lab/lab-network.ts'
import type { LabProcess } from '../lab/lab-process.ts'
import { needs } from '../lab/needs.ts'
import { startOcserv } from '../lab/ocserv.ts'
import {
  download,
  longestGap,
  nextAnswer,
  ping,
  reach,
  readPing,
  startFileServer,
  startPing,
  upload,
} from '../lab/traffic.ts'
import { configureGateway, port, startClient, startGateway } from '../lab/twinbore.ts'
import { Workspace } from '../lab/workspace.ts'

const fileBytes = 100_000_000

describe.each(['ocserv', 'twinbore'] as const)('our client and %s', peer => {
  needs(
    'root',
    'tun',
    'ip',
    'nft',
    'openssl',
    'ocserv',
    'ocpasswd',
    'ping',
  )('carry traffic', () => {
    let network: LabNetwork
    let workspace: Workspace
    let certificates: LabCertificates
    let client: LabProcess

    const alice = () => ({
      url: `https://${gatewayAddress}`,
      serverPin: certificates.gatewayPin,
      user: 'alice',
      password: 'secret',
    })

    beforeAll(async () => {
      workspace = new Workspace()
      network = await LabNetwork.create()
      certificates = await makeCertificates(workspace)
      await startFileServer(network)
      if (peer === 'ocserv') {
        await startOcserv(network, workspace, { certificates, users: { alice: 'secret' }, dpdSeconds: 5 })
      } else await startGateway(network, await configureGateway(workspace, { certificates }))
      client = startClient(network, alice())
      await client.waitFor(/datagram channel established/)
      await reach(network, corporateAddress)
    })
    afterAll(async () => {
      await network?.close()
      workspace?.remove()
    })

    test('pings are answered over IPv4 and IPv6', async () => {
      for (const address of [corporateAddress, corporateAddress6]) {
        expect(await ping(network, address)).toMatchObject({ received: 3 })
        expect(await ping(network, address, { sizeBytes: 1300 })).toMatchObject({ received: 3 })
      }
    })

    test.each([
      ['up', upload],
      ['down', download],
    ] as const)('100 MB go %s with equal SHA-256', async (direction, move) => {
      const result = await move(network, fileBytes)
      expect(result).toMatchObject({ bytes: fileBytes, here: result.there })
      console.log(
        `our client, ${peer}, 100 MB ${direction}: ${((result.bytes * 8) / result.seconds / 1e6).toFixed(0)} Mbit/s`,
      )
    })

    test('traffic goes on while UDP is blocked, and returns to the datagram channel afterwards', async () => {
      const pinging = startPing(network, corporateAddress)
      await nextAnswer(pinging)
      const blockedAt = client.mark
      await network.dropUdp(port)
      await client.waitFor(/channel.*stream|stream.*channel/i, { since: blockedAt, timeoutMs: 90_000 })
      await nextAnswer(pinging, 90_000)
      const openedAt = client.mark
      await network.openUdp()
      await client.waitFor(/datagram/i, { since: openedAt, timeoutMs: 120_000 })
      await nextAnswer(pinging)
      const { sent, received } = await readPing(pinging)
      console.log(
        `our client, ${peer}, UDP blocked and opened: gap of ${longestGap(pinging).toFixed(0)} ms, ` +
          `${sent - received} of ${sent} pings lost`,
      )
    })

    test('it leaves no device, address or route behind', async () => {
      const { code } = await client.stop('SIGTERM')
      expect(code).toBe(0)
      expect(await network.mustRun('client', 'ip', ['-brief', 'link'])).not.toMatch(/tun|vpn|twin/)
      expect(await network.mustRun('client', 'ip', ['route'])).not.toContain('10.2.0.0/24')
    })

    test('a wrong password ends it with exit code 1 and a clear message', async () => {
      const refused = await startClient(network, { ...alice(), password: 'wrong' }).finished
      expect(refused.code).toBe(1)
      expect(refused.output).toMatch(/login failed|refused|wrong|not accepted/i)
    })

    test('a server with another key is not talked to', async () => {
      const serverPin = `pin-sha256:${Buffer.alloc(32).toString('base64')}`
      const refused = await startClient(network, { ...alice(), serverPin }).finished
      expect(refused.code).toBe(1)
      expect(refused.output).toMatch(/pin/i)
    })
  })
})
