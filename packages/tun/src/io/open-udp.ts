import type { DatagramSocket } from '../datagram-socket.ts'
import { TunError } from '../errors.ts'
import type { AdoptedSocketOptions, DatagramSocketOptions } from '../options.ts'
import { syscalls } from './linux/syscalls.ts'
import { bindUdp } from './linux/udp-bind.ts'
import { LinuxUdpSocket } from './linux/udp-socket.ts'
import { datagramSupport } from './linux/udp-support.ts'
import { DgramSocket } from './portable/dgram-socket.ts'

/**
 * Opens a UDP socket in the batch contract: by batched system calls where `datagramSupport` finds them, by `node:dgram`
 * elsewhere. One socket on `::` serves IPv6 and IPv4; IPv4 peers appear with their IPv4 address.
 *
 * @throws TunError `ERR_TUN_BIND` when the address or port can't be had
 * @example
 * const socket = await openDatagramSocket({ address: '0.0.0.0', port: 443 })
 */
export async function openDatagramSocket(options: DatagramSocketOptions = {}): Promise<DatagramSocket> {
  if (options.address !== undefined) return await openAt(options.address, options)
  try {
    return await openAt('::', options)
  } catch (error) {
    const without = error instanceof TunError && (error.errno === 'EAFNOSUPPORT' || error.errno === 'EADDRNOTAVAIL')
    if (!without) throw error
    return await openAt('0.0.0.0', options)
  }
}

async function openAt(address: string, options: DatagramSocketOptions): Promise<DatagramSocket> {
  if (options.native === false || !datagramSupport().native) return await DgramSocket.open(address, options)
  const system = syscalls()
  const descriptor = bindUdp(system, address, options)
  try {
    return new LinuxUdpSocket(system, { ...options, descriptor, owned: true })
  } catch (error) {
    system.close(descriptor)
    throw error
  }
}

/**
 * A UDP socket over a descriptor that is bound already: one that another thread of this process opened, or a parent process
 * handed down. Its options (such as UDP_GRO) are taken as they are.
 *
 * @throws TunError `ERR_TUN_UNSUPPORTED_PLATFORM` where `datagramSupport` finds no batched system calls; `ERR_TUN_BIND` when
 *   the descriptor is not a UDP socket
 */
export function adoptDatagramSocket(options: AdoptedSocketOptions): DatagramSocket {
  const { native, reason } = datagramSupport()
  if (!native) {
    throw new TunError('ERR_TUN_UNSUPPORTED_PLATFORM', `a UDP socket can't be taken over: ${reason}`)
  }
  return new LinuxUdpSocket(syscalls(), { ...options, owned: options.closeDescriptor ?? false })
}
