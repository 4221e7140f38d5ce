import { systemClock, systemRandom } from '@twinbore/core/io'
import type { DatagramNotice, DatagramSocket } from '@twinbore/tun'
import type { DataPlaneConfig } from '../../config/gateway-config.ts'
import type { Egress } from '../../egress/egress.ts'
import { GatewayError } from '../../errors.ts'
import type { Logger } from '../../log/logger.ts'
import type { DataPlane, DataPlaneHost } from '../data-plane.ts'
import { type PlaneSettings, slicesOf } from '../engine.ts'
import { LoopDriver } from './loop-driver.ts'
import { recordCrypto } from './record-crypto.ts'
import { WorkerDriver } from './worker-driver.ts'
import { WorkersDriver } from './workers-driver.ts'

export interface OpenPlaneOptions {
  readonly config: DataPlaneConfig
  /** What `auto` stands for, where it can be had. */
  readonly preferred: 'worker' | 'loop'
  readonly host: DataPlaneHost
  readonly egress: Egress
  /** One for each worker, or none. */
  readonly sockets: readonly DatagramSocket[]
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
  const { config, preferred, host, egress, sockets } = options
  const { driver, records } = config
  if (driver === 'worker' || (driver === 'auto' && preferred === 'worker')) {
    const obstacle = workerObstacle(options)
    if (obstacle === undefined) return await startWorkers(settings, options)
    if (driver === 'worker') throw new GatewayError('ERR_GATEWAY_HOST', `dataPlane.driver worker: ${obstacle}`)
  }
  const hands = {
    host,
    device: egress.device,
    socket: sockets[0],
    crypto: recordCrypto(records),
    random: systemRandom,
    clock: systemClock,
  }
  return new LoopDriver(settings, hands, driver === 'portable' ? 'portable' : 'loop')
}

async function startWorkers(settings: PlaneSettings, options: OpenPlaneOptions): Promise<DataPlane> {
  const { config, host, egress, sockets, onNotice, log } = options
  const { workers, records, offload } = config
  const parts = egress
    .handovers!.slice(0, workers)
    .map((device, worker) => ({ device, socket: sockets[worker]?.descriptor }))
  const hands = { host, gso: offload.gso, records, onNotice, clock: systemClock, log }
  if (workers === 1) return await WorkerDriver.start(settings, { ...hands, ...parts[0]! })
  const { translation } = settings
  if (translation) {
    try {
      slicesOf(translation, { workers })
    } catch (error) {
      throw new GatewayError('ERR_GATEWAY_HOST', `dataPlane.workers: ${(error as Error).message}`, { cause: error })
    }
  }
  return await WorkersDriver.start(settings, { ...hands, parts })
}

/** Why a worker can't be had; `undefined` when it can. */
function workerObstacle({ egress, sockets, config: { workers } }: OpenPlaneOptions): string | undefined {
  if (!egress.handovers) return 'this way out lives on the event loop'
  if (egress.handovers.length < workers) return `the device has fewer queues than ${workers}`
  if (sockets.some(({ descriptor }) => descriptor === undefined))
    return 'the UDP socket of this system lives on the event loop'
  return undefined
}
