import type { PacketDevice } from '@twinbore/tun'
import type { ClientInterfaceFactory } from './client-options.ts'

/**
 * Uses any packet device as a tunnel's interface, without touching the host: one end of a `memoryPair` keeps the tunnel
 * inside the process, and the other end is for whoever talks through it. The tunnel closes the device when it ends.
 *
 * @example
 * const [near, far] = memoryPair()
 * const tunnel = await connect({ url, credentials, interface: deviceInterface(near) })
 */
export function deviceInterface(device: PacketDevice): ClientInterfaceFactory {
  return () => ({ device, close: () => device.close() })
}
