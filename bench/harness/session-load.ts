// Gateways for many sessions, and the processes that load them.
import { fileURLToPath } from 'node:url'
import { addUser, hashPassword } from '@twinbore/gateway-ref'
import { stringify } from 'yaml'
import { makeCertificates } from '../../tests/lab/certificates.ts'
import { corporateAddress, gatewayAddress, LabNetwork } from '../../tests/lab/lab-network.ts'
import { type LabProcess, mustRun } from '../../tests/lab/lab-process.ts'
import { startOcserv } from '../../tests/lab/ocserv.ts'
import { usualConfig } from '../../tests/lab/twinbore.ts'
import { Workspace } from '../../tests/lab/workspace.ts'
import type { Command, EchoAnswer, EchoCommand, OpenAnswer, OpenCommand } from '../load/generator.ts'
import { pinnedTo } from './cores.ts'
import { startBenchGateway } from './gateway.ts'
import { progress } from './progress.ts'
import type { Driver } from './words.ts'

export type SessionGateway = 'twinbore' | 'ocserv'

/** The cheapest that each takes, so that logins are compared and not hashes. */
export const passwordHashes: Readonly<Record<SessionGateway, string>> = {
  twinbore: 'scrypt, N = 1024, r = 1, p = 1',
  ocserv: 'MD5 of crypt(3), 1000 rounds',
}

/** Bytes of UDP payload of a packet of the load. */
export const payloadBytes = 1200

const echoPort = 7
const generatorProgram = fileURLToPath(new URL('../load/generator.ts', import.meta.url))
const echoProgram = fileURLToPath(new URL('../load/udp-echo.ts', import.meta.url))
const typescript = ['--import', import.meta.resolve('tsx')]

export interface SessionCandidate {
  readonly name: SessionGateway
  readonly gateway: LabProcess
  /** Starts one more load generator; it has no sessions yet. */
  startLoad(): LoadProcess
  close(): Promise<void>
}

/** A load generator, as a bench talks to it. */
export interface LoadProcess {
  readonly pid: number
  open(count: number, concurrency: number): Promise<OpenAnswer>
  echo(command: Omit<EchoCommand, 'do'>): Promise<EchoAnswer>
  /** Ends all sessions in good order. */
  closeAll(): Promise<void>
}

/** Starts a gateway that takes so many sessions of one user, on one core, and an echo beyond it. */
export async function openSessionCandidate(
  name: SessionGateway,
  maxSessions: number,
  driver: Driver,
  core: number,
): Promise<SessionCandidate> {
  progress(`setting up ${name}`)
  const workspace = new Workspace()
  const network = await LabNetwork.create()
  const close = async (): Promise<void> => {
    await network.close()
    workspace.remove()
  }
  try {
    const certificates = await makeCertificates(workspace)
    const echo = network.start('corporate', process.execPath, [
      ...typescript,
      echoProgram,
      corporateAddress,
      `${echoPort}`,
    ])
    await echo.waitFor(/ready/)
    const gateway =
      name === 'twinbore'
        ? await startOurs(
            network,
            workspace,
            { ...usualConfig(certificates), dataPlane: { driver } },
            maxSessions,
            core,
          )
        : await startOcserv(network, workspace, {
            certificates,
            users: {},
            passwordFile: await cheapPasswordFile(workspace),
            maxClients: maxSessions,
            runner: pinnedTo(core),
            pools: { ipv4: '10.201.0.0/16', ipv6: 'fd99:201::/64' },
            dpdSeconds: 3600,
            more: ['max-ban-score = 0'],
          })
    const words = [`https://${gatewayAddress}`, 'alice', 'secret', corporateAddress]
    return { name, gateway, close, startLoad: () => startLoad(network, [...words, `${echoPort}`, `${payloadBytes}`]) }
  } catch (error) {
    await close()
    throw error
  }
}

async function startOurs(
  network: LabNetwork,
  workspace: Workspace,
  usual: Readonly<Record<string, unknown>>,
  maxSessions: number,
  core: number,
): Promise<LabProcess> {
  const password = await hashPassword('secret', { N: 1024, r: 1, p: 1 })
  await addUser(workspace.path('users.yaml'), { name: 'alice', password })
  const limits = { maxSessions, maxSessionsPerUser: maxSessions, dpdSeconds: 0 }
  const pool = { ipv4: '10.77.0.0/16', ipv6: 'fd77:77::/64', quarantineSeconds: 0 }
  const config = workspace.write('gateway.yaml', stringify({ ...usual, pool, session: limits }))
  return startBenchGateway(network, config, pinnedTo(core))
}

async function cheapPasswordFile(workspace: Workspace): Promise<string> {
  const hash = (await mustRun('openssl', ['passwd', '-1', 'secret'])).trim()
  return workspace.write('ocpasswd', `alice:*:${hash}\n`)
}

function startLoad(network: LabNetwork, words: readonly string[]): LoadProcess {
  const load = network.start('client', process.execPath, [...typescript, generatorProgram, ...words], {
    keepInputOpen: true,
  })
  const ask = async <T>(command: Command, timeoutMs: number): Promise<T> => {
    const since = load.stdout.length
    load.write(`${JSON.stringify(command)}\n`)
    const [line] = await load.waitFor(/^\{.*\}$(?=\n)/m, { since, stdoutOnly: true, timeoutMs })
    return JSON.parse(line) as T
  }
  return {
    pid: load.pid,
    open: (count, concurrency) => {
      const command: OpenCommand = { do: 'open', count, concurrency }
      return ask(command, 60_000 + count * 500)
    },
    echo: command => ask({ do: 'echo', ...command }, 60_000 + command.seconds * 1000),
    closeAll: async () => void (await ask({ do: 'close' }, 60_000)),
  }
}
