import { systemClock, systemRandom } from '@twinbore/core/io'
import { systemCrypto } from '@twinbore/dtls/io'
import type { DatagramSocket, PacketDevice } from '@twinbore/tun'
import type { DataPlane, DataPlaneHost } from '../data-plane.ts'
import type { PlaneSettings } from '../engine.ts'
import { LoopDriver } from './loop-driver.ts'

export interface OpenPlaneHands {
  readonly host: DataPlaneHost
  readonly device: PacketDevice
  readonly socket: DatagramSocket | undefined
}

/** Puts a data plane to work. */
export function openDataPlane(settings: PlaneSettings, hands: OpenPlaneHands): DataPlane {
  return new LoopDriver(settings, { ...hands, crypto: systemCrypto, random: systemRandom, clock: systemClock }, 'loop')
}
