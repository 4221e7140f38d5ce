import type { NativeLibrary } from '../native-library.ts'

/** The size of a struct iovec. */
export const IOVEC_BYTES = 16

/** An array of struct iovec for readv(2) and writev(2): where pieces of memory are, and how long. */
export class IoVectors {
  readonly address: number
  private readonly words: Uint32Array

  constructor(library: NativeLibrary, count: number) {
    // struct iovec: void *base @0; size_t length @8; 16 bytes, little endian.
    const memory = new ArrayBuffer(IOVEC_BYTES * count)
    this.words = new Uint32Array(memory)
    this.address = library.addressOf(memory)
  }

  set(index: number, address: number, length: number): void {
    const at = 4 * index
    this.words[at] = address
    this.words[at + 1] = address / 2 ** 32
    this.words[at + 2] = length
  }
}
