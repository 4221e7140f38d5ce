// Debian's ocserv on the gateway host, with its own users and address pool, and the kernel translating behind it.
import { readFileSync } from 'node:fs'
import type { LabCertificates } from './certificates.ts'
import type { LabNetwork } from './lab-network.ts'
import { type LabProcess, mustRun } from './lab-process.ts'
import { masquerade } from './masquerade.ts'
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
  /** A password file that exists already, in place of one that is made of `users`. */
  readonly passwordFile?: string
  /** @defaultValue 16 */
  readonly maxClients?: number
  /** @defaultValue `ocservPool` and `ocservPool6` */
  readonly pools?: { readonly ipv4: string; readonly ipv6: string }
  /** A command that runs it, such as `taskset` with its options. @defaultValue none */
  readonly runner?: readonly string[]
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
  const { maxClients = 16, pools = { ipv4: ocservPool, ipv6: ocservPool6 } } = options
  const passwords = options.passwordFile ?? workspace.path('ocpasswd')
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
      `max-clients = ${maxClients}`,
      `max-same-clients = ${options.maxClients ?? 4}`,
      `dpd = ${dpdSeconds}`,
      'keepalive = 300',
      'try-mtu-discovery = false',
      'cookie-timeout = 300',
      'use-occtl = false',
      `pid-file = ${workspace.path('ocserv.pid')}`,
      'device = vpns',
      'predictable-ips = true',
      'ping-leases = false',
      `ipv4-network = ${pools.ipv4}`,
      `ipv6-network = ${pools.ipv6}`,
      'ipv6-subnet-prefix = 128',
      ...routes.map(route => `route = ${route}`),
      'cisco-client-compat = true',
      'dtls-legacy = false',
      ...more,
      '',
    ].join('\n'),
  )
  await masquerade(network, [pools.ipv4, pools.ipv6])
  const words = [...(options.runner ?? []), 'ocserv', '--foreground', '--log-stderr', '--config', config]
  const server = network.start('gateway', words[0]!, words.slice(1))
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
