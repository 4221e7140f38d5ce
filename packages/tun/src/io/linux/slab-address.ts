import type { NativeLibrary } from '../native-library.ts'

/** Where the slabs of batches are. Batches are few and live long; most calls ask for the one of the call before. */
export class SlabAddress {
  private readonly library: NativeLibrary
  private readonly known = new WeakMap<ArrayBufferLike, number>()
  private last: ArrayBufferLike | undefined
  private lastAddress = 0

  constructor(library: NativeLibrary) {
    this.library = library
  }

  of(batch: { readonly bytes: Uint8Array }): number {
    const slab = batch.bytes.buffer
    if (slab !== this.last) {
      const address = this.known.get(slab) ?? this.library.addressOf(slab as ArrayBuffer)
      this.known.set(slab, address)
      this.last = slab
      this.lastAddress = address
    }
    return this.lastAddress + batch.bytes.byteOffset
  }

  /** Keeps no slab alive any more. */
  forget(): void {
    this.last = undefined
  }
}
