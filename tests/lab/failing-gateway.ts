// The gateway of failing-gateway.mjs: its counters, its log, and the deaths of its data plane.
import { fileURLToPath } from 'node:url'
import type { GatewayStats, SessionFacts } from '@twinbore/gateway-ref'
import type { LabNetwork } from './lab-network.ts'
import type { LabProcess } from './lab-process.ts'

const program = fileURLToPath(new URL('./failing-gateway.mjs', import.meta.url))

export interface ToldStats extends GatewayStats {
  readonly list: readonly SessionFacts[]
  /** Ciphers of libcrypto that the main thread has in use for DTLS records. */
  readonly recordContexts: number
}

export interface LogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  readonly msg: string
  readonly [name: string]: unknown
}

/** Starts it and waits until it is ready. */
export async function startFailingGateway(network: LabNetwork, config: string): Promise<LabProcess> {
  const gateway = network.start('gateway', process.execPath, ['--expose-gc', program, config], { keepInputOpen: true })
  await gateway.waitFor(/^ready \w+$/m)
  return gateway
}

export async function statsOf(gateway: LabProcess): Promise<ToldStats> {
  return JSON.parse(await ask(gateway, 'stats')) as ToldStats
}

/** Its memory, right after garbage was collected. */
export async function memoryOf(gateway: LabProcess): Promise<NodeJS.MemoryUsage> {
  return JSON.parse(await ask(gateway, 'memory')) as NodeJS.MemoryUsage
}

/** Lets its data plane die when its device has carried so many bytes more. Resolves with the milliseconds until it is replaced. */
export async function die(gateway: LabProcess, way: 'throw' | 'exit' | 'hang', afterBytes = 0): Promise<number> {
  const since = gateway.mark
  gateway.write(`${way} ${afterBytes}\n`)
  const [, milliseconds] = await gateway.waitFor(/replaced after (\d+) ms/, { since })
  return Number(milliseconds)
}

/** The lines of its log. */
export function logOf(gateway: LabProcess): LogLine[] {
  return gateway.output
    .split('\n')
    .filter(line => line.startsWith('{"level"'))
    .map(line => JSON.parse(line) as LogLine)
}

async function ask(gateway: LabProcess, question: 'stats' | 'memory'): Promise<string> {
  const since = gateway.mark
  gateway.write(`${question}\n`)
  return (await gateway.waitFor(new RegExp(`^${question} (.*)\n`, 'm'), { since }))[1]!
}
