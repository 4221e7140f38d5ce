import type { DatagramSocket } from '../datagram-socket.ts'
import { TunError } from '../errors.ts'
import type { DatagramSocketOptions } from '../options.ts'
import { DgramSocket } from './portable/dgram-socket.ts'

/**
 * Opens a UDP socket in the batch contract. One socket on `::` serves IPv6 and IPv4; IPv4 peers appear with their IPv4
 * address.
 *
 * @throws TunError `ERR_TUN_BIND` when the address or port can't be had
 * @example
 * const socket = await openDatagramSocket({ address: '0.0.0.0', port: 443 })
 */
export async function openDatagramSocket(options: DatagramSocketOptions = {}): Promise<DatagramSocket> {
  if (options.address !== undefined) return await DgramSocket.open(options.address, options)
  try {
    return await DgramSocket.open('::', options)
  } catch (error) {
    const without = error instanceof TunError && (error.errno === 'EAFNOSUPPORT' || error.errno === 'EADDRNOTAVAIL')
    if (!without) throw error
    return await DgramSocket.open('0.0.0.0', options)
  }
}
