import { DropReason, type PacketBatch, Verdict } from '@twinbore/core/packet'
import { TunError } from '../../errors.ts'
import { DeviceCounters, type PacketDevice, type PacketDeviceStats } from '../../packet-device.ts'
import type { Readiness } from '../native-library.ts'
import { errno, errnoName } from './errno.ts'
import { PacketIo } from './packet-io.ts'
import {
  IFF_NO_PI,
  IFF_TUN,
  IFF_VNET_HDR,
  IFREQ_BYTES,
  isInterfaceName,
  O_CLOEXEC,
  O_NONBLOCK,
  O_RDWR,
  readIfreqName,
  TUNSETIFF,
  TUNSETPERSIST,
  writeIfreq,
} from './structs.ts'
import { type Syscalls, syscalls } from './syscalls.ts'

const TUN_PATH = '/dev/net/tun'

/**
 * A kernel TUN, one read call for each packet, one write call for each or for a run of TCP segments, bytes straight into
 * and out of the batch's slab.
 *
 * The descriptor is non-blocking. Readiness comes from the event loop of the thread that opened the device. An open device
 * with an `onReadable` keeps the process alive, as an open socket does; `close` ends that. The interface disappears with
 * the last descriptor, so also when the process crashes, unless it was made persistent.
 *
 * A slot of the batch must hold `mtu` bytes; a longer packet is counted in `readDrops`. Reading stops at the first packet
 * that finds no free slot.
 */
export class LinuxTunDevice implements PacketDevice {
  readonly name: string
  mtu: number
  readonly superPackets = false
  readonly superDatagrams = false
  onLost: PacketDevice['onLost'] = undefined
  private readonly system: Syscalls
  private readonly watch: Readiness
  private readonly counters = new DeviceCounters()
  private file: number
  private handler: (() => void) | undefined
  private readonly packets: PacketIo

  private constructor(system: Syscalls, descriptor: number, hasHeader: boolean, name: string, mtu: number) {
    this.system = system
    this.file = descriptor
    this.name = name
    this.mtu = mtu
    this.watch = system.library.watch(descriptor)
    this.packets = new PacketIo(system, descriptor, hasHeader)
  }

  /** Attaches to the interface of that name, or makes it; an empty name lets the kernel choose. @throws TunError */
  static open(name: string, mtu: number, persist: boolean): LinuxTunDevice {
    if (name !== '' && !isInterfaceName(name)) {
      throw new TunError('ERR_TUN_NAME', `'${name}' is not an interface name: 1 to 15 characters, no slash, no blank`)
    }
    const system = syscalls()
    const descriptor = system.open(TUN_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC)
    if (descriptor === -1) throw openRefusal(system.lastError())
    const request = new ArrayBuffer(IFREQ_BYTES)
    const bytes = new Uint8Array(request)
    const attach = (flags: number): boolean => {
      writeIfreq(bytes, name, flags)
      return system.ioctl(descriptor, TUNSETIFF, system.library.addressOf(request)) !== -1
    }
    // What only looks like a Linux kernel may know no virtio headers.
    const hasHeader = attach(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR)
    if (!hasHeader && (system.lastError() !== errno.EINVAL || !attach(IFF_TUN | IFF_NO_PI))) {
      const refusal = attachRefusal(system.lastError(), name)
      system.close(descriptor)
      throw refusal
    }
    if (persist && system.ioctl(descriptor, TUNSETPERSIST, 1) === -1) {
      const refusal = attachRefusal(system.lastError(), name)
      system.close(descriptor)
      throw refusal
    }
    return new LinuxTunDevice(system, descriptor, hasHeader, readIfreqName(bytes), mtu)
  }

  get maxPacketBytes(): number {
    return this.mtu
  }

  get descriptor(): number | undefined {
    return this.file === -1 ? undefined : this.file
  }

  get onReadable(): (() => void) | undefined {
    return this.handler
  }

  set onReadable(handler: (() => void) | undefined) {
    this.handler = handler
    if (this.file === -1) return
    if (handler) this.watch.start(failed => this.turn(failed))
    else this.watch.stop()
  }

