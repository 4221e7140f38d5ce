import type { FrameType } from '@twinbore/core'
import type { EstablishedStream, StreamChannelHandlers } from '@twinbore/core/io'
import type { PacketBatch } from '@twinbore/core/packet'

/** The stream channel of a session as the session sees it; `StreamChannel` of `@twinbore/core/io` fits. */
export interface SessionStream {
  /** Begins to read. `head`: bytes that came in together with the CONNECT exchange. */
  start(head?: Uint8Array): void
  /** Sends one packet; the bytes are copied. When too much waits, the oldest packets are dropped and counted. */
  sendPacket(bytes: Uint8Array, offset: number, length: number): void
  /** Sends a control frame, before any data that waits. */
  sendFrame(frameType: FrameType, payload: Uint8Array): void
  /** Sends what is queued, then closes. `onClosed` is not called. */
  end(): void
  /** Closes at once. `onClosed` is not called. */
  destroy(): void
}

/** Makes the stream channel of a session out of what CONNECT has left. */
export type OpenStream = (
  established: EstablishedStream,
  handlers: StreamChannelHandlers,
  packets: { readonly batch: PacketBatch; readonly owner: number },
) => SessionStream
