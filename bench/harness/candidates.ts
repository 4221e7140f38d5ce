// The tunnels that benches compare: each with three hosts of its own, one client connected to one gateway.
import { makeCertificates } from '../../tests/lab/certificates.ts'
import { corporateAddress, gatewayAddress, LabNetwork } from '../../tests/lab/lab-network.ts'
import type { LabProcess } from '../../tests/lab/lab-process.ts'
import { ocservWorkers, startOcserv } from '../../tests/lab/ocserv.ts'
import { connectOpenconnect } from '../../tests/lab/openconnect.ts'
import { startOpenvpn } from '../../tests/lab/openvpn.ts'
import { reach } from '../../tests/lab/traffic.ts'
import { configureGateway, port, startClient, usualConfig } from '../../tests/lab/twinbore.ts'
import { startWireguard } from '../../tests/lab/wireguard.ts'
import { Workspace } from '../../tests/lab/workspace.ts'
import { cpuNanoseconds } from './cpu-time.ts'
import { startBenchGateway } from './gateway.ts'
import type { BenchNeed } from './needs.ts'
import { progress } from './progress.ts'
import type { Driver } from './words.ts'

export const tunnelPeers = ['ocserv', 'wireguard-go', 'openvpn'] as const
export type TunnelPeer = (typeof tunnelPeers)[number]

export const needsOfPeer: Readonly<Record<TunnelPeer, readonly BenchNeed[]>> = {
  ocserv: ['ocserv', 'openconnect'],
  'wireguard-go': ['wireguard-go', 'wg'],
  openvpn: ['openvpn'],
}

export interface TunnelSetup {
  /** The client of our own gateway; ocserv's is always openconnect. */
  readonly client: 'openconnect' | 'twinbore'
  /** Without a datagram channel, and with UDP blocked. */
  readonly stream: boolean
  /** AES-256-GCM in place of what the two ends choose. */
  readonly aes256: boolean
  readonly egress: 'translate' | 'kernel' | 'sockets'
  readonly driver: Driver
  /** Silence after which a datagram channel is probed. @defaultValue what the programs come with */
  readonly dpdSeconds?: number
}

export interface Candidate {
  readonly name: 'twinbore' | TunnelPeer
  readonly network: LabNetwork
  /** The gateway's main process. */
  readonly gateway: LabProcess
  readonly client: LabProcess
  /** The cipher of the data channel, as the client or the gateway told it. */
  readonly cipher: string
  /** Nanoseconds that the processes which carry the session have run; for ocserv its worker alone. */
  cpu(): number
  close(): Promise<void>
}

interface Connected {
  readonly gateway: LabProcess
  readonly client: LabProcess
  readonly cipher: string
}

/** Sets a candidate up and connects its client. */
export async function openCandidate(name: Candidate['name'], setup: TunnelSetup): Promise<Candidate> {
  progress(`setting up ${name}`)
  const workspace = new Workspace()
  const network = await LabNetwork.create()
  const close = async (): Promise<void> => {
    await network.close()
    workspace.remove()
  }
  try {
    const { gateway, client, cipher } = await connectors[name](network, workspace, setup)
    await reach(network, corporateAddress)
    const pids = name === 'ocserv' ? ocservWorkers(gateway) : [gateway.pid]
    if (pids.length === 0) throw new Error('ocserv has no worker for the session.')
    const cpu = (): number => pids.reduce((sum, pid) => sum + cpuNanoseconds(pid), 0)
    return { name, network, gateway, client, cipher, cpu, close }
  } catch (error) {
    await close()
    throw error
  }
}

const connectors: Readonly<
  Record<Candidate['name'], (network: LabNetwork, workspace: Workspace, setup: TunnelSetup) => Promise<Connected>>
> = {
  async twinbore(network, workspace, setup) {
    const certificates = await makeCertificates(workspace)
    const { dpdSeconds } = setup
    const config = {
      ...usualConfig(certificates),
      egress: { mode: setup.egress },
      dataPlane: { driver: setup.driver },
      session: dpdSeconds === undefined ? {} : { dpdSeconds },
      datagram: dpdSeconds === undefined ? {} : { dpdSeconds },
    }
    if (setup.egress === 'sockets') {
      // Pings of clients leave by sockets that need no rights, which a new namespace forbids.
      await network.mustRun('gateway', 'sysctl', ['-qw', 'net.ipv4.ping_group_range=0 2147483647'])
    }
    const gateway = await startBenchGateway(network, await configureGateway(workspace, { certificates, config }))
    return { gateway, ...(await connect(network, certificates.gatewayPin, setup)) }
  },
  async ocserv(network, workspace, setup) {
    const certificates = await makeCertificates(workspace)
    const { dpdSeconds } = setup
    const gateway = await startOcserv(network, workspace, {
      certificates,
      users: { alice: 'secret' },
      ...(dpdSeconds === undefined ? {} : { dpdSeconds }),
    })
    return { gateway, ...(await connect(network, certificates.gatewayPin, { ...setup, client: 'openconnect' })) }
  },
  async 'wireguard-go'(network, workspace) {
    return { ...(await startWireguard(network, workspace)), cipher: 'ChaCha20-Poly1305' }
  },
  async openvpn(network, workspace, { aes256 }) {
    const certificates = await makeCertificates(workspace)
    const cipher = aes256 ? 'AES-256-GCM' : 'AES-128-GCM'
    return { ...(await startOpenvpn(network, workspace, { certificates, cipher })), cipher }
  },
}

/** Connects a client of the OpenConnect protocol, by both channels or by the stream channel alone. */
async function connect(
  network: LabNetwork,
  serverPin: string,
  { client, stream, aes256 }: TunnelSetup,
): Promise<{ client: LabProcess; cipher: string }> {
  if (stream) await network.dropUdp(port)
  const login = { url: `https://${gatewayAddress}`, serverPin, user: 'alice' }
  if (client === 'twinbore') {
    const process = startClient(network, {
      ...login,
      password: 'secret',
      more: ['--log', 'info', ...(stream ? ['--no-datagram'] : [])],
    })
    const found = await process.waitFor(stream ? /stream channel\b.*/ : /datagram channel established.*/)
    return { client: process, cipher: /[A-Z0-9_-]*(?:GCM|POLY1305)[A-Z0-9_-]*/i.exec(found[0])?.[0] ?? 'unknown' }
  }
  const more = [
    ...(stream ? ['--no-dtls'] : []),
    ...(aes256 ? ['--gnutls-priority', 'NORMAL:-AES-128-GCM:-CHACHA20-POLY1305'] : []),
  ]
  const process = await connectOpenconnect(network, { ...login, passwords: ['secret'], more }, { dtls: !stream })
  const line = stream ? /ciphersuite ([^\n]*)/ : /Established DTLS connection[^\n]*Ciphersuite ([^\n]*)/
  return { client: process, cipher: line.exec(process.output)?.[1]?.replace(/\.$/, '') ?? 'unknown' }
}
