import type { Socket } from 'node:net'
import { FrameType, STREAM_FRAME_HEADER_BYTES, writeStreamHeader } from '../protocol/frame.ts'
import { AlertDescription } from '../tls/record-format.ts'
import { TlsFrameReader } from '../tls/tls-frame-reader.ts'
import type { TlsRecordLayer } from '../tls/tls-record-layer.ts'
import { RecordBuffer } from './record-buffer.ts'
import { READ_BYTES, withStaticReads } from './static-reads.ts'
import type { StreamHand, StreamHandEvents } from './stream-hand.ts'
import type { TakenConnection } from './tls-tap.ts'

/** Room for a key update or an alert of any suite. */
const SMALL_RECORD_BYTES = 64

// A peer that sends fast is read less often and in larger chunks: each wake-up, and each packet that enters a TUN device on its own,
// costs more than the records in it. Below this rate, about that of six acknowledgements a millisecond, nothing waits.
const FAST_BYTES_PER_MS = 500
/** So much says that more waits already. */
const FULL_BYTES = 0.75 * READ_BYTES
const PAUSE_MS = 1
/** How fast the measured rate follows. */
const RATE_WINDOW_MS = 1

/**
 * Records by our own record layer, over a plain TCP socket. The records of all frames that are sent within one turn leave in one
 * write. While a write waits for the peer, nothing more is sealed: what waits then can still be dropped.
 */
export class TakenHand implements StreamHand {
  readonly kind = 'own'
  readonly source: TlsFrameReader
  private readonly raw: Socket
  private readonly layer: TlsRecordLayer
  private readonly events: StreamHandEvents
  /** Until it is started. */
  private taken: TakenConnection | undefined
  /** Whether what comes in is told by events. */
  private readonly readsChunks: boolean
  /** Records that leave with the next write. */
  private out: RecordBuffer | undefined
  /** Records whose write has not ended. */
  private waiting: RecordBuffer | undefined
  private flushing = false
  private lastChunkAt = Number.NEGATIVE_INFINITY
  /** Bytes that come in a millisecond. */
  private rate = 0
  private pause: NodeJS.Timeout | undefined
  private gone = false

  constructor(taken: TakenConnection, events: StreamHandEvents) {
    const { layer } = taken
    this.taken = taken
    const raw = withStaticReads(taken.raw, this.handleData)
    this.readsChunks = raw === undefined
    this.raw = raw ?? taken.raw
    this.layer = layer
    this.events = events
    this.source = new TlsFrameReader(layer)
    this.raw.setNoDelay(true)
    this.raw.setTimeout(0)
    this.raw.on('error', error => events.onError(error))
    this.raw.on('end', () => events.onEnd())
    this.raw.on('close', () => {
      this.dispose()
      events.onEnd()
    })
  }

  get ready(): boolean {
    return this.waiting === undefined
  }

  get closed(): boolean {
    return this.gone
  }

  start(head: Uint8Array): void {
    const { plaintext, ciphertext } = this.taken!
    this.taken = undefined
    this.source.begin(joined(head, plaintext))
    this.events.onChunk(ciphertext)
    if (this.gone) return
    if (this.readsChunks) this.raw.on('data', this.handleData)
    this.raw.resume()
  }

  sendFrame(frame: Uint8Array): void {
    if (this.gone) return
    const out = this.roomFor(frame.length)
    out.bytes.set(frame, out.length + this.layer.headerBytes)
    out.length += this.layer.sealData(out.bytes, out.length, frame.length)
  }

  sendPacket(bytes: Uint8Array, offset: number, length: number): void {
    if (this.gone) return
    const frameBytes = STREAM_FRAME_HEADER_BYTES + length
    const out = this.roomFor(frameBytes)
    const at = out.length + this.layer.headerBytes
    writeStreamHeader(out.view, at, FrameType.data, length)
    out.bytes.set(bytes.subarray(offset, offset + length), at + STREAM_FRAME_HEADER_BYTES)
    out.length += this.layer.sealData(out.bytes, out.length, frameBytes)
  }

  end(): void {
    if (this.gone) return
    this.sealAlert(AlertDescription.closeNotify)
    this.flush()
    this.raw.end()
  }

  destroy(): void {
    if (this.gone) return
    const { alert } = this.source
    if (alert !== undefined && this.ready) {
      this.sealAlert(alert)
      this.flush()
    }
    this.dispose()
    this.raw.destroy()
  }

  private readonly handleData = (chunk: Uint8Array): void => {
    this.events.onChunk(chunk)
    const now = performance.now()
    const elapsed = Math.max(now - this.lastChunkAt, 0.001)
    this.lastChunkAt = now
    this.rate += (chunk.length / elapsed - this.rate) * Math.min(1, elapsed / RATE_WINDOW_MS)
    if (this.rate < FAST_BYTES_PER_MS || chunk.length >= FULL_BYTES || this.gone) return
    this.raw.pause()
    if (this.pause) this.pause.refresh()
    else this.pause = setTimeout(() => this.raw.resume(), PAUSE_MS)
  }

  /** A buffer with room for the record of so many bytes, and with the records before it that are due. */
  private roomFor(contentBytes: number): RecordBuffer {
    const { layer } = this
    const wanted = layer.headerBytes + contentBytes + layer.trailerBytes + SMALL_RECORD_BYTES
    if (this.out && this.out.length + wanted > this.out.bytes.length) this.write()
    this.out ??= RecordBuffer.take()
    const { out } = this
    if (layer.keyUpdateDue) out.length += layer.sealKeyUpdate(out.bytes, out.length)
    if (!this.flushing) {
      this.flushing = true
      process.nextTick(this.flush)
    }
    return out
  }

  private sealAlert(description: AlertDescription): void {
    const out = this.roomFor(2)
    out.length += this.layer.sealAlert(out.bytes, out.length, description)
  }

  private readonly flush = (): void => {
    this.flushing = false
    if (this.ready) this.write()
  }

  private write(): void {
    const { out, raw } = this
    this.out = undefined
    if (!out) return
    if (this.gone || !raw.writable) {
      out.release()
      return
    }
    raw.write(out.bytes.subarray(0, out.length), this.handleWritten)
    // The operating system has taken it within the call, mostly.
    if (raw.writableLength === 0) {
      out.release()
      return
    }
    this.waiting = out
    this.events.onBlocked()
  }

  private readonly handleWritten = (error?: Error | null): void => {
    // An error is reported by the socket's own event.
    if (error || this.waiting === undefined || this.raw.writableLength > 0) return
    this.waiting.release()
    this.waiting = undefined
    this.write()
    if (this.ready && !this.gone) this.events.onReady()
  }

  private dispose(): void {
    if (this.gone) return
    this.gone = true
    clearTimeout(this.pause)
    this.out?.release()
    this.out = undefined
    this.layer.dispose()
  }
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  return a.length === 0 ? b : Buffer.concat([a, b])
}
