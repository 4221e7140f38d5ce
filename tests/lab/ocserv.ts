// Debian's ocserv on the gateway host, with its own users and address pool, and the kernel translating behind it.
import { readFileSync } from 'node:fs'
import type { LabCertificates } from './certificates.ts'
import type { LabNetwork } from './lab-network.ts'
import { type LabProcess, mustRun } from './lab-process.ts'
import type { Workspace } from './workspace.ts'

export interface OcservOptions {
  readonly certificates: LabCertificates
  /** User names and passwords. */
  readonly users: Readonly<Record<string, string>>
  /** @defaultValue 443 */
  readonly port?: number
  readonly routes?: readonly string[]
  /** Seconds between dead-peer probes. @defaultValue 30 */
  readonly dpdSeconds?: number
  /** Further lines of its configuration. */
  readonly more?: readonly string[]
}

export const ocservPool = '10.201.0.0/24'
export const ocservPool6 = 'fd99:201::/64'

/** Starts ocserv and waits until it listens. */
export async function startOcserv(
  network: LabNetwork,
  workspace: Workspace,
  options: OcservOptions,
): Promise<LabProcess> {
  const { certificates, users, port = 443, routes = ['10.2.0.0/24', 'fd02::/64'], dpdSeconds = 30, more = [] } = options
  const passwords = workspace.path('ocpasswd')
  for (const [user, password] of Object.entries(users)) {
    await mustRun('ocpasswd', ['-c', passwords, user], { input: `${password}\n${password}\n` })
  }
  const config = workspace.write(
    'ocserv.conf',
    [
      `auth = "plain[passwd=${passwords}]"`,
      `tcp-port = ${port}`,
      `udp-port = ${port}`,
      'run-as-user = nobody',
      'run-as-group = nogroup',
      `socket-file = ${workspace.path('ocserv.sock')}`,
      `server-cert = ${certificates.gateway.certificate}`,
      `server-key = ${certificates.gateway.key}`,
      'isolate-workers = false',
      'max-clients = 16',
      'max-same-clients = 4',
      `dpd = ${dpdSeconds}`,
      'keepalive = 300',
      'try-mtu-discovery = false',
      'cookie-timeout = 300',
      'use-occtl = false',
      `pid-file = ${workspace.path('ocserv.pid')}`,
      'device = vpns',
      'predictable-ips = true',
      'ping-leases = false',
      `ipv4-network = ${ocservPool}`,
      `ipv6-network = ${ocservPool6}`,
      'ipv6-subnet-prefix = 128',
      ...routes.map(route => `route = ${route}`),
      'cisco-client-compat = true',
      'dtls-legacy = false',
      ...more,
      '',
    ].join('\n'),
  )
  await network.mustRun('gateway', 'sysctl', ['-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1'])
  await network.mustRun('gateway', 'nft', ['-f', '-'], {
    input: 'table inet lab_nat {\nchain post { type nat hook postrouting priority 100; oifname "lan0" masquerade; }\n}',
  })
  const server = network.start('gateway', 'ocserv', ['--foreground', '--log-stderr', '--config', config])
  await server.waitFor(/listening \(UDP\) on \[?::/)
  return server
}

/** The processes of ocserv that carry sessions, by pid: all of them but the main process and its security module. */
export function ocservWorkers(server: LabProcess): number[] {
  const children = readFileSync(`/proc/${server.pid}/task/${server.pid}/children`, 'utf8')
  return children
    .split(' ')
    .filter(Boolean)
    .map(Number)
    .filter(pid => readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'ocserv-worker')
}
