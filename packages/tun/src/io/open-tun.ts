import { TunError } from '../errors.ts'
import { defaultTunMtu, type TunOptions } from '../options.ts'
import type { PacketDevice } from '../packet-device.ts'
import { LinkSettings } from './linux/link-settings.ts'
import { LinuxTunDevice } from './linux/tun-device.ts'

/**
 * Makes a TUN interface (or attaches to a persistent one), sets its MTU and addresses and brings it up. Everything is gone
 * again after `close()`.
 *
 * @throws TunError when the system refuses; `code` says why and the message what to do. RangeError for a wrong MTU.
 * @example
 * const device = openTun({ name: 'tb0', addresses: ['192.168.77.1/24'] })
 * const batch = new PacketBatch()
 * device.onReadable = () => {
 *   batch.reset()
 *   device.read(batch)
 * }
 */
export function openTun(options: TunOptions = {}): PacketDevice {
  if (process.platform !== 'linux') {
    throw new TunError('ERR_TUN_UNSUPPORTED_PLATFORM', `TUN devices are not implemented on ${process.platform}`)
  }
  const mtu = options.mtu ?? defaultTunMtu
  if (!Number.isInteger(mtu) || mtu < 68 || mtu > 65_535) throw new RangeError('mtu must be 68 to 65535')
  const device = LinuxTunDevice.open(options.name ?? '', mtu, options.persist ?? false)
  try {
    const settings = new LinkSettings()
    try {
      const linkLocal = options.linkLocal ?? false
      // Kernels without IPv6 refuse the question about link-local addresses; then there are none anyway.
      if (!linkLocal) attempt(() => settings.setLink(device.name, { linkLocal }))
      settings.setLink(device.name, { mtu })
      for (const address of options.addresses ?? []) settings.addAddress(device.name, address)
      settings.setLink(device.name, { up: true })
    } finally {
      settings.close()
    }
  } catch (error) {
    device.close()
    throw error
  }
  return device
}

function attempt(act: () => void): void {
  try {
    act()
  } catch (error) {
    if (!(error instanceof TunError) || error.code !== 'ERR_TUN_SETTINGS') throw error
  }
}
