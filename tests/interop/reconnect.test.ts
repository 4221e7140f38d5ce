// A session outlives its TCP connection, keeps its address, and still ends when its time is up.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type LabCertificates, makeCertificates } from '../lab/certificates.ts'
import { corporateAddress, gatewayAddress, LabNetwork } from '../lab/lab-network.ts'
import type { LabProcess } from '../lab/lab-process.ts'
import { needs } from '../lab/needs.ts'
import { connectOpenconnect, startOpenconnect, tunnelAddresses } from '../lab/openconnect.ts'
import { ping, reach } from '../lab/traffic.ts'
import { configureGateway, port, startGateway } from '../lab/twinbore.ts'
import { Workspace } from '../lab/workspace.ts'

const maxSeconds = 40

needs(
  'root',
  'tun',
  'ip',
  'openssl',
  'openconnect',
  'ping',
  'ss',
)('a session', () => {
  let network: LabNetwork
  let workspace: Workspace
  let certificates: LabCertificates
  let gateway: LabProcess

  const server = () => ({ url: `https://${gatewayAddress}`, serverPin: certificates.gatewayPin })

  beforeAll(async () => {
    workspace = new Workspace()
    network = await LabNetwork.create()
    certificates = await makeCertificates(workspace)
    const config = await configureGateway(workspace, {
      certificates,
      config: { session: { maxSeconds, dpdSeconds: 3 } },
    })
    gateway = await startGateway(network, config)
  })
  afterAll(async () => {
    await network?.close()
    workspace?.remove()
  })

  test('reconnects with its cookie and its address after its TCP connection is cut, and ends at its maximum age', async () => {
    const startedAt = performance.now()
    const client = await connectOpenconnect(network, { ...server(), user: 'alice', passwords: ['secret'] })
    const addresses = tunnelAddresses(client)

    const cutAt = client.mark
    const cutTime = performance.now()
    await network.cutTcp(port)
    await client.waitFor(/CSTP connected/, { since: cutAt, timeoutMs: 60_000 })
    await client.waitFor(/Established DTLS connection/, { since: cutAt, timeoutMs: 60_000 })
    await reach(network, corporateAddress)
    console.log(`TCP cut: both channels back after ${(performance.now() - cutTime).toFixed(0)} ms`)
    // No second login: standard input held one password, and the form was not asked for again.
    expect(client.output.slice(cutAt)).not.toMatch(/Please enter|POST https/)
    expect(client.output.slice(cutAt)).not.toMatch(/different (legacy )?ip address/i)
    expect(tunnelAddresses(client)).toEqual(addresses)

    const { output } = await client.finished
    const age = (performance.now() - startedAt) / 1000
    console.log(`maximum age of ${maxSeconds} s: the session ended after ${age.toFixed(1)} s`)
    expect(age).toBeGreaterThan(maxSeconds - 2)
    expect(output.slice(cutAt)).toMatch(/disconnect|terminated|cookie/i)
    expect(await ping(network, corporateAddress).catch(() => ({ received: 0 }))).toMatchObject({ received: 0 })
  })

  test('that said goodbye cannot be taken up again with its cookie', async () => {
    const printed = await network.mustRun(
      'client',
      'openconnect',
      [
        '--non-inter',
        '--passwd-on-stdin',
        '--user',
        'alice',
        '--servercert',
        certificates.gatewayPin,
        '--authenticate',
        server().url,
      ],
      { input: 'secret\n' },
    )
    const cookie = /COOKIE='([^']+)'/.exec(printed)![1]!
    const client = await connectOpenconnect(network, { ...server(), more: ['--cookie', cookie], device: 'vpn1' })
    await client.stop('SIGINT')
    const again = await startOpenconnect(network, { ...server(), more: ['--cookie', cookie], device: 'vpn2' }).finished
    expect(again.code).not.toBe(0)
    expect(again.output).not.toMatch(/Configured as/)
    expect(gateway.hasEnded).toBe(false)
  })
})
