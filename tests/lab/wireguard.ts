// WireGuard in user space on both hosts: Debian's wireguard-go, configured by `wg`.
import { gatewayAddress, type LabNetwork } from './lab-network.ts'
import { type LabProcess, mustRun } from './lab-process.ts'
import { masquerade } from './masquerade.ts'
import type { Workspace } from './workspace.ts'

export const wireguardPool = '10.202.0.0/24'
export const wireguardPool6 = 'fd99:202::/64'

const port = 51820
let count = 0

export interface WireguardPair {
  readonly gateway: LabProcess
  readonly client: LabProcess
}

/** Connects the client to the gateway; the corporate network is routed into the tunnel when it returns. */
export async function startWireguard(network: LabNetwork, workspace: Workspace): Promise<WireguardPair> {
  count += 1
  // Its control sockets lie in one folder for all hosts, by the name of the device.
  const devices = { gateway: `wg${process.pid}g${count}`, client: `wg${process.pid}c${count}` }
  const keys = { gateway: await makeKey(workspace, 'gateway'), client: await makeKey(workspace, 'client') }
  const gateway = await startDaemon(network, 'gateway', devices.gateway)
  const client = await startDaemon(network, 'client', devices.client)
  const wg = (host: keyof typeof devices, ...words: string[]): Promise<string> =>
    network.mustRun(host, 'wg', ['set', devices[host], 'private-key', keys[host].file, ...words])
  await wg(
    'gateway',
    'listen-port',
    `${port}`,
    'peer',
    keys.client.public,
    'allowed-ips',
    '10.202.0.2/32,fd99:202::2/128',
  )
  await wg(
    'client',
    ...['peer', keys.gateway.public, 'endpoint', `${gatewayAddress}:${port}`],
    ...['allowed-ips', '10.202.0.0/24,10.2.0.0/24,fd99:202::/64,fd02::/64'],
  )
  for (const [host, number] of [
    ['gateway', 1],
    ['client', 2],
  ] as const) {
    const device = devices[host]
    const input = [
      `addr add 10.202.0.${number}/24 dev ${device}`,
      `addr add fd99:202::${number}/64 dev ${device} nodad`,
      `link set ${device} up`,
      ...(host === 'client' ? [`route add 10.2.0.0/24 dev ${device}`, `route add fd02::/64 dev ${device}`] : []),
    ].join('\n')
    await network.mustRun(host, 'ip', ['-batch', '-'], { input })
  }
  await masquerade(network, [wireguardPool, wireguardPool6])
  return { gateway, client }
}

async function startDaemon(network: LabNetwork, host: 'gateway' | 'client', device: string): Promise<LabProcess> {
  const daemon = network.start(host, 'wireguard-go', ['-f', device], { env: { LOG_LEVEL: 'verbose' } })
  await daemon.waitFor(/UAPI listener started/)
  return daemon
}

async function makeKey(workspace: Workspace, name: string): Promise<{ file: string; public: string }> {
  const secret = (await mustRun('wg', ['genkey'])).trim()
  const file = workspace.write(`wireguard-${name}.key`, `${secret}\n`)
  return { file, public: (await mustRun('wg', ['pubkey'], { input: `${secret}\n` })).trim() }
}
