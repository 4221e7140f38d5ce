import type { TLSSocket } from 'node:tls'
import { encodeStreamFrame, FrameType } from '../protocol/frame.ts'
import { StreamDeframer } from '../protocol/stream-deframer.ts'
import type { StreamHand, StreamHandEvents } from './stream-hand.ts'

/**
 * Records by Node's TLS. The next frame is written only when the one before is with the operating system, because Node puts
 * everything that waits in a socket into one record.
 */
export class TlsSocketHand implements StreamHand {
  readonly kind = 'node'
  readonly source: StreamDeframer = new StreamDeframer()
  private readonly socket: TLSSocket
  private readonly events: StreamHandEvents
  private writing = false

  constructor(socket: TLSSocket, events: StreamHandEvents) {
    this.socket = socket
    this.events = events
    socket.setNoDelay(true)
    socket.setTimeout(0)
    socket.on('error', error => events.onError(error))
    socket.on('end', () => events.onEnd())
    socket.on('close', () => events.onEnd())
  }

  get ready(): boolean {
    return !this.writing
  }

  get closed(): boolean {
    return this.socket.destroyed
  }

  start(head: Uint8Array): void {
    if (head.length > 0) this.events.onChunk(head)
    if (this.socket.destroyed) return
    this.socket.on('data', (chunk: Uint8Array) => this.events.onChunk(chunk))
    this.socket.resume()
  }

  sendFrame(frame: Uint8Array): void {
    this.writing = true
    let returned = false
    this.socket.write(frame, error => {
      this.writing = false
      // An error is reported by the socket's own event. A write that completes within the call needs no word.
      if (!error && returned) this.events.onReady()
    })
    returned = true
    if (this.writing) this.events.onBlocked()
  }

  sendPacket(bytes: Uint8Array, offset: number, length: number): void {
    this.sendFrame(encodeStreamFrame(FrameType.data, bytes.subarray(offset, offset + length)))
  }

  end(): void {
    this.socket.end()
  }

  destroy(): void {
    this.socket.destroy()
  }
}
