import { DropReason } from '../packet/drop-reason.ts'
import type { PacketBatch } from '../packet/packet-batch.ts'
import {
  FrameType,
  isControlFrame,
  MAX_STREAM_PAYLOAD_BYTES,
  STREAM_FRAME_HEADER_BYTES,
  STREAM_MAGIC,
} from './frame.ts'

/** Why a stream can't be read any further. */
export type StreamViolation =
  /** The bytes where a frame should begin are not `STF` and version 1. */
  | 'bad-magic'
  /** A frame is longer than the limit. */
  | 'frame-too-long'

/** Why `next` returned. */
export type DeframerStep =
  /** All bytes are used; feed more. */
  | { readonly type: 'starved' }
  /** The batch has no free slot; empty it and call again. */
  | { readonly type: 'batch-full' }
  /** A control frame, in its place between the packets. Handle it after the packets that are in the batch by now. */
  | { readonly type: 'control'; readonly frameType: FrameType; readonly payload: Uint8Array }
  /** Final: this stream is of no use any more. */
  | { readonly type: 'violation'; readonly violation: StreamViolation }

export interface StreamDeframerOptions {
  /** The longest payload of a frame, in bytes, up to 65 535. @defaultValue 16 376, what fits one TLS record */
  readonly maxPayloadBytes?: number
}

/**
 * Turns the bytes of a stream channel back into frames, however they were cut into chunks.
 *
 * Peers send one frame per TLS record, but nothing guarantees that chunks fall on record borders. Usage: `feed` a
 * chunk, then call `next` until it says `starved`. A packet goes from the chunk straight into the batch; only a frame
 * that spans chunks is collected first. Memory: one frame, and only while it is incomplete.
 *
 * Packets longer than a slot of the batch are dropped as `tooBig`, empty ones as `malformed`, frames of unknown type and
 * compressed ones (never negotiated) as `unexpectedFrame`; all are counted on the batch.
 */
export class StreamDeframer {
  /** The reason why the stream can't be read any further, once there is one. */
  violation: StreamViolation | undefined = undefined
  private readonly maxPayloadBytes: number
  private chunk: Uint8Array = nothing
  private position = 0
  private readonly header = new Uint8Array(STREAM_FRAME_HEADER_BYTES)
  private headerBytes = 0
  /** The payload of a frame that began in an earlier chunk. */
  private partial: Uint8Array | undefined = undefined
  private partialBytes = 0

  constructor(options: StreamDeframerOptions = {}) {
    this.maxPayloadBytes = options.maxPayloadBytes ?? MAX_STREAM_PAYLOAD_BYTES
    if (!(this.maxPayloadBytes > 0 && this.maxPayloadBytes <= 0xffff)) {
      throw new RangeError(`maxPayloadBytes is ${this.maxPayloadBytes}, not 1 to 65535`)
    }
  }

  /** How many bytes are kept for a frame that is not complete. */
  get pendingBytes(): number {
    return this.headerBytes + this.partialBytes
  }

  /** Takes the next bytes. The chunk must stay unchanged until `next` says `starved`. RangeError when the last one is not used up. */
  feed(chunk: Uint8Array): void {
    if (this.position < this.chunk.length && this.violation === undefined) {
      throw new RangeError('the previous chunk is not used up')
    }
    this.chunk = chunk
    this.position = 0
  }

  /** Puts packets into `batch` with this owner, up to the first thing that needs the caller. */
  next(batch: PacketBatch, owner: number): DeframerStep {
    while (this.violation === undefined) {
      if (!this.readHeader()) return this.violation === undefined ? this.starve() : this.violated()
      const type = this.header[6]!
      // A packet needs its slot before its bytes are taken, so that the call can be repeated.
      if (type === FrameType.data && batch.full) return { type: 'batch-full' }
      const payload = this.readPayload()
      if (payload === undefined) return this.starve()
      this.headerBytes = 0
      if (type === FrameType.data) this.keepPacket(batch, payload, owner)
      else if (isControlFrame(type)) {
        return { type: 'control', frameType: type as FrameType, payload: payload.slice() }
      } else count(batch, DropReason.unexpectedFrame)
    }
    return this.violated()
  }

  private keepPacket(batch: PacketBatch, packet: Uint8Array, owner: number): void {
    if (packet.length === 0) count(batch, DropReason.malformed)
    else if (batch.push(packet, owner) === -1) count(batch, DropReason.tooBig)
  }

  /** Completes the header; false when bytes are missing or it is wrong. */
  private readHeader(): boolean {
    const { header, chunk } = this
    if (this.headerBytes === STREAM_FRAME_HEADER_BYTES) return true
    while (this.headerBytes < STREAM_FRAME_HEADER_BYTES) {
      if (this.position === chunk.length) return false
      header[this.headerBytes++] = chunk[this.position++]!
    }
    const magic = ((header[0]! << 24) | (header[1]! << 16) | (header[2]! << 8) | header[3]!) >>> 0
    if (magic !== STREAM_MAGIC) this.violation = 'bad-magic'
    else if (this.payloadBytes > this.maxPayloadBytes) this.violation = 'frame-too-long'
    return this.violation === undefined
  }

  /** The payload of the frame whose header is complete, or undefined while bytes are missing. */
  private readPayload(): Uint8Array | undefined {
    const wanted = this.payloadBytes
    const available = this.chunk.length - this.position
    if (this.partial === undefined) {
      if (available >= wanted) return this.take(wanted)
      this.partial = new Uint8Array(wanted)
      this.partialBytes = 0
    }
    const piece = this.take(Math.min(available, wanted - this.partialBytes))
    this.partial.set(piece, this.partialBytes)
    this.partialBytes += piece.length
    if (this.partialBytes < wanted) return undefined
    const payload = this.partial
    this.partial = undefined
    this.partialBytes = 0
    return payload
  }

  private get payloadBytes(): number {
    return (this.header[4]! << 8) | this.header[5]!
  }

  private take(bytes: number): Uint8Array {
    const piece = this.chunk.subarray(this.position, this.position + bytes)
    this.position += bytes
    return piece
  }

  private starve(): DeframerStep {
    this.chunk = nothing
    this.position = 0
    return { type: 'starved' }
  }

  private violated(): DeframerStep {
    this.chunk = nothing
    this.position = 0
    this.partial = undefined
    this.partialBytes = 0
    return { type: 'violation', violation: this.violation! }
  }
}

const nothing = new Uint8Array(0)

function count(batch: PacketBatch, reason: DropReason): void {
  batch.drops[reason] = batch.drops[reason]! + 1
}
