import { DropReason, type PacketBatch, Verdict } from '@twinbore/core/packet'
import { DeviceCounters, type PacketDevice, type PacketDeviceStats } from './packet-device.ts'

export interface MemoryPairOptions {
  /** The longest packet, in bytes; a longer one is dropped as `tooBig`. @defaultValue 1500 */
  readonly mtu?: number
  /** Packets that wait in one direction; the next one is dropped as `queueFull`. One costs `mtu` bytes at most. @defaultValue 512 */
  readonly queue?: number
}

/**
 * Two devices back to back: what is written to one is read from the other. For tests, examples, and for programs that keep
 * a tunnel inside the process.
 *
 * `onReadable` runs inside the `write` that makes packets wait, and again until a read has drained the queue or reads
 * nothing. A handler may write back: the other side is then told in turn, never by recursion into itself.
 */
export function memoryPair(options: MemoryPairOptions = {}): [MemoryDevice, MemoryDevice] {
  const mtu = options.mtu ?? 1500
  const queue = options.queue ?? 512
  if (!Number.isInteger(mtu) || mtu < 20 || mtu > 65_535) throw new RangeError('mtu must be 20 to 65535')
  if (!Number.isInteger(queue) || queue < 1) throw new RangeError('queue must be a positive integer')
  const left = new MemoryDevice('memory0', mtu, queue)
  const right = new MemoryDevice('memory1', mtu, queue)
  left.connect(right)
  right.connect(left)
  return [left, right]
}

/** One end of a `memoryPair`. */
export class MemoryDevice implements PacketDevice {
  readonly name: string
  readonly mtu: number
  readonly superPackets = false
  readonly superDatagrams = false
  readonly descriptor = undefined
  /** Never called: memory does not get lost. */
  onLost: PacketDevice['onLost'] = undefined
  private readonly ring: (Uint8Array | undefined)[]
  private readonly counters = new DeviceCounters()
  private peer: MemoryDevice | undefined
  private handler: (() => void) | undefined
  private head = 0
  private waiting = 0
  private announcing = false
  private closed = false

  /** @internal Made by `memoryPair`. */
  constructor(name: string, mtu: number, queue: number) {
    this.name = name
    this.mtu = mtu
    this.ring = new Array<Uint8Array | undefined>(queue).fill(undefined)
  }

  /** @internal */
  connect(peer: MemoryDevice): void {
    this.peer = peer
  }

  get maxPacketBytes(): number {
    return this.mtu
  }

  get onReadable(): (() => void) | undefined {
    return this.handler
  }

  set onReadable(handler: (() => void) | undefined) {
    this.handler = handler
    this.announce()
  }

  read(batch: PacketBatch): number {
    let added = 0
    while (this.waiting > 0 && !batch.full) {
      const packet = this.ring[this.head]!
      this.ring[this.head] = undefined
      this.head = (this.head + 1) % this.ring.length
      this.waiting--
      if (batch.push(packet) === -1) {
        this.counters.readDrops++
        continue
      }
      this.counters.slotRead(1, packet.length)
      added++
    }
    return added
  }

  write(batch: PacketBatch): number {
    if (this.closed) return 0
    let written = 0
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] !== Verdict.forward) continue
      const length = batch.lengths[slot]!
      const reason = length > this.mtu ? DropReason.tooBig : this.peer!.accept(batch, slot)
      if (reason === undefined) {
        this.counters.slotWritten(1, length)
        written++
      } else {
        batch.drop(slot, reason)
        this.counters.writeDrops++
      }
    }
    if (written > 0) this.peer!.announce()
    return written
  }

  close(): void {
    this.closed = true
    this.handler = undefined
    this.waiting = 0
    this.ring.fill(undefined)
  }

  stats(): PacketDeviceStats {
    return this.counters.snapshot()
  }

  private accept(batch: PacketBatch, slot: number): DropReason | undefined {
    if (this.closed) return DropReason.deviceError
    if (this.waiting === this.ring.length) return DropReason.queueFull
    this.ring[(this.head + this.waiting) % this.ring.length] = batch.packet(slot).slice()
    this.waiting++
    return undefined
  }

  private announce(): void {
    if (this.announcing) return
    this.announcing = true
    try {
      for (
        let before = -1;
        this.waiting > 0 && this.handler && this.counters.packetsRead + this.counters.readDrops !== before;
      ) {
        before = this.counters.packetsRead + this.counters.readDrops
        this.handler()
      }
    } finally {
      this.announcing = false
    }
  }
}
