import { DropReason, PacketBatch, Verdict } from '@twinbore/core/packet'
import { Segmenter } from './offload/segmenter.ts'
import type { PacketDevice, PacketDeviceStats } from './packet-device.ts'
import { packetLine } from './packet-line.ts'
import { type CaptureDirection, capturedPacket, captureHeader } from './pcapng.ts'

// Wrappers: each takes a device and returns one that does the same and something more. They compose:
// `traced(captured(device, sink, options), log)`. Closing the wrapper closes the device.

export interface CaptureOptions {
  /** The wall clock in nanoseconds since 1970, for the timestamps. The real one is `wallClockNanoseconds` in `tun/io`. */
  readonly nanoseconds: () => bigint
  /** Bytes kept of each packet; 0 keeps all. @defaultValue 0 */
  readonly snapLength?: number
}

/**
 * Writes every packet that crosses the device to `sink` as a pcapng stream. The first call of `sink` brings the header, at
 * once; after that one call brings one packet. The bytes belong to the sink. Super-packets are captured as the packets that
 * they stand for, and partial checksums as they will be.
 */
export function captured(
  device: PacketDevice,
  sink: (bytes: Uint8Array) => void,
  options: CaptureOptions,
): PacketDevice {
  const snapLength = options.snapLength ?? 0
  sink(captureHeader({ name: device.name, snapLength }))
  const capture = (packet: Uint8Array, direction: CaptureDirection): void => {
    sink(capturedPacket(packet, options.nanoseconds(), direction, snapLength))
  }
  const cutter = new PacketCutter()
  return new ObservedDevice(device, (batch, slot, direction) => {
    if (isWhole(batch, slot)) capture(batch.packet(slot), direction)
    else cutter.cut(batch, slot, packet => capture(packet, direction))
  })
}

/**
 * Tells `log` one line for each packet, such as `tb0 in IPv4 10.0.0.1:4000 > 10.0.0.2:53 udp 61`. That of a super-packet has the
 * length of all, and ends like ` in 45 packets`.
 */
export function traced(device: PacketDevice, log: (line: string) => void): PacketDevice {
  return new ObservedDevice(device, (batch, slot, direction) => {
    const segments = batch.segments[slot]!
    const line = `${device.name} ${direction === 'inbound' ? 'in' : 'out'} ${packetLine(batch.packet(slot))}`
    log(segments > 1 ? `${line} in ${segments} packets` : line)
  })
}

/**
 * Loses packets by chance, in both directions: each slot with the given probability, independently. A lost slot has the
 * verdict `drop` with `queueFull`, as if a queue had overflowed.
 */
export function lossy(device: PacketDevice, random: { uint32(): number }, probability: number): PacketDevice {
  if (!(probability >= 0 && probability <= 1)) throw new RangeError('probability must be 0 to 1')
  const threshold = probability * 0x1_0000_0000
  return new LossyDevice(device, () => random.uint32() < threshold)
}

/** Whether a slot is one packet with all its checksums. */
function isWhole(batch: PacketBatch, slot: number): boolean {
  return batch.segments[slot] === 1 && batch.partialChecksums[slot] === 0
}

/** Cuts slots for those who want packets one by one. */
class PacketCutter {
  private readonly segmenter = new Segmenter()
  private readonly pieces = new PacketBatch({ capacity: 8, slotBytes: 65_535, headroom: 0, tailroom: 0 })

  cut(batch: PacketBatch, slot: number, take: (packet: Uint8Array) => void): void {
    // What can't be cut is malformed, and shown as it is.
    if (!this.segmenter.start(batch, slot)) {
      take(batch.packet(slot))
      return
    }
    for (let done = false; !done; ) {
      this.pieces.reset()
      done = this.segmenter.fill(this.pieces)
      for (let piece = 0; piece < this.pieces.count; piece++) take(this.pieces.packet(piece))
    }
  }
}

type Observer = (batch: PacketBatch, slot: number, direction: CaptureDirection) => void

/** A device that passes everything on. */
class WrappedDevice implements PacketDevice {
  protected readonly inner: PacketDevice

  constructor(inner: PacketDevice) {
    this.inner = inner
  }

  get name(): string {
    return this.inner.name
  }

  get mtu(): number {
    return this.inner.mtu
  }

  get superPackets(): boolean {
    return this.inner.superPackets
  }

  get superDatagrams(): boolean {
    return this.inner.superDatagrams
  }

  get maxPacketBytes(): number {
    return this.inner.maxPacketBytes
  }

  get descriptor(): number | undefined {
    return this.inner.descriptor
  }

  get onReadable(): (() => void) | undefined {
    return this.inner.onReadable
  }

  set onReadable(handler: (() => void) | undefined) {
    this.inner.onReadable = handler
  }

  get onLost(): PacketDevice['onLost'] {
    return this.inner.onLost
  }

  set onLost(handler: PacketDevice['onLost']) {
    this.inner.onLost = handler
  }

  read(batch: PacketBatch): number {
    return this.inner.read(batch)
  }

  write(batch: PacketBatch): number {
    return this.inner.write(batch)
  }

  close(): void {
    this.inner.close()
  }

  stats(): PacketDeviceStats {
    return this.inner.stats()
  }
}

class ObservedDevice extends WrappedDevice {
  private readonly observe: Observer

  constructor(inner: PacketDevice, observe: Observer) {
    super(inner)
    this.observe = observe
  }

  override read(batch: PacketBatch): number {
    const first = batch.count
    const added = this.inner.read(batch)
    for (let slot = first; slot < batch.count; slot++) {
      if (batch.verdicts[slot] === Verdict.forward) this.observe(batch, slot, 'inbound')
    }
    return added
  }

  /** Observes before writing: what the device itself then refuses is in the capture too, and in its `writeDrops`. */
  override write(batch: PacketBatch): number {
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] === Verdict.forward) this.observe(batch, slot, 'outbound')
    }
    return this.inner.write(batch)
  }
}

class LossyDevice extends WrappedDevice {
  private readonly loses: () => boolean
  private readDrops = 0
  private writeDrops = 0

  constructor(inner: PacketDevice, loses: () => boolean) {
    super(inner)
    this.loses = loses
  }

  override read(batch: PacketBatch): number {
    const first = batch.count
    const added = this.inner.read(batch)
    this.readDrops += this.lose(batch, first)
    return added
  }

  override write(batch: PacketBatch): number {
    this.writeDrops += this.lose(batch, 0)
    return this.inner.write(batch)
  }

  override stats(): PacketDeviceStats {
    const stats = this.inner.stats()
    return { ...stats, readDrops: stats.readDrops + this.readDrops, writeDrops: stats.writeDrops + this.writeDrops }
  }

  private lose(batch: PacketBatch, first: number): number {
    let lost = 0
    for (let slot = first; slot < batch.count; slot++) {
      if (batch.verdicts[slot] !== Verdict.forward || !this.loses()) continue
      batch.drop(slot, DropReason.queueFull)
      lost += batch.segments[slot]!
    }
    return lost
  }
}
