import { cutPackets, DropReason, PacketBatch, Verdict } from '@twinbore/core/packet'
import { coalescePackets, type PacketDevice, type PacketDeviceStats } from '@twinbore/tun'

/**
 * A device in memory that may do what a kernel's TUN does with segmentation offload: what waits is read as super-packets,
 * and super-packets are taken. Whatever is written is kept as packets.
 */
export class OffloadingDevice implements PacketDevice {
  readonly name = 'offload0'
  readonly descriptor = undefined
  readonly superPackets: boolean
  readonly superDatagrams: boolean
  readonly maxPacketBytes: number
  readonly mtu: number
  onReadable: (() => void) | undefined
  onLost: PacketDevice['onLost']
  /** What was written, each packet for itself. */
  readonly written: Uint8Array[] = []
  /** Slots that were written or read and stood for more than one packet. */
  superPacketsSeen = 0
  private readonly waiting: Uint8Array[] = []

  constructor(offload: boolean, mtu = 1500) {
    this.superPackets = offload
    this.superDatagrams = offload
    this.maxPacketBytes = offload ? 65_535 : mtu
    this.mtu = mtu
  }

  /** Makes packets wait for a reader. */
  offer(...packets: Uint8Array[]): void {
    this.waiting.push(...packets)
  }

  read(batch: PacketBatch): number {
    const before = batch.count
    while (this.waiting.length > 0 && !batch.full) this.readSome(batch)
    return batch.count - before
  }

  private readSome(batch: PacketBatch): void {
    const packets = this.waiting.splice(0, batch.capacity - batch.count)
    const joined = new PacketBatch({ capacity: packets.length, slotBytes: 65_535 })
    for (const packet of packets) joined.push(packet)
    if (this.superPackets) coalescePackets(joined, true)
    for (let from = 0; from < joined.count; from++) {
      if (joined.verdicts[from] !== Verdict.forward) continue
      const slot = batch.push(joined.packet(from))
      if (slot === -1) throw new Error('the batch is too small for the device')
      batch.segments[slot] = joined.segments[from]!
      batch.segmentBytes[slot] = joined.segmentBytes[from]!
      batch.partialChecksums[slot] = joined.partialChecksums[from]!
      if (batch.segments[slot]! > 1) this.superPacketsSeen++
    }
  }

  write(batch: PacketBatch): number {
    let count = 0
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] !== Verdict.forward) continue
      if (!this.superPackets && (batch.segments[slot] !== 1 || batch.partialChecksums[slot] !== 0))
        throw new Error('a super-packet for a device that takes none')
      if (batch.segments[slot] === 1 && batch.lengths[slot]! > this.mtu) {
        batch.drop(slot, DropReason.tooBig)
        continue
      }
      if (batch.segments[slot]! > 1) this.superPacketsSeen++
      this.written.push(...cutPackets(batch, slot))
      count++
    }
    return count
  }

  close(): void {}

  stats(): PacketDeviceStats {
    throw new TypeError('not counted')
  }
}
