// Our gateway as benches start it.
import { fileURLToPath } from 'node:url'
import type { GatewayStats } from '@twinbore/gateway-ref'
import type { LabNetwork } from '../../tests/lab/lab-network.ts'
import type { LabProcess } from '../../tests/lab/lab-process.ts'

const host = fileURLToPath(new URL('./gateway-host.mjs', import.meta.url))

/** Starts it with a configuration file, and waits until it listens. */
export async function startBenchGateway(network: LabNetwork, configFile: string): Promise<LabProcess> {
  const gateway = network.start('gateway', process.execPath, [host, configFile])
  await gateway.waitFor(/^ready on port/m, { stdoutOnly: true })
  return gateway
}

/** Its counters now. */
export async function gatewayStats(gateway: LabProcess): Promise<GatewayStats> {
  const since = gateway.mark
  gateway.kill('SIGUSR2')
  const [, json] = await gateway.waitFor(/^stats (.*)\n/m, { since })
  return JSON.parse(json!) as GatewayStats
}
