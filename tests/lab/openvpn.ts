// Debian's OpenVPN on both hosts: UDP, a TUN device at each end, without the kernel's offload of its data channel.
import { type LabCertificates, makeClientCertificate } from './certificates.ts'
import { gatewayAddress, type LabNetwork } from './lab-network.ts'
import type { LabProcess } from './lab-process.ts'
import { masquerade } from './masquerade.ts'
import type { Workspace } from './workspace.ts'

export const openvpnPool = '10.203.0.0/24'
export const openvpnPool6 = 'fd99:203::/64'

export interface OpenvpnPair {
  readonly gateway: LabProcess
  readonly client: LabProcess
}

/** Connects the client to the gateway; the corporate network is routed into the tunnel when it returns. */
export async function startOpenvpn(
  network: LabNetwork,
  workspace: Workspace,
  { certificates, cipher }: { readonly certificates: LabCertificates; readonly cipher: string },
): Promise<OpenvpnPair> {
  const user = await makeClientCertificate(workspace, certificates.authority, 'alice')
  const common = [
    'dev tun',
    'proto udp',
    `data-ciphers ${cipher}`,
    'disable-dco',
    `ca ${certificates.authority.certificate}`,
  ]
  const server = workspace.write(
    'openvpn-server.conf',
    [
      ...common,
      `cert ${certificates.gateway.certificate}`,
      `key ${certificates.gateway.key}`,
      'dh none',
      'topology subnet',
      'port 1194',
      'server 10.203.0.0 255.255.255.0',
      `server-ipv6 ${openvpnPool6}`,
      'push "route 10.2.0.0 255.255.255.0"',
      'push "route-ipv6 fd02::/64"',
      '',
    ].join('\n'),
  )
  const client = workspace.write(
    'openvpn-client.conf',
    [
      ...common,
      `cert ${user.certificate}`,
      `key ${user.key}`,
      'client',
      'nobind',
      `remote ${gatewayAddress} 1194`,
      '',
    ].join('\n'),
  )
  await masquerade(network, [openvpnPool, openvpnPool6])
  return { gateway: await start(network, 'gateway', server), client: await start(network, 'client', client) }
}

async function start(network: LabNetwork, host: 'gateway' | 'client', config: string): Promise<LabProcess> {
  const daemon = network.start(host, 'openvpn', ['--config', config])
  await daemon.waitFor(/Initialization Sequence Completed/)
  return daemon
}
