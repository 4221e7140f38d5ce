import { IPV4_HEADER_BYTES, type PacketBatch } from '@twinbore/core/packet'
import { MAX_RUN_HEADER_BYTES, MAX_RUN_SEGMENTS, TcpRun } from '../../tcp-run.ts'
import { errno } from './errno.ts'
import { IoVectors } from './io-vectors.ts'
import type { Syscalls } from './syscalls.ts'
import { VIRTIO_HEADER_BYTES, writeVirtioHeader } from './virtio-header.ts'

/**
 * Reads and writes packets of a TUN in its own format: behind a virtio header where the kernel has that, so that a run of
 * TCP segments goes in as one packet that passes the host's stack once; without one elsewhere.
 *
 * Bytes go straight into and out of the batch's slab. Results are those of the system call, without the header.
 */
export class PacketIo {
  private readonly system: Syscalls
  private readonly descriptor: number
  private readonly hasHeader: boolean
  /** Whether the kernel takes runs: one that refuses a run gets single packets from then on. */
  private joins: boolean
  private readonly run = new TcpRun()
  private readonly vectors: IoVectors
  /** The virtio header of a single packet; behind it that of a run, and the run's other headers. */
  private readonly headers = new Uint8Array(2 * VIRTIO_HEADER_BYTES + MAX_RUN_HEADER_BYTES)
  private readonly headersAddress: number
  private readonly headersView = new DataView(this.headers.buffer, VIRTIO_HEADER_BYTES)
  private readonly runHeaders = this.headers.subarray(VIRTIO_HEADER_BYTES)
  /** The slab of the last batch and where it is; batches are few and live long. */
  private slab: ArrayBufferLike | undefined
  private slabAddress = 0

  constructor(system: Syscalls, descriptor: number, hasHeader: boolean) {
    this.system = system
    this.descriptor = descriptor
    this.hasHeader = hasHeader
    this.joins = hasHeader
    this.vectors = new IoVectors(system.library, 1 + MAX_RUN_SEGMENTS)
    this.headersAddress = system.library.addressOf(this.headers.buffer)
  }

  /** Reads one packet into a slot, at most `room` bytes of it. */
  read(batch: PacketBatch, slot: number, room: number): number {
    const address = this.addressOf(batch) + batch.offsets[slot]!
    if (!this.hasHeader) return this.system.read(this.descriptor, address, room)
    this.vectors.set(0, this.headersAddress, VIRTIO_HEADER_BYTES)
    this.vectors.set(1, address, room)
    const length = this.system.readv(this.descriptor, this.vectors.address, 2)
    return length < VIRTIO_HEADER_BYTES ? length : length - VIRTIO_HEADER_BYTES
  }

  /** How many slots from this one on make one packet. */
  runLength(batch: PacketBatch, slot: number): number {
    return this.joins ? this.run.measure(batch, slot) : 1
  }

  /** Writes one slot. Returns false when the system refused it. */
  write(batch: PacketBatch, slot: number): boolean {
    const address = this.addressOf(batch) + batch.offsets[slot]!
    const length = batch.lengths[slot]!
    if (!this.hasHeader) return this.system.write(this.descriptor, address, length) === length
    this.headers.fill(0, 0, VIRTIO_HEADER_BYTES)
    this.vectors.set(0, this.headersAddress, VIRTIO_HEADER_BYTES)
    this.vectors.set(1, address, length)
    return this.system.writev(this.descriptor, this.vectors.address, 2) === VIRTIO_HEADER_BYTES + length
  }

  /** Writes the run of slots that `runLength` has just measured. Returns false when the system refused it. */
  writeRun(batch: PacketBatch, first: number): boolean {
    const { run, vectors } = this
    const headerBytes = VIRTIO_HEADER_BYTES + run.headerBytes
    writeVirtioHeader(this.headersView, run, run.ipHeaderBytes === IPV4_HEADER_BYTES ? 4 : 6)
    run.writeHeader(batch, this.runHeaders, this.headersView, VIRTIO_HEADER_BYTES)
    vectors.set(0, this.headersAddress + VIRTIO_HEADER_BYTES, headerBytes)
    const payload = this.addressOf(batch) + run.headerBytes
    for (let i = 0; i < run.count; i++) {
      const slot = first + i
      vectors.set(1 + i, payload + batch.offsets[slot]!, batch.lengths[slot]! - run.headerBytes)
    }
    const written = this.system.writev(this.descriptor, vectors.address, 1 + run.count)
    if (written === -1 && this.system.lastError() === errno.EINVAL) this.joins = false
    return written === headerBytes + run.payloadBytes
  }

  private addressOf(batch: PacketBatch): number {
    const slab = batch.bytes.buffer
    if (slab !== this.slab) {
      this.slab = slab
      this.slabAddress = this.system.library.addressOf(slab as ArrayBuffer)
    }
    return this.slabAddress + batch.bytes.byteOffset
  }
}
