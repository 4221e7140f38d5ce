// Our gateway as benches start it.
import { fileURLToPath } from 'node:url'
import type { GatewayStats } from '@twinbore/gateway-ref'
import type { LabNetwork } from '../../tests/lab/lab-network.ts'
import type { LabProcess } from '../../tests/lab/lab-process.ts'

const host = fileURLToPath(new URL('./gateway-host.mjs', import.meta.url))

/** Starts it with a configuration file, by a command that runs programs if one is given, and waits until it listens. */
export async function startBenchGateway(
  network: LabNetwork,
  configFile: string,
  runner: readonly string[] = [],
): Promise<LabProcess> {
  const words = [...runner, process.execPath, '--expose-gc', host, configFile]
  const gateway = network.start('gateway', words[0]!, words.slice(1), { keepInputOpen: true })
  await gateway.waitFor(/^ready on port/m, { stdoutOnly: true })
  return gateway
}

/** Its counters now. */
export async function gatewayStats(gateway: LabProcess): Promise<GatewayStats> {
  return JSON.parse(await ask(gateway, 'stats', /^stats (.*)\n/m)) as GatewayStats
}

/** Lets it collect its garbage. */
export async function collectGarbage(gateway: LabProcess): Promise<void> {
  await ask(gateway, 'collect', /^(collected)\n/m)
}

async function ask(gateway: LabProcess, line: string, answer: RegExp): Promise<string> {
  const since = gateway.mark
  gateway.write(`${line}\n`)
  return (await gateway.waitFor(answer, { since }))[1]!
}
