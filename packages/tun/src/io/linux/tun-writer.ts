import { IpProtocol, Ipv4Field, Ipv6Field, ipVersion, PacketBatch } from '@twinbore/core/packet'
import { Segmenter } from '../../offload/segmenter.ts'
import { encodeVirtioHeader, VIRTIO_HEADER_BYTES } from '../../offload/virtio-header.ts'
import { errno } from './errno.ts'
import { IOVEC_BYTES, IoVectors } from './io-vectors.ts'
import type { SlabAddress } from './slab-address.ts'
import type { Syscalls } from './syscalls.ts'
import type { TunFormat } from './tun-attach.ts'

/** UIO_MAXIOV of the kernel. */
const maxVectors = 1024
/** After so many refused super-packets, and none that was taken, the kernel is not asked again. */
const patience = 8

/**
 * Writes slots to a TUN: virtio header and all pieces by one writev, straight from the batch's slab. What the kernel does
 * not take whole is cut before.
 */
export class TunWriter {
  private readonly system: Syscalls
  private readonly descriptor: number
  private readonly headerBytes: number
  private readonly takesDatagrams: boolean
  private readonly slabs: SlabAddress
  private readonly vectors: IoVectors
  private readonly header = new DataView(new ArrayBuffer(VIRTIO_HEADER_BYTES))
  private readonly segmenter = new Segmenter()
  private pieces: PacketBatch | undefined
  private hasTaken = false
  private refusals = 0
  private failure = 0

  constructor(system: Syscalls, descriptor: number, format: TunFormat, slabs: SlabAddress) {
    this.system = system
    this.descriptor = descriptor
    this.headerBytes = format.headerBytes
    this.takesDatagrams = format.datagramSegmentation
    this.slabs = slabs
    this.vectors = new IoVectors(system.library, maxVectors)
    this.vectors.set(0, system.library.addressOf(this.header.buffer as ArrayBuffer), this.headerBytes)
  }

  /** The system's error number behind the last packet that was not written. */
  get error(): number {
    return this.failure
  }

  /** Writes a slot. Returns how many of the packets that it stands for were written; if not all, `error` says why. */
  write(batch: PacketBatch, slot: number): number {
    const segments = batch.segments[slot]!
    if (segments === 1 && batch.partialChecksums[slot] === 0) {
      this.clearHeader()
      return this.send(batch, slot) ? 1 : 0
    }
    if (!this.takesWhole(batch, slot, segments)) return this.sendCut(batch, slot)
    if (!encodeVirtioHeader(batch, slot, this.header, 0)) return this.fail(errno.EINVAL)
    if (this.send(batch, slot)) {
      this.hasTaken ||= segments > 1
      return segments
    }
    if (this.failure !== errno.EINVAL || segments === 1) return 0
    this.refusals++
    return this.sendCut(batch, slot)
  }

  private takesWhole(batch: PacketBatch, slot: number, segments: number): boolean {
    if (this.headerBytes === 0) return false
    if (segments === 1) return true
    if (this.refusals >= patience && !this.hasTaken) return false
    return this.takesDatagrams || !isDatagram(batch, slot)
  }

  /** One slot, all its pieces, behind the header as it stands. */
  private send(batch: PacketBatch, slot: number): boolean {
    const { system, vectors } = this
    const base = this.slabs.of(batch)
    const length = batch.lengths[slot]!
    let next = batch.next[slot]!
    let written: number
    if (this.headerBytes === 0 && next === -1) {
      written = system.write(this.descriptor, base + batch.offsets[slot]!, length)
    } else {
      let count = 1
      vectors.set(count++, base + batch.offsets[slot]!, next === -1 ? length : batch.ownLengths[slot]!)
      for (; next !== -1 && count < maxVectors; next = batch.next[next]!) {
        vectors.set(count++, base + batch.offsets[next]!, batch.lengths[next]!)
      }
      if (next !== -1) return this.fail(errno.EINVAL) !== 0
      // Without a header there is nothing in the first one.
      const skipped = this.headerBytes === 0 ? 1 : 0
      written = system.writev(this.descriptor, vectors.address + skipped * IOVEC_BYTES, count - skipped)
    }
    if (written === this.headerBytes + length) return true
    this.fail(written === -1 ? system.lastError() : errno.EIO)
    return false
  }

  private sendCut(batch: PacketBatch, slot: number): number {
    this.pieces ??= new PacketBatch({ capacity: 8, slotBytes: 65_535, headroom: 0, tailroom: 0 })
    const { pieces } = this
    if (!this.segmenter.start(batch, slot)) return this.fail(errno.EINVAL)
    this.clearHeader()
    let sent = 0
    for (let done = false; !done; ) {
      pieces.reset()
      done = this.segmenter.fill(pieces)
      for (let piece = 0; piece < pieces.count; piece++) {
        // Where one finds no room the others won't either.
        if (!this.send(pieces, piece)) return sent
        sent++
      }
    }
    return sent
  }

  private clearHeader(): void {
    for (let at = 0; at < VIRTIO_HEADER_BYTES; at += 4) this.header.setUint32(at, 0)
  }

  private fail(error: number): 0 {
    this.failure = error
    return 0
  }
}

function isDatagram(batch: PacketBatch, slot: number): boolean {
  const { view } = batch
  const offset = batch.offsets[slot]!
  const field = ipVersion(view, offset) === 4 ? Ipv4Field.protocol : Ipv6Field.nextHeader
  return view.getUint8(offset + field) === IpProtocol.udp
}
