import type { GatewayConfig } from '../../config/gateway-config.ts'
import { GatewayError } from '../../errors.ts'
import type { RunnableGateway } from '../../gateway.ts'
import type { Logger } from '../../log/logger.ts'

/** Makes a gateway; `start` opens it. */
export function createGateway(_config: GatewayConfig, _log: Logger): RunnableGateway {
  throw new GatewayError('ERR_GATEWAY_HOST', 'this build has no data plane')
}
