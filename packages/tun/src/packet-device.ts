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
  /** The longest packet that the device hands out, in bytes; each packet of a super-packet counts for itself. */
  readonly mtu: number
  /**
   * Whether `read` may give super-packets and packets with partial checksums, and `write` takes them: those of TCP. Where it is
   * false every slot is one packet with whole checksums, both ways.
   */
  readonly superPackets: boolean
  /** Whether `write` also takes super-packets of UDP. Where this is false UDP must come as single packets. */
  readonly superDatagrams: boolean
  /** The longest thing that `read` puts into a slot, in bytes: 65,535 with super-packets, else the MTU. Size batches by it. */
  readonly maxPacketBytes: number
  /**
   * The file descriptor, for drivers that poll it themselves and leave `onReadable` alone; `undefined` when there is none, or
   * the device is closed.
   */
  readonly descriptor: number | undefined
  /**
   * Appends waiting packets to `batch` until none waits or the batch is full. Returns how many slots it added. The owners
   * of the new slots are -1. A packet longer than the batch's `slotBytes` takes no slot and is counted as a read drop.
   */
  read(batch: PacketBatch): number
  /**
   * Writes every slot whose verdict is `forward`. A slot that can't be written gets the verdict `drop` and its reason
   * (`queueFull`, `malformed`, `tooBig`, `deviceError`). Slots may become pieces of others (`merged`). Returns how many packets
   * were written, those of super-packets each for itself.
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
  /** Packets, those of super-packets each for itself. */
  readonly packetsRead: number
  readonly bytesRead: number
  readonly packetsWritten: number
  readonly bytesWritten: number
  /** Slots that stood for more than one packet. */
  readonly superPacketsRead: number
  readonly superPacketsWritten: number
  /** Slots that were read and written: `packetsRead / reads` is how many packets one read brings. */
  readonly reads: number
  readonly writes: number
  /** Packets that were taken from the device but found no place (too long for a slot, or lost before a reader came). */
  readonly readDrops: number
  /** Packets that could not be written, those of super-packets each for itself. */
  readonly writeDrops: number
}

/** The counters of a device while it counts. */
export class DeviceCounters implements PacketDeviceStats {
  packetsRead = 0
  bytesRead = 0
  packetsWritten = 0
  bytesWritten = 0
  superPacketsRead = 0
  superPacketsWritten = 0
  reads = 0
  writes = 0
  readDrops = 0
  writeDrops = 0

  /** Counts a slot that was read. */
  slotRead(packets: number, bytes: number): void {
    this.reads++
    this.packetsRead += packets
    this.bytesRead += bytes
    if (packets > 1) this.superPacketsRead++
  }

  /** Counts a slot that was written. */
  slotWritten(packets: number, bytes: number): void {
    this.writes++
    this.packetsWritten += packets
    this.bytesWritten += bytes
    if (packets > 1) this.superPacketsWritten++
  }

  snapshot(): PacketDeviceStats {
    return { ...this }
  }
}
