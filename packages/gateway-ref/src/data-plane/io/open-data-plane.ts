import { systemClock, systemRandom } from '@twinbore/core/io'
import type { DatagramNotice, DatagramSocket } from '@twinbore/tun'
import type { DataPlaneConfig } from '../../config/gateway-config.ts'
import type { Egress } from '../../egress/egress.ts'
import { GatewayError } from '../../errors.ts'
import type { Logger } from '../../log/logger.ts'
import type { DataPlane, DataPlaneHost } from '../data-plane.ts'
import type { PlaneSettings } from '../engine.ts'
import { LoopDriver } from './loop-driver.ts'
import { recordCrypto } from './record-crypto.ts'
import { WorkerDriver } from './worker-driver.ts'

export interface OpenPlaneOptions {
  readonly config: DataPlaneConfig
  /** What `auto` stands for, where it can be had. */
  readonly preferred: 'worker' | 'loop'
  readonly host: DataPlaneHost
  readonly egress: Egress
  readonly socket: DatagramSocket | undefined
  /** Told by whichever thread uses the socket. */
  readonly onNotice: (notice: DatagramNotice) => void
  readonly log: Logger
}

/**
 * Puts a data plane to work.
 *
 * @throws GatewayError `ERR_GATEWAY_HOST` when the driver that is asked for can't be had
 */
export async function openDataPlane(settings: PlaneSettings, options: OpenPlaneOptions): Promise<DataPlane> {
  const { config, preferred, host, egress, socket, onNotice, log } = options
  const { driver, records, offload } = config
  if (driver === 'worker' || (driver === 'auto' && preferred === 'worker')) {
    const obstacle = workerObstacle(options)
    if (obstacle === undefined) {
      return await WorkerDriver.start(settings, {
        host,
        device: egress.handover!,
        socket: socket?.descriptor,
        gso: offload.gso,
        records,
        onNotice,
        clock: systemClock,
        log,
      })
    }
    if (driver === 'worker') throw new GatewayError('ERR_GATEWAY_HOST', `dataPlane.driver worker: ${obstacle}`)
  }
  const crypto = recordCrypto(records)
  const hands = { host, device: egress.device, socket, crypto, random: systemRandom, clock: systemClock }
  return new LoopDriver(settings, hands, driver === 'portable' ? 'portable' : 'loop')
}

/** Why a worker can't be had; `undefined` when it can. */
function workerObstacle({ egress, socket }: OpenPlaneOptions): string | undefined {
  if (!egress.handover) return 'this way out lives on the event loop'
  if (socket && socket.descriptor === undefined) return 'the UDP socket of this system lives on the event loop'
  return undefined
}