  read(batch: PacketBatch): number {
    if (this.file === -1) return 0
    const room = batch.slotBytes + Math.min(1, batch.tailroom)
    let added = 0
    let slot = batch.reserve()
    while (slot !== -1) {
      const length = this.packets.read(batch, slot, room)
      if (length > 0 && length <= batch.slotBytes) {
        batch.lengths[slot] = length
        this.counters.slotRead(1, length)
        added++
        slot = batch.reserve()
      } else if (length > 0) {
        this.counters.readDrops++
      } else {
        batch.count--
        if (length === -1) this.readFailed(this.system.lastError())
        break
      }
    }
    return added
  }

  write(batch: PacketBatch): number {
    let written = 0
    let next = 0
    for (let slot = 0; slot < batch.count && this.file !== -1; slot = next) {
      next = slot + 1
      if (batch.verdicts[slot] !== Verdict.forward) continue
      next = slot + this.packets.runLength(batch, slot)
      const isRun = next - slot > 1
      if (isRun ? this.packets.writeRun(batch, slot) : this.packets.write(batch, slot)) {
        this.countWritten(batch, slot, next)
        written += next - slot
      } else {
        this.counters.writeDrops += next - slot
        const reason = this.writeFailed(this.system.lastError())
        for (let lost = slot; lost < next; lost++) batch.drop(lost, reason)
      }
    }
    return written
  }

  close(): void {
    if (this.file === -1) return
    this.handler = undefined
    this.watch.close()
    this.system.close(this.file)
    this.file = -1
  }

  stats(): PacketDeviceStats {
    return this.counters.snapshot()
  }

  private countWritten(batch: PacketBatch, from: number, to: number): void {
    let bytes = 0
    for (let slot = from; slot < to; slot++) bytes += batch.lengths[slot]!
    this.counters.slotWritten(to - from, bytes)
  }

  private turn(failed: boolean): void {
    if (failed) this.lose(errno.EBADFD)
    else this.handler?.()
  }

  private readFailed(error: number): void {
    // EAGAIN: drained. EIO: the link is down; it may come up again.
    if (error === errno.EAGAIN || error === errno.EIO || error === errno.ENETDOWN) return
    if (isLoss(error)) this.lose(error)
    else this.counters.readDrops++
  }

  /**
   * What a refused write means for the slot. EINVAL: not an IP packet. EIO: the link is down. EAGAIN and memory shortage:
   * the kernel has no room now.
   */
  private writeFailed(error: number): DropReason {
    if (error === errno.EINVAL) return DropReason.malformed
    if (error === errno.EAGAIN || error === errno.ENOBUFS || error === errno.ENOMEM) return DropReason.queueFull
    if (isLoss(error)) this.lose(error)
    return DropReason.deviceError
  }

  private lose(error: number): void {
    if (this.file === -1) return
    this.close()
    const name = errnoName(error)
    const told = this.onLost
    if (!told) return
    const loss = new TunError('ERR_TUN_SYSTEM', `the interface ${this.name} is gone (${name})`, { errno: name })
    setImmediate(() => told(loss))
  }
}

function isLoss(error: number): boolean {
  return error === errno.EBADFD || error === errno.EBADF || error === errno.ENODEV || error === errno.ENXIO
}

function openRefusal(error: number): TunError {
  const name = errnoName(error)
  if (error === errno.ENOENT || error === errno.ENODEV || error === errno.ENXIO) {
    return new TunError(
      'ERR_TUN_NO_DRIVER',
      `${TUN_PATH} is not there: load the module 'tun', or give the container the device (--device /dev/net/tun)`,
      { errno: name },
    )
  }
  if (error === errno.EACCES || error === errno.EPERM) {
    return new TunError('ERR_TUN_PERMISSION', `${TUN_PATH} may not be opened by this user`, { errno: name })
  }
  return new TunError('ERR_TUN_SYSTEM', `${TUN_PATH} can't be opened: ${name}`, { errno: name })
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
