import type { PacketBatch } from '@twinbore/core/packet'
import type { NativeLibrary } from '../native-library.ts'

/** Where the slab of a batch is in memory. Batches are few and live long: the last one is remembered. */
export class SlabAddress {
  private readonly library: NativeLibrary
  private slab: ArrayBufferLike | undefined
  private address = 0

  constructor(library: NativeLibrary) {
    this.library = library
  }

  of(batch: PacketBatch): number {
    const { buffer, byteOffset } = batch.bytes
    if (buffer !== this.slab) {
      this.address = this.library.addressOf(buffer as ArrayBuffer)
      this.slab = buffer
    }
    return this.address + byteOffset
  }
}
