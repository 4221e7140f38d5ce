import type { PacketBatch } from '../packet/packet-batch.ts'
import { FrameType, STREAM_FRAME_HEADER_BYTES, STREAM_MAGIC } from '../protocol/frame.ts'
import type { FrameSource, FrameSourceStep } from '../protocol/frame-source.ts'
import { StreamDeframer } from '../protocol/stream-deframer.ts'
import {
  AlertDescription,
  ContentType,
  fragmentBytesAt,
  MAX_RECORD_FRAGMENT_BYTES,
  MAX_RECORD_PLAINTEXT_BYTES,
  RECORD_HEADER_BYTES,
} from './record-format.ts'
import type { TlsRecordLayer } from './tls-record-layer.ts'

const nothing = new Uint8Array(0)

/** Room for the longest record. */
const BUFFER_BYTES = RECORD_HEADER_BYTES + MAX_RECORD_FRAGMENT_BYTES
/** So many buffers are kept for whoever needs one next; few readers do at the same time. */
const MAX_SPARE = 8
const spare: Uint8Array[] = []

function takeBuffer(): Uint8Array {
  return spare.pop() ?? new Uint8Array(new ArrayBuffer(BUFFER_BYTES))
}

function giveBuffer(buffer: Uint8Array | undefined): void {
  if (buffer && spare.length < MAX_SPARE) spare.push(buffer)
}

/**
 * Frames of a stream channel out of TLS records, as they come from TCP.
 *
 * A record that holds one whole data frame, as peers send them, is decrypted right into the slot of its packet. All else
 * takes a detour through a scratch buffer and a `StreamDeframer`: control frames, frames that span records, records with several
 * frames, records longer than a slot. Records that span chunks are collected first. Memory: 16 KiB for each of the two,
 * while they are in use.
 */
export class TlsFrameReader implements FrameSource {
  /** The alert that tells the peer what was wrong, after a step `failed`. */
  alert: AlertDescription | undefined = undefined
  private readonly layer: TlsRecordLayer
  private readonly deframer = new StreamDeframer()
  private chunk: Uint8Array = nothing
  private position = 0
  /** The beginning of a record whose end has not come. */
  private partial: Uint8Array | undefined = undefined
  private partialBytes = 0
  private scratch: Uint8Array | undefined = undefined
  /** Whether the deframer has bytes that it has not used. */
  private deframing = false
  private final: FrameSourceStep | undefined = undefined

  constructor(layer: TlsRecordLayer) {
    this.layer = layer
  }

  /** How many bytes are kept for what is not complete. */
  get pendingBytes(): number {
    return this.partialBytes + this.deframer.pendingBytes
  }

  /** Takes data that somebody else has opened before; at most once, before anything else. */
  begin(plaintext: Uint8Array): void {
    this.deframer.feed(plaintext)
    this.deframing = plaintext.length > 0
  }

  feed(chunk: Uint8Array): void {
    if (this.position < this.chunk.length && this.final === undefined) {
      throw new RangeError('the previous chunk is not used up')
    }
    this.chunk = chunk
    this.position = 0
  }

  next(batch: PacketBatch, owner: number): FrameSourceStep {
    while (this.final === undefined) {
      if (this.deframing) {
        const step = this.deframer.next(batch, owner)
        if (step.type === 'violation') return this.end(step)
        if (step.type !== 'starved') return step
        this.deframing = false
        this.releaseScratch()
      }
      // A record may hold a packet, which needs a slot before the bytes are taken.
      if (batch.full) return batchFull
      if (this.partialBytes > 0) {
        if (!this.complete()) return this.final ?? this.starve()
        const record = this.partial!
        this.partial = undefined
        this.partialBytes = 0
        this.open(record, 0, batch, owner)
        giveBuffer(record)
        continue
      }
      const left = this.chunk.length - this.position
      if (left < RECORD_HEADER_BYTES) return this.keep(left)
      const fragmentBytes = this.measure(this.chunk, this.position)
      if (fragmentBytes === -1) break
      const recordBytes = RECORD_HEADER_BYTES + fragmentBytes
      if (left < recordBytes) return this.keep(left)
      const at = this.position
      this.position += recordBytes
      this.open(this.chunk, at, batch, owner)
    }
    return this.final ?? starved
  }

  private open(input: Uint8Array, at: number, batch: PacketBatch, owner: number): void {
    this.openRecord(input, at, batch, owner)
    if (!this.deframing) this.releaseScratch()
  }

