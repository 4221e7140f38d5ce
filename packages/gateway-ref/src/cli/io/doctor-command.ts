import { loadConfigFile } from '../../config/io/load-config.ts'
import { findingLine, findingsOf } from '../../doctor/findings.ts'
import { examineHost } from '../../doctor/io/examine-host.ts'
import { GatewayError } from '../../errors.ts'
import type { ProgramContext } from './program-context.ts'

/**
 * `twinbore doctor`: says what this host offers and what is used instead of what it does not.
 *
 * @throws GatewayError `ERR_GATEWAY_HOST` when something is missing that the configuration needs
 */
export async function doctorCommand(options: { readonly config?: string }, context: ProgramContext): Promise<void> {
  const loaded = options.config === undefined ? undefined : await loadConfigFile(options.config, context.environment)
  const config = loaded?.config
  const facts = await examineHost(config?.listen, config?.datagram.enabled ?? true)
  const findings = findingsOf(facts, {
    mode: config?.egress.mode,
    driver: config?.dataPlane.driver ?? 'auto',
    wanted: config?.dataPlane,
    workers: config?.dataPlane.workers ?? 1,
  })
  for (const finding of findings) context.stdout.write(`${findingLine(finding)}\n`)
  const missing = findings.filter(({ state }) => state === 'missing')
  if (missing.length > 0) {
    const names = missing.map(({ name }) => name).join(', ')
    throw new GatewayError('ERR_GATEWAY_HOST', `this host lacks what the configuration needs: ${names}`)
  }
}
