import type { FrameSource } from '../protocol/frame-source.ts'

/** What a hand tells its channel. */
export interface StreamHandEvents {
  /** Bytes for `source` came in. */
  onChunk(chunk: Uint8Array): void
  /** A write waits for the peer: `ready` is false. */
  onBlocked(): void
  /** `ready` is true again. */
  onReady(): void
  /** The peer ended, or the connection is gone. */
  onEnd(): void
  onError(error: Error): void
}

/** Who makes and opens the records of a stream channel. Each frame leaves as one record. */
export interface StreamHand {
  /** `own`: the record layer of this library; `node`: that of Node's TLS. */
  readonly kind: 'own' | 'node'
  /** Makes frames of what `onChunk` gives. */
  readonly source: FrameSource
  /** Whether the operating system takes a frame now. */
  readonly ready: boolean
  /** Whether the connection is gone. */
  readonly closed: boolean
  /** Begins to read. `head`: plaintext that was read before. */
  start(head: Uint8Array): void
  /** Sends a whole frame; only when `ready`. The bytes are not changed afterwards. */
  sendFrame(frame: Uint8Array): void
  /** Sends a packet as a data frame; only when `ready`. The bytes are copied. */
  sendPacket(bytes: Uint8Array, offset: number, length: number): void
  /** Says that nothing follows, and closes when the peer does. */
  end(): void
  /** Closes at once, after a word on what the peer did wrong if `source` has failed. */
  destroy(): void
}
