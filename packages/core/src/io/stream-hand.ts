import type { TLSSocket } from 'node:tls'
import type { FrameSource } from '../protocol/frame-source.ts'
import { TakenHand } from './taken-hand.ts'
import { TlsSocketHand } from './tls-socket-hand.ts'
import { taps } from './tls-tap.ts'

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

/** Node's TLS needs so many turns of the loop to finish its writes, at most. */
const MAX_TURNS = 16

/**
 * Finds the hand for a connection: our own record layer where it is there for it, else Node's. `onHand` is called once, at once or
 * when what was written so far has left; `onEnd` and `onError` of `events` work from the beginning.
 */
export function openHand(socket: TLSSocket, events: StreamHandEvents, onHand: (hand: StreamHand) => void): void {
  const tap = taps.get(socket)
  if (!tap) {
    onHand(new TlsSocketHand(socket, events))
    return
  }
  const { onEnd, onError } = events
  socket.on('error', onError)
  socket.on('end', onEnd)
  socket.on('close', onEnd)
  let turns = 0
  const attempt = () => {
    if (socket.destroyed) return
    // What Node still has to write has its record numbers already.
    if (socket.writableLength > 0 && turns++ < MAX_TURNS) {
      setImmediate(attempt)
      return
    }
    socket.off('error', onError)
    socket.off('end', onEnd)
    socket.off('close', onEnd)
    socket.on('error', () => {})
    const taken = socket.writableLength > 0 ? undefined : tap.takeOver(socket)
    onHand(taken ? new TakenHand(taken, events) : new TlsSocketHand(socket, events))
  }
  attempt()
}
