import { IpAddress } from '@twinbore/core/address'
import type { PacketDevice } from '@twinbore/tun'
import { GatewayError } from '../errors.ts'
import type { Egress, Translation } from './egress.ts'

export interface DeviceEgressOptions {
  /** Where clients' packets leave and answers come back. The gateway closes it when it stops. */
  readonly device: PacketDevice
  /** What clients appear as beyond the device: one address or several, of either family or both. */
  readonly addresses: readonly string[]
  /** Ports that clients' flows are given. @defaultValue 1024 to 65535 */
  readonly ports?: { readonly first: number; readonly last: number }
}

/**
 * A way out over any packet device, translated by our own translator, that changes nothing of the host and needs no rights:
 * one end of a `memoryPair` keeps everything inside the process.
 *
 * @throws RangeError when an address is none, or there is none
 * @example
 * const [wayOut, corporateHost] = memoryPair()
 * const gateway = await createGateway(options, { egress: deviceEgress({ device: wayOut, addresses: ['203.0.113.7'] }) })
 */
export function deviceEgress(options: DeviceEgressOptions): Egress {
  return new DeviceEgress(options)
}

class DeviceEgress implements Egress {
  readonly mode = 'translate'
  readonly device: PacketDevice
  readonly translation: Translation
  private used = false

  constructor({ device, addresses, ports = { first: 1024, last: 65_535 } }: DeviceEgressOptions) {
    if (addresses.length === 0) throw new RangeError('addresses must not be empty')
    this.device = device
    this.translation = {
      outsideAddresses: addresses.map(text => IpAddress.of(text)),
      // The translator's errors come from its outside address then.
      gatewayAddresses: [],
      portRange: ports,
      excludedPorts: [],
      decrementTtl: true,
    }
  }

  async start(): Promise<void> {
    if (this.used)
      throw new GatewayError('ERR_GATEWAY_HOST', 'the device of this way out is closed: it serves one gateway')
    this.used = true
  }

  async stop(): Promise<void> {
    this.device.close()
  }
}
