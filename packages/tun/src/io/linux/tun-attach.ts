import { TunError } from '../../errors.ts'
import type { TunOffload } from '../../options.ts'
import { errno, errnoName } from './errno.ts'
import {
  IFF_MULTI_QUEUE,
  IFF_NO_PI,
  IFF_TUN,
  IFF_VNET_HDR,
  IFREQ_BYTES,
  isInterfaceName,
  O_CLOEXEC,
  O_NONBLOCK,
  O_RDWR,
  readIfreqName,
  TUN_F_CSUM,
  TUN_F_TSO_ECN,
  TUN_F_TSO4,
  TUN_F_TSO6,
  TUN_F_USO4,
  TUN_F_USO6,
  TUNGETFEATURES,
  TUNSETIFF,
  TUNSETOFFLOAD,
  TUNSETPERSIST,
  TUNSETVNETHDRSZ,
  writeIfreq,
} from './structs.ts'
import type { Syscalls } from './syscalls.ts'

const TUN_PATH = '/dev/net/tun'
const legacyHeaderBytes = 10
const headerBytes = 12

/** How a descriptor of a TUN speaks. A plain value. */
export interface TunFormat {
  /** Bytes of the virtio header before each packet: 12, 10 with kernels that can't give 12, 0 without headers. */
  readonly headerBytes: number
  /** Whether the kernel hands out super-packets of TCP and packets with partial checksums. */
  readonly segmentation: boolean
  /** Whether it does the same for UDP, and takes super-packets of UDP. */
  readonly datagramSegmentation: boolean
}

export interface TunAttachment {
  readonly descriptor: number
  readonly name: string
  readonly format: TunFormat
}

export interface TunAttachOptions {
  /** An empty name lets the kernel choose. */
  readonly name: string
  readonly persist: boolean
  readonly multiQueue: boolean
  readonly offload: TunOffload
}

/** Attaches to the interface of that name, or makes it. What the kernel can't do of `offload` is left out. @throws TunError */
export function attachTun(system: Syscalls, options: TunAttachOptions): TunAttachment {
  const { name } = options
  if (name !== '' && !isInterfaceName(name)) {
    throw new TunError('ERR_TUN_NAME', `'${name}' is not an interface name: 1 to 15 characters, no slash, no blank`)
  }
  const descriptor = openDriver(system)
  const request = new ArrayBuffer(IFREQ_BYTES)
  const bytes = new Uint8Array(request)
  const attach = (flags: number): boolean => {
    writeIfreq(bytes, name, flags)
    return system.ioctl(descriptor, TUNSETIFF, system.library.addressOf(request)) !== -1
  }
  const refuse = (): TunError => {
    const refusal = attachRefusal(system.lastError(), name)
    system.close(descriptor)
    return refusal
  }
  const flags = IFF_TUN | IFF_NO_PI | (options.multiQueue ? IFF_MULTI_QUEUE : 0)
  const wantsHeader = options.offload !== 'plain'
  let hasHeader = wantsHeader && attach(flags | IFF_VNET_HDR)
  if (!hasHeader) {
    // What only looks like a Linux kernel may know no virtio headers.
    if (wantsHeader && system.lastError() !== errno.EINVAL) throw refuse()
    if (!attach(flags)) throw refuse()
    hasHeader = false
  }
  if (options.persist && system.ioctl(descriptor, TUNSETPERSIST, 1) === -1) throw refuse()
  const format = hasHeader ? negotiate(system, descriptor, options.offload) : plainFormat
  return { descriptor, name: readIfreqName(bytes), format }
}

const plainFormat: TunFormat = { headerBytes: 0, segmentation: false, datagramSegmentation: false }

function negotiate(system: Syscalls, descriptor: number, offload: TunOffload): TunFormat {
  const size = Int32Array.of(headerBytes)
  const isLong = system.ioctl(descriptor, TUNSETVNETHDRSZ, system.library.addressOf(size.buffer)) !== -1
  const tcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6
  const wanted = [
    ...(offload === 'all' ? [tcp | TUN_F_TSO_ECN | TUN_F_USO4 | TUN_F_USO6] : []),
    ...(offload === 'all' || offload === 'tcp' ? [tcp | TUN_F_TSO_ECN, tcp] : []),
    // A persistent interface may still have what the last process asked for.
    0,
  ]
  const taken = wanted.find(flags => system.ioctl(descriptor, TUNSETOFFLOAD, flags) !== -1) ?? 0
  return {
    headerBytes: isLong ? headerBytes : legacyHeaderBytes,
    segmentation: taken !== 0,
    datagramSegmentation: (taken & TUN_F_USO4) !== 0,
  }
}

/** What the driver can do, as flags of IFF_*; 0 when it does not say. @throws TunError when there is no driver */
export function driverFeatures(system: Syscalls): number {
  const descriptor = openDriver(system)
  const features = new Uint32Array(1)
  const told = system.ioctl(descriptor, TUNGETFEATURES, system.library.addressOf(features.buffer)) !== -1
  system.close(descriptor)
  return told ? features[0]! : 0
}

function openDriver(system: Syscalls): number {
  const descriptor = system.open(TUN_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC)
  if (descriptor !== -1) return descriptor
  const error = system.lastError()
  const name = errnoName(error)
  if (error === errno.ENOENT || error === errno.ENODEV || error === errno.ENXIO) {
    throw new TunError(
      'ERR_TUN_NO_DRIVER',
      `${TUN_PATH} is not there: load the module 'tun', or give the container the device (--device /dev/net/tun)`,
      { errno: name },
    )
  }
  if (error === errno.EACCES || error === errno.EPERM) {
    throw new TunError('ERR_TUN_PERMISSION', `${TUN_PATH} may not be opened by this user`, { errno: name })
  }
  throw new TunError('ERR_TUN_SYSTEM', `${TUN_PATH} can't be opened: ${name}`, { errno: name })
}

function attachRefusal(error: number, name: string): TunError {
  const system = errnoName(error)
  if (error === errno.EPERM || error === errno.EACCES) {
    return new TunError(
      'ERR_TUN_PERMISSION',
      'making a TUN interface needs the capability CAP_NET_ADMIN (root, or --cap-add NET_ADMIN)',
      { errno: system },
    )
  }
  if (error === errno.EBUSY) {
    return new TunError('ERR_TUN_BUSY', `the interface '${name}' is in use by another process`, { errno: system })
  }
  if (error === errno.EINVAL || error === errno.EEXIST) {
    return new TunError('ERR_TUN_NAME', `the name '${name}' belongs to an interface that is not a TUN`, {
      errno: system,
    })
  }
  return new TunError('ERR_TUN_SYSTEM', `the TUN interface can't be made: ${system}`, { errno: system })
}
