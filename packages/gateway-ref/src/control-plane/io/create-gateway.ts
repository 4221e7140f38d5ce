import { formatProblem } from '../../config/config-problem.ts'
import type { GatewayOptions } from '../../config/gateway-options.ts'
import { loadGatewayOptions } from '../../config/io/load-config.ts'
import { Gateway, type GatewayHands } from './gateway.ts'

/**
 * Checks options and makes a gateway of them; `start()` opens it.
 *
 * @throws GatewayError `ERR_GATEWAY_CONFIGURATION` with every mistake in `problems`
 * @example
 * const gateway = await createGateway({ listen: { port: 8443 }, tls, pool: { ipv4: '192.168.77.0/24' }, auth })
 * gateway.on('session-established', ({ session }) => console.log(session.identity.username, session.ipv4))
 * await gateway.start()
 */
export async function createGateway(options: GatewayOptions, hands: GatewayHands = {}): Promise<Gateway> {
  const { config, warnings } = await loadGatewayOptions(options)
  for (const warning of warnings) hands.log?.warn(formatProblem({ ...warning, severity: 'error' }))
  return new Gateway(config, hands)
}
