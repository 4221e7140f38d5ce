import type { OpenTcpOptions } from '../../netstack/net-stack.ts'
import { FlowDuplex, type FlowDuplexOptions } from './flow-duplex.ts'
import { flowError } from './flow-error.ts'
import type { StackHost } from './stack-host.ts'

/**
 * Opens a connection to an address: the duplex is returned at once and emits `connect`, or `error`.
 *
 * @throws RangeError for an address that is none, or of a family that the stack has no address of
 */
export function connectFlow(
  host: StackHost,
  options: OpenTcpOptions & Pick<FlowDuplexOptions, 'allowHalfOpen'>,
): FlowDuplex {
  const { allowHalfOpen = false, ...open } = options
  const duplex = new FlowDuplex(host, { allowHalfOpen })
  if (duplex.destroyed) return duplex
  const flow = host.openTcp(open, duplex)
  if (flow === -1) duplex.destroy(flowError('EADDRNOTAVAIL', 'connect', options.remote))
  else duplex.attach(flow)
  return duplex
}
