import { TunError, type TunErrorCode } from '../errors.ts'
import { IFF_MULTI_QUEUE, IFF_VNET_HDR } from './linux/structs.ts'
import { syscalls } from './linux/syscalls.ts'
import { attachTun, driverFeatures } from './linux/tun-attach.ts'

/** What TUN devices can do here. */
export interface TunSupport {
  /** Why `openTun` would fail; `undefined` when it would not. */
  readonly refusal: TunErrorCode | undefined
  /** What to do about the refusal. */
  readonly advice: string | undefined
  /** Virtio headers: the kernel takes super-packets. */
  readonly superPacketWrites: boolean
  /** The kernel hands out super-packets of TCP. */
  readonly segmentation: boolean
  /** The kernel hands out, and takes, super-packets of UDP (Linux 6.2 and later). */
  readonly datagramSegmentation: boolean
  /** Several queues of one interface (`openTunQueues`). */
  readonly multiQueue: boolean
}

/** Finds out what TUN devices can do here, with an interface that lives for the time of the call and is never up. */
export function tunSupport(): TunSupport {
  const nothing = { superPacketWrites: false, segmentation: false, datagramSegmentation: false, multiQueue: false }
  if (process.platform !== 'linux') {
    return { refusal: 'ERR_TUN_UNSUPPORTED_PLATFORM', advice: 'TUN devices need Linux', ...nothing }
  }
  let features = 0
  try {
    const system = syscalls()
    features = driverFeatures(system)
    const { descriptor, format } = attachTun(system, { name: '', persist: false, multiQueue: false, offload: 'all' })
    system.close(descriptor)
    return {
      refusal: undefined,
      advice: undefined,
      superPacketWrites: format.headerBytes > 0,
      segmentation: format.segmentation,
      datagramSegmentation: format.datagramSegmentation,
      multiQueue: (features & IFF_MULTI_QUEUE) !== 0,
    }
  } catch (error) {
    if (!(error instanceof TunError)) throw error
    const superPacketWrites = (features & IFF_VNET_HDR) !== 0
    const multiQueue = (features & IFF_MULTI_QUEUE) !== 0
    return { refusal: error.code, advice: error.message, ...nothing, superPacketWrites, multiQueue }
  }
}
