// The program under test: the gateway on its host, and our client on the client's.
import { createHmac } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import type { LabCertificates } from './certificates.ts'
import type { LabNetwork } from './lab-network.ts'
import { type Finished, type LabProcess, type LaunchOptions, mustRun, runProgram } from './lab-process.ts'
import type { Workspace } from './workspace.ts'

/** The built program; `npm test` builds it before it runs tests that start it. */
export const program: string = fileURLToPath(new URL('../../packages/gateway-ref/dist/bin.js', import.meta.url))

export const pool = '192.168.77.0/24'
export const pool6 = 'fd77:77::/64'
export const port = 443

export interface GatewaySetup {
  readonly certificates: LabCertificates
  /** Name and password of each user. */
  readonly users?: Readonly<Record<string, string>>
  /** Sections of the configuration that replace or extend the usual ones. */
  readonly config?: Readonly<Record<string, unknown>>
}

/** Writes the users file and the configuration, and returns the path of the latter. */
export async function configureGateway(workspace: Workspace, setup: GatewaySetup): Promise<string> {
  const { certificates, users = { alice: 'secret' }, config = {} } = setup
  const file = workspace.path('users.yaml')
  const present = existsSync(file) ? readFileSync(file, 'utf8') : ''
  for (const [user, password] of Object.entries(users)) {
    if (!present.includes(user)) await addUser(workspace, user, password)
  }
  return workspace.write('gateway.yaml', stringify({ ...usualConfig(certificates), ...config }))
}

export function usualConfig(certificates: LabCertificates): Record<string, unknown> {
  return {
    listen: { address: '0.0.0.0', port },
    tls: { certificate: certificates.gateway.certificate, key: certificates.gateway.key },
    pool: { ipv4: pool, ipv6: pool6 },
    dns: { servers: ['10.2.0.2'], searchDomains: ['corp.example'] },
    routes: { include: ['10.2.0.0/24', 'fd02::/64'] },
    egress: { mode: 'translate' },
    auth: { users: 'users.yaml' },
    session: { dpdSeconds: 3 },
  }
}

/** `twinbore user add`, with the password by standard input; returns what it printed. */
export function addUser(workspace: Workspace, user: string, password: string, more: string[] = []): Promise<string> {
  const args = [program, 'user', 'add', user, '--users', workspace.path('users.yaml'), ...more]
  return mustRun(process.execPath, args, { input: `${password}\n` })
}

/** Starts the gateway and waits until it says that it is ready. */
export async function startGateway(network: LabNetwork, configFile: string): Promise<LabProcess> {
  const gateway = network.start('gateway', process.execPath, [program, 'gateway', '--config', configFile])
  await gateway.waitFor(new RegExp(`\\b${port}\\b.*\\n`), { stdoutOnly: true })
  return gateway
}

export interface ClientSetup {
  readonly url: string
  readonly user: string
  readonly password: string
  readonly serverPin: string
  readonly more?: readonly string[]
}

/** Starts `twinbore connect` on the client host, and returns at once. */
export function startClient(network: LabNetwork, setup: ClientSetup): LabProcess {
  const { url, user, password, serverPin, more = [] } = setup
  const args = [program, 'connect', url, '--user', user, '--server-pin', serverPin, ...more]
  return network.start('client', process.execPath, args, { input: `${password}\n` })
}

/** Runs the program to its end, without any namespace. */
export function runTwinbore(args: readonly string[], options: LaunchOptions = {}): Promise<Finished> {
  return runProgram(process.execPath, [program, ...args], options)
}

/** The time-based one-time code of a secret in base32, for `now` (RFC 6238 with RFC 4226's truncation, 6 digits, 30 s). */
export function oneTimeCode(secretBase32: string, now: number = Date.now()): string {
  const message = Buffer.alloc(8)
  message.writeBigUInt64BE(BigInt(Math.floor(now / 30_000)))
  const digest = createHmac('sha1', decodeBase32(secretBase32)).update(message).digest()
  const value = digest.readUInt32BE(digest[19]! & 15) & 0x7fffffff
  return String(value % 1_000_000).padStart(6, '0')
}

function decodeBase32(text: string): Uint8Array {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
  const bytes: number[] = []
  let bits = 0
  let value = 0
  for (const letter of text.toUpperCase().replace(/[\s=]/g, '')) {
    value = (value << 5) | alphabet.indexOf(letter)
    bits += 5
    if (bits >= 8) {
      bits -= 8
      bytes.push((value >> bits) & 0xff)
      value &= (1 << bits) - 1
    }
  }
  return Uint8Array.from(bytes)
}
