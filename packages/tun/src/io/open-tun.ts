import { TunError } from '../errors.ts'
import { defaultTunMtu, type TunOffload, type TunOptions } from '../options.ts'
import type { PacketDevice } from '../packet-device.ts'
import { LinkSettings } from './linux/link-settings.ts'
import { syscalls } from './linux/syscalls.ts'
import { attachTun, type TunAttachment } from './linux/tun-attach.ts'
import { LinuxTunDevice, type TunHandle } from './linux/tun-device.ts'

/** A kernel TUN. */
export interface TunDevice extends PacketDevice {
  /** What `adoptTun` takes in a worker thread. */
  readonly handle: TunHandle
}

/**
 * Makes a TUN interface (or attaches to a persistent one), sets its MTU and addresses and brings it up. Everything is gone
 * again after `close()`.
 *
 * @throws TunError when the system refuses; `code` says why and the message what to do. RangeError for a wrong MTU.
 * @example
 * const device = openTun({ name: 'tb0', addresses: ['192.168.77.1/24'] })
 * const batch = new PacketBatch({ slotBytes: device.maxPacketBytes })
 * device.onReadable = () => {
 *   batch.reset()
 *   device.read(batch)
 * }
 */
export function openTun(options: TunOptions = {}): TunDevice {
  return openQueues(options, options.multiQueue ? 1 : 0, offloadOf(options))[0]!
}

/**
 * Opens one interface with several queues: as many devices, one for each thread that reads. The kernel spreads flows over
 * them, answers come from the queue that sent what they answer. The interface goes when the last of them is closed.
 *
 * @param options - `count`: how many, 1 to 256
 * @throws as `openTun`
 */
export function openTunQueues(options: TunOptions & { readonly count: number }): TunDevice[] {
  const { count } = options
  if (!Number.isInteger(count) || count < 1 || count > 256) throw new RangeError('count must be 1 to 256')
  return openQueues(options, count, offloadOf(options))
}

/**
 * A device over a descriptor that another thread of this process has opened. `close` ends the device and leaves the descriptor
 * open, so that a thread that dies can be replaced; whoever opened it closes it.
 */
export function adoptTun(handle: TunHandle): TunDevice {
  return new LinuxTunDevice(handle, false)
}

/** @internal `openTun` and `openTunQueues`. `count` 0 is one device without IFF_MULTI_QUEUE. */
export function openQueues(options: TunOptions, count: number, offload: TunOffload): TunDevice[] {
  if (process.platform !== 'linux') {
    throw new TunError('ERR_TUN_UNSUPPORTED_PLATFORM', `TUN devices are not implemented on ${process.platform}`)
  }
  const mtu = options.mtu ?? defaultTunMtu
  if (!Number.isInteger(mtu) || mtu < 68 || mtu > 65_535) throw new RangeError('mtu must be 68 to 65535')
  const system = syscalls()
  const attachments: TunAttachment[] = []
  try {
    for (let queue = 0; queue < Math.max(1, count); queue++) {
      attachments.push(
        attachTun(system, {
          name: attachments[0]?.name ?? options.name ?? '',
          persist: options.persist ?? false,
          multiQueue: count > 0,
          offload,
        }),
      )
    }
    configure(attachments[0]!.name, mtu, options)
  } catch (error) {
    for (const { descriptor } of attachments) system.close(descriptor)
    throw error
  }
  return attachments.map(
    ({ descriptor, name, format }) => new LinuxTunDevice({ descriptor, name, mtu, ...format }, true),
  )
}

function offloadOf(options: TunOptions): TunOffload {
  const { offload = false } = options
  return typeof offload === 'string' ? offload : offload ? 'all' : 'write'
}

function configure(name: string, mtu: number, options: TunOptions): void {
  const settings = new LinkSettings()
  try {
    const linkLocal = options.linkLocal ?? false
    // Kernels without IPv6 refuse the question about link-local addresses; then there are none anyway.
    if (!linkLocal) attempt(() => settings.setLink(name, { linkLocal }))
    const { queueLength, gsoMaxBytes } = options
    settings.setLink(name, { mtu, ...(queueLength !== undefined && { queueLength }) })
    // A kernel that refuses keeps its own, which is only slower.
    if (gsoMaxBytes !== undefined) attempt(() => settings.setLink(name, { gsoMaxBytes }))
    for (const address of options.addresses ?? []) settings.addAddress(name, address)
    settings.setLink(name, { up: true })
  } finally {
    settings.close()
  }
}

function attempt(act: () => void): void {
  try {
    act()
  } catch (error) {
    if (!(error instanceof TunError) || error.code !== 'ERR_TUN_SETTINGS') throw error
  }
}
