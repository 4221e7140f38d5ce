import { GatewayError } from '../../errors.ts'
import type { RunnableTunnel } from '../../gateway.ts'
import type { Logger } from '../../log/logger.ts'
import type { TunnelSettings } from '../tunnel-settings.ts'

/** Makes a client's tunnel; `start` opens it. */
export function createTunnel(_settings: TunnelSettings, _log: Logger): RunnableTunnel {
  throw new GatewayError('ERR_GATEWAY_HOST', 'this build has no client data plane')
}
