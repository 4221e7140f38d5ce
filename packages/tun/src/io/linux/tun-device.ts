import { DropReason, type PacketBatch, Verdict } from '@twinbore/core/packet'
import { TunError } from '../../errors.ts'
import { coalescePackets } from '../../offload/coalesce.ts'
import { decodeVirtioHeader } from '../../offload/virtio-header.ts'
import { DeviceCounters, type PacketDevice, type PacketDeviceStats } from '../../packet-device.ts'
import type { Readiness } from '../native-library.ts'
import { errno, errnoName } from './errno.ts'
import { SlabAddress } from './slab-address.ts'
import { type Syscalls, syscalls } from './syscalls.ts'
import type { TunFormat } from './tun-attach.ts'
import { TunWriter } from './tun-writer.ts'

const largestPacketBytes = 65_535

/**
 * A descriptor of a kernel TUN and how it speaks: a plain value that can be posted to a worker thread of the same process,
 * where `adoptTun` makes a device of it.
 */
export interface TunHandle extends TunFormat {
  readonly descriptor: number
  readonly name: string
  readonly mtu: number
}

/**
 * A kernel TUN, one read call for each packet or super-packet, one write call for each, bytes straight into and out of the
 * batch's slab. A device that gives no super-packets joins what it is given to write by itself, where the kernel takes that.
 *
 * The descriptor is non-blocking. Readiness comes from the event loop of the thread that assigns `onReadable`; without it the
 * loop is left alone. An open device with an `onReadable` keeps the process alive, as an open socket does; `close` ends that.
 * The interface disappears with the last descriptor, so also when the process crashes, unless it was made persistent.
 *
 * A slot of the batch must hold `maxPacketBytes`; a longer packet is counted in `readDrops`. Reading stops at the first
 * packet that finds no free slot.
 */
export class LinuxTunDevice implements PacketDevice {
  readonly name: string
  readonly mtu: number
  readonly superPackets: boolean
  readonly superDatagrams: boolean
  readonly maxPacketBytes: number
  /** What a worker thread needs to use the same descriptor. */
  readonly handle: TunHandle
  onLost: PacketDevice['onLost'] = undefined
  private readonly system: Syscalls
  private readonly watch: Readiness
  private readonly writer: TunWriter
  private readonly slabs: SlabAddress
  private readonly counters = new DeviceCounters()
  private readonly headerBytes: number
  private readonly ownsDescriptor: boolean
  private file: number
  private handler: (() => void) | undefined

  /** @param ownsDescriptor - whether `close` closes the descriptor */
  constructor(handle: TunHandle, ownsDescriptor: boolean) {
    this.system = syscalls()
    this.handle = handle
    this.file = handle.descriptor
    this.ownsDescriptor = ownsDescriptor
    this.name = handle.name
    this.mtu = handle.mtu
    this.headerBytes = handle.headerBytes
    this.superPackets = handle.segmentation
    this.superDatagrams = handle.datagramSegmentation
    this.maxPacketBytes = handle.segmentation ? largestPacketBytes : handle.mtu
    this.watch = this.system.library.watch(handle.descriptor)
    this.slabs = new SlabAddress(this.system.library)
    this.writer = new TunWriter(this.system, handle.descriptor, handle, this.slabs)
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

  /** @throws RangeError when the batch has no headroom for the kernel's header (12 bytes) */
  read(batch: PacketBatch): number {
    if (this.file === -1) return 0
    const { headerBytes } = this
    if (batch.headroom < headerBytes) throw new RangeError(`a TUN needs batches with ${headerBytes} bytes of headroom`)
    const base = this.slabs.of(batch) - headerBytes
    const room = headerBytes + batch.slotBytes + Math.min(1, batch.tailroom)
    let added = 0
    for (let slot = batch.reserve(); slot !== -1; slot = batch.reserve()) {
      // The header lies in the headroom, right before the packet.
      const length = this.system.read(this.file, base + batch.offsets[slot]!, room) - headerBytes
      if (length > 0 && this.accept(batch, slot, length)) {
        added++
        continue
      }
      batch.count--
      if (length > 0) continue
      if (length === -1 - headerBytes) this.readFailed(this.system.lastError())
      break
    }
    return added
  }

  /** Super-packets, and single packets with partial checksums, go in whole where the kernel takes that, else in pieces. */
  write(batch: PacketBatch): number {
    if (this.file === -1) return 0
    if (!this.superPackets && this.headerBytes > 0) coalescePackets(batch)
    let written = 0
    for (let slot = 0; slot < batch.count && this.file !== -1; slot++) {
      if (batch.verdicts[slot] !== Verdict.forward) continue
      const segments = batch.segments[slot]!
      const sent = this.writer.write(batch, slot)
      written += sent
      if (sent > 0) this.counters.slotWritten(sent, batch.lengths[slot]!)
      if (sent < segments) this.refuse(batch, slot, segments - sent)
    }
    return written
  }

  close(): void {
    if (this.file === -1) return
    this.handler = undefined
    this.watch.close()
    if (this.ownsDescriptor) this.system.close(this.file)
    this.file = -1
    this.slabs.forget()
  }

  stats(): PacketDeviceStats {
    return this.counters.snapshot()
  }

  /** Takes a packet that was read into a slot. Returns false, having counted it, for one that can't be used. */
  private accept(batch: PacketBatch, slot: number, length: number): boolean {
    batch.lengths[slot] = length
    const fits = length <= batch.slotBytes
    if (!fits || (this.headerBytes > 0 && !decodeVirtioHeader(batch, slot, batch.offsets[slot]! - this.headerBytes))) {
      this.counters.readDrops++
      return false
    }
    this.counters.slotRead(batch.segments[slot]!, length)
    return true
  }

  /** Counts packets of a slot that were not written, and drops the slot when nothing of it was. */
  private refuse(batch: PacketBatch, slot: number, packets: number): void {
    this.counters.writeDrops += packets
    const reason = this.writeFailed(this.writer.error)
    if (packets === batch.segments[slot]) batch.drop(slot, reason)
    else batch.drops[reason] = batch.drops[reason]! + packets
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
