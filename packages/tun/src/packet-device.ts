import type { PacketBatch } from '@twinbore/core/packet'
import type { TunError } from './errors.ts'

/**
 * Where IP packets enter and leave: a kernel TUN, one end of an in-memory pair, a wrapper around either.
 *
 * A device never blocks and never throws for what a packet contains. Packets are whole IP packets without any link
 * header. Everything happens on the thread that opened the device.
 */
export interface PacketDevice {
  /** The interface name, such as `tb0`. */
  readonly name: string
  /** The longest packet that the device hands out, in bytes. */
  readonly mtu: number
  /**
   * Appends waiting packets to `batch` until none waits or the batch is full. Returns how many slots it added. The owners
   * of the new slots are -1. A packet longer than the batch's `slotBytes` takes no slot and is counted as a read drop.
   */
  read(batch: PacketBatch): number
  /**
   * Writes every slot whose verdict is `forward`. A slot that can't be written gets the verdict `drop` and its reason
   * (`queueFull`, `malformed`, `tooBig`, `deviceError`). Returns how many were written.
   */
  write(batch: PacketBatch): number
  /**
   * Called when packets wait, and called again (at most once per turn of the event loop) until a `read` has drained the
   * device, that is, has left room in its batch. Assign it once the reader is ready; nothing is announced before.
   */
  onReadable: (() => void) | undefined
  /** Called once when the device is lost without `close`, for example because somebody deleted the interface. */
  onLost: ((error: TunError) => void) | undefined
  /** Releases the device. It can be called at any time and more than once; afterwards `read` and `write` do nothing. */
  close(): void
  /** A copy of the counters. */
  stats(): PacketDeviceStats
}

/** Counters of a device since it was opened. */
export interface PacketDeviceStats {
  readonly packetsRead: number
  readonly bytesRead: number
  readonly packetsWritten: number
  readonly bytesWritten: number
  /** Packets that were taken from the device but found no place (too long for a slot, or lost before a reader came). */
  readonly readDrops: number
  /** Slots that could not be written. */
  readonly writeDrops: number
}

/** The counters of a device while it counts. */
export class DeviceCounters implements PacketDeviceStats {
  packetsRead = 0
  bytesRead = 0
  packetsWritten = 0
  bytesWritten = 0
  readDrops = 0
  writeDrops = 0

  snapshot(): PacketDeviceStats {
    return { ...this }
  }
}
