import { formatProblem } from '../../config/config-problem.ts'
import type { GatewayConfig } from '../../config/gateway-config.ts'
import { type LoadedConfig, loadConfigFile } from '../../config/io/load-config.ts'
import type { RunnableGateway } from '../../gateway.ts'
import { createLogger } from '../../log/io/create-logger.ts'
import type { Logger } from '../../log/logger.ts'
import type { ProgramContext } from './program-context.ts'
import { untilStopped } from './until-stopped.ts'

/** How the command makes its gateway. */
export type GatewayFactory = (config: GatewayConfig, log: Logger) => RunnableGateway

/**
 * `twinbore gateway`: runs until a signal ends it. SIGHUP takes the configuration, the users and the certificate anew;
 * a configuration with a mistake changes nothing and is logged.
 */
export async function gatewayCommand(
  options: { readonly config: string },
  context: ProgramContext,
  createGateway: GatewayFactory,
): Promise<void> {
  const loaded = await loadConfigFile(options.config, context.environment)
  const log = createLogger(loaded.config.log, context.stderr, context.environment)
  logWarnings(log, loaded)
  const gateway = createGateway(loaded.config, log)

  await untilStopped(gateway, context, {
    ready: () => {
      const { address, port } = gateway
      context.stdout.write(
        `ready: listening on ${address.includes(':') ? `[${address}]` : address}:${port}, TCP and UDP\n`,
      )
    },
    hangup: async () => {
      try {
        const next = await loadConfigFile(options.config, context.environment)
        logWarnings(log, next)
        await gateway.reload(next.config)
        log.info('configuration reloaded', { file: options.config })
      } catch (error) {
        log.error('configuration not reloaded; the old one stays in use', { reason: String((error as Error).message) })
      }
    },
    log,
  })
}

function logWarnings(log: Logger, { warnings }: LoadedConfig): void {
  for (const warning of warnings) log.warn(formatProblem({ ...warning, severity: 'error' }))
}
