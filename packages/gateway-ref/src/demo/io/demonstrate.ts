import type { Demonstration } from '../../cli/io/demo-command.ts'
import { GatewayError } from '../../errors.ts'

/** Runs the demonstration. */
export const demonstrate: Demonstration = async () => {
  throw new GatewayError('ERR_GATEWAY_HOST', 'this build has no data plane')
}
