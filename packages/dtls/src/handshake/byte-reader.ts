/**
 * Reads big-endian fields from bytes of the network. A read past the end gives zeros and sets `failed`, which stays set: a
 * parser reads everything and looks once, at its end.
 */
export class ByteReader {
  private readonly bytes: Uint8Array
  private at = 0
  failed = false

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }

  /** Bytes not read yet. */
  get remaining(): number {
    return this.bytes.length - this.at
  }

  /** Whether everything was read, and nothing past it. */
  get complete(): boolean {
    return !this.failed && this.remaining === 0
  }

  uint8(): number {
    if (this.remaining < 1) return this.fail()
    return this.bytes[this.at++]!
  }

  uint16(): number {
    if (this.remaining < 2) return this.fail()
    this.at += 2
    return (this.bytes[this.at - 2]! << 8) | this.bytes[this.at - 1]!
  }

  /** A view of the next `length` bytes. */
  take(length: number): Uint8Array {
    if (length > this.remaining) {
      this.fail()
      return this.bytes.subarray(0, 0)
    }
    this.at += length
    return this.bytes.subarray(this.at - length, this.at)
  }

  /** A vector whose length comes first, in one byte. RFC 5246 §4.3. */
  vector8(): Uint8Array {
    return this.take(this.uint8())
  }

  /** A vector whose length comes first, in two bytes. */
  vector16(): Uint8Array {
    return this.take(this.uint16())
  }

  private fail(): 0 {
    this.failed = true
    this.at = this.bytes.length
    return 0
  }
}
