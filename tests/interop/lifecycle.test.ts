// Starting, reloading, stopping and crashing: what a running session feels of it, and what is left on the host.
import { X509Certificate } from 'node:crypto'
import { copyFileSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type LabCertificates, makeCertificates } from '../lab/certificates.ts'
import { corporateAddress, gatewayAddress, LabNetwork } from '../lab/lab-network.ts'
import type { LabProcess } from '../lab/lab-process.ts'
import { needs } from '../lab/needs.ts'
import { connectOpenconnect, endOpenconnect } from '../lab/openconnect.ts'
import { longestGap, nextAnswer, ping, readPing, startPing } from '../lab/traffic.ts'
import { configureGateway, port, startGateway } from '../lab/twinbore.ts'
import { Workspace } from '../lab/workspace.ts'

describe.each(['translate', 'kernel'] as const)('egress: %s', mode => {
  needs(
    'root',
    'tun',
    'ip',
    'nft',
    'openssl',
    'openconnect',
    'ping',
  )('the gateway program', () => {
    let network: LabNetwork
    let workspace: Workspace
    let certificates: LabCertificates
    let config: string
    let before: string

    const alice = () => ({
      url: `https://${gatewayAddress}`,
      serverPin: certificates.gatewayPin,
      user: 'alice',
      passwords: ['secret'],
    })

    // Everything the gateway may change on its host.
    async function hostState(): Promise<string> {
      const commands: [string, string[]][] = [
        ['ip', ['-brief', 'link']],
        ['ip', ['-oneline', 'address']],
        ['ip', ['-4', 'route', 'show', 'table', 'all']],
        ['ip', ['-6', 'route', 'show', 'table', 'all']],
        ['ip', ['rule']],
        ['ip', ['neighbour', 'show', 'proxy']],
        ['nft', ['list', 'ruleset']],
        ['sysctl', ['net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding', 'net.ipv4.ip_local_reserved_ports']],
      ]
      const outputs = await Promise.all(commands.map(([name, args]) => network.mustRun('gateway', name, args)))
      // Link-local addresses come by themselves, when the kernel is sure that nobody else has them.
      const lines = outputs.join('\n').split('\n')
      return lines.filter(line => !line.includes('fe80:')).join('\n')
    }

    beforeAll(async () => {
      workspace = new Workspace()
      network = await LabNetwork.create()
      certificates = await makeCertificates(workspace)
      config = await configureGateway(workspace, { certificates, config: { egress: { mode } } })
      before = await hostState()
    })
    afterAll(async () => {
      await network?.close()
      workspace?.remove()
    })

    test('on SIGHUP takes up a new certificate and keeps its sessions', async () => {
      const gateway = await startGateway(network, config)
      const client = await connectOpenconnect(network, alice())
      const pinging = startPing(network, corporateAddress)
      await nextAnswer(pinging)

      const other = new Workspace()
      const renewed = await makeCertificates(other)
      copyFileSync(renewed.gateway.certificate, certificates.gateway.certificate)
      copyFileSync(renewed.gateway.key, certificates.gateway.key)
      other.remove()
      const since = gateway.mark
      gateway.kill('SIGHUP')
      await gateway.waitFor(/reload/i, { since })

      const wanted = new X509Certificate(readFileSync(certificates.gateway.certificate))
      expect(await servedFingerprint()).toBe(wanted.fingerprint256)
      certificates = { ...certificates, gatewayPin: renewed.gatewayPin }
      await nextAnswer(pinging)
      const { sent, received } = await readPing(pinging)
      expect(sent - received).toBeLessThanOrEqual(1)
      expect(client.output).not.toMatch(/reconnect|dead peer/i)
      console.log(`reload: longest gap of ${longestGap(pinging).toFixed(0)} ms`)
      await endOpenconnect(client)

      const second = await connectOpenconnect(network, alice())
      await endOpenconnect(second)
      await gateway.stop('SIGTERM')
    })

    test('on SIGTERM tells its clients, ends with exit code 0 and leaves nothing behind', async () => {
      const gateway = await startGateway(network, config)
      const client = await connectOpenconnect(network, alice())
      expect(await ping(network, corporateAddress)).toMatchObject({ received: 3 })
      const { code, output } = await gateway.stop('SIGTERM')
      expect(code, output).toBe(0)
      await client.waitFor(/server disconnect|terminate/i)
      await client.finished
      expect(await hostState()).toBe(before)
    })

    test('after a crash forwards nothing, and starts again over what is left', async () => {
      const gateway = await startGateway(network, config)
      let client: LabProcess = await connectOpenconnect(network, alice())
      expect(await ping(network, corporateAddress)).toMatchObject({ received: 3 })
      await gateway.stop('SIGKILL')
      expect(await ping(network, corporateAddress)).toMatchObject({ received: 0 })
      await client.stop('SIGKILL')
      await network.run('client', 'ip', ['link', 'delete', 'vpn0'])

      const again = await startGateway(network, config)
      client = await connectOpenconnect(network, alice())
      expect(await ping(network, corporateAddress)).toMatchObject({ received: 3 })
      await endOpenconnect(client)
      await again.stop('SIGTERM')
      expect(await hostState()).toBe(before)
    })

    async function servedFingerprint(): Promise<string> {
      const args = ['s_client', '-connect', `${gatewayAddress}:${port}`, '-showcerts']
      const { stdout } = await network.run('client', 'openssl', args)
      const pem = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/.exec(stdout)?.[0] ?? ''
      return new X509Certificate(pem).fingerprint256
    }
  })
})
