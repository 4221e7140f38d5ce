import { SmartBuffer } from 'smart-buffer'

/** Enough for the messages of most handshakes; the buffer grows beyond it. */
const FIRST_BYTES = 256

/** Writes big-endian fields and vectors into a buffer that grows. */
export class ByteWriter {
  private readonly buffer = SmartBuffer.fromSize(FIRST_BYTES)

  uint8(value: number): this {
    this.buffer.writeUInt8(value)
    return this
  }

  uint16(value: number): this {
    this.buffer.writeUInt16BE(value)
    return this
  }

  bytes(value: Uint8Array): this {
    for (const byte of value) this.buffer.writeUInt8(byte)
    return this
  }

  /** A vector with its length in one byte before it. RFC 5246 §4.3. */
  vector8(value: Uint8Array): this {
    return this.uint8(value.length).bytes(value)
  }

  /** A vector with its length in two bytes before it. */
  vector16(value: Uint8Array): this {
    return this.uint16(value.length).bytes(value)
  }

  /** A copy of what was written. */
  finish(): Uint8Array {
    return new Uint8Array(this.buffer.toBuffer())
  }
}