  /** Opens the whole record at `at`. */
  private openRecord(input: Uint8Array, at: number, batch: PacketBatch, owner: number): void {
    const { layer } = this
    const { opening } = layer
    const room = fragmentBytesAt(input, at)
    // Some bytes more than the plaintext may be written: the type, and padding.
    if (room > batch.slotBytes || batch.headroom < STREAM_FRAME_HEADER_BYTES || this.deframer.pendingBytes > 0) {
      const scratch = this.scratchBuffer()
      const length = opening.open(input, at, scratch, 0)
      if (length === -1) this.fail(opening.failure, 'a record that does not open')
      else this.take(scratch, 0, length, opening.contentType)
      return
    }
    const { bytes, view } = batch
    const start = batch.count * batch.stride + batch.headroom - STREAM_FRAME_HEADER_BYTES
    const length = opening.open(input, at, bytes, start)
    if (length === -1) {
      this.fail(opening.failure, 'a record that does not open')
      return
    }
    const isPacket =
      opening.contentType === ContentType.applicationData &&
      length > STREAM_FRAME_HEADER_BYTES &&
      length <= MAX_RECORD_PLAINTEXT_BYTES &&
      view.getUint32(start) === STREAM_MAGIC &&
      view.getUint16(start + 4) === length - STREAM_FRAME_HEADER_BYTES &&
      bytes[start + 6] === FrameType.data &&
      !layer.inHandshakeMessage
    if (isPacket) {
      layer.noteData()
      batch.place(start + STREAM_FRAME_HEADER_BYTES, length - STREAM_FRAME_HEADER_BYTES, owner)
      return
    }
    if (opening.contentType !== ContentType.applicationData) {
      this.take(bytes, start, length, opening.contentType)
      return
    }
    // The slot is needed for packets while this is read.
    const scratch = this.scratchBuffer()
    scratch.set(bytes.subarray(start, start + length))
    this.take(scratch, 0, length, opening.contentType)
  }

  /** Takes plaintext; data only from `scratch`. */
  private take(bytes: Uint8Array, at: number, length: number, contentType: number): void {
    const { layer } = this
    if (length > MAX_RECORD_PLAINTEXT_BYTES) {
      this.fail(AlertDescription.recordOverflow, 'a record that is too long')
    } else if (contentType === ContentType.handshake) {
      const result = layer.handleHandshake(bytes, at, length)
      if (typeof result === 'object') this.fail(result.alert, result.text)
    } else if (layer.inHandshakeMessage) {
      this.fail(AlertDescription.unexpectedMessage, 'a record within a handshake message')
    } else if (contentType === ContentType.applicationData) {
      layer.noteData()
      this.deframer.feed(bytes.subarray(at, at + length))
      this.deframing = true
    } else if (contentType === ContentType.alert) {
      this.takeAlert(bytes, at, length)
    } else {
      this.fail(AlertDescription.unexpectedMessage, `a record of type ${contentType}`)
    }
  }

  private takeAlert(bytes: Uint8Array, at: number, length: number): void {
    if (length !== 2) this.fail(AlertDescription.decodeError, 'a malformed alert')
    else if (bytes[at + 1] === AlertDescription.closeNotify) this.end({ type: 'ended' })
    // All other alerts are errors, whatever their level says (RFC 8446 §6).
    else if (bytes[at + 1] !== AlertDescription.userCanceled) {
      this.end({ type: 'failed', text: `the peer sent alert ${bytes[at + 1]}` })
    }
  }

  private scratchBuffer(): Uint8Array {
    this.scratch ??= takeBuffer()
    return this.scratch
  }

  private releaseScratch(): void {
    giveBuffer(this.scratch)
    this.scratch = undefined
  }

  /** The length of the fragment of the record whose header is at `at`; -1 when it is too long. */
  private measure(bytes: Uint8Array, at: number): number {
    const fragmentBytes = fragmentBytesAt(bytes, at)
    if (fragmentBytes <= MAX_RECORD_FRAGMENT_BYTES) return fragmentBytes
    this.fail(AlertDescription.recordOverflow, 'a record that is too long')
    return -1
  }

  /** Adds to the record that is being collected. Returns whether it is complete. */
  private complete(): boolean {
    const record = this.partial!
    while (this.partialBytes < RECORD_HEADER_BYTES && this.position < this.chunk.length) {
      record[this.partialBytes++] = this.chunk[this.position++]!
    }
    if (this.partialBytes < RECORD_HEADER_BYTES) return false
    const fragmentBytes = this.measure(record, 0)
    if (fragmentBytes === -1) return false
    const wanted = RECORD_HEADER_BYTES + fragmentBytes - this.partialBytes
    const taken = Math.min(wanted, this.chunk.length - this.position)
    record.set(this.chunk.subarray(this.position, this.position + taken), this.partialBytes)
    this.partialBytes += taken
    this.position += taken
    return taken === wanted
  }

  /** Keeps the rest of the chunk, the beginning of a record, for the next one. */
  private keep(length: number): FrameSourceStep {
    if (length > 0) {
      this.partial ??= takeBuffer()
      this.partial.set(this.chunk.subarray(this.position))
      this.partialBytes = length
    }
    return this.starve()
  }

  private starve(): FrameSourceStep {
    this.chunk = nothing
    this.position = 0
    return starved
  }

  private fail(alert: AlertDescription, text: string): void {
    this.alert = alert
    this.end({ type: 'failed', text })
  }

  private end(step: FrameSourceStep): FrameSourceStep {
    this.final = step
    this.chunk = nothing
    this.position = 0
    giveBuffer(this.partial)
    this.partial = undefined
    this.partialBytes = 0
    this.releaseScratch()
    return step
  }
}

const starved: FrameSourceStep = { type: 'starved' }
const batchFull: FrameSourceStep = { type: 'batch-full' }
