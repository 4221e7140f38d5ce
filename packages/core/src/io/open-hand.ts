import type { TLSSocket } from 'node:tls'
import type { StreamHand, StreamHandEvents } from './stream-hand.ts'
import { TakenHand } from './taken-hand.ts'
import { TlsSocketHand } from './tls-socket-hand.ts'
import { taps } from './tls-tap.ts'

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
