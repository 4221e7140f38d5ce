import { Socket, type SocketConstructorOpts } from 'node:net'

/** How much is read at once: room for what piles up between two reads. */
export const READ_BYTES = 262_144

/** What all sockets of the thread read into; whoever is told of bytes uses them up before it returns. */
let shared: Uint8Array | undefined

/**
 * Moves a connection to a socket that reads into one buffer, over and over, and calls `onRead` with what came in, which is good
 * until it returns. An ordinary socket allocates 64 KiB for each read, whose only use is to be collected: at high rates that
 * is a fifth of the time. `raw` stays as the name of the connection: it closes with the new socket, and closes it.
 *
 * Node offers such reads (`onread`) for connections that it opens, but not for accepted ones; so the handle has to move, by a
 * property that is not documented. Where that is not as it is known, the result is `undefined`, and `raw` as it was.
 */
export function withStaticReads(raw: Socket, onRead: (bytes: Uint8Array) => void): Socket | undefined {
  const holder = raw as unknown as { _handle?: { useUserBuffer?: unknown } | null }
  const handle = holder._handle
  // The callbacks of writes under way would come to the wrong socket.
  if (raw.destroyed || raw.writableLength > 0 || typeof handle?.useUserBuffer !== 'function') return undefined
  shared ??= new Uint8Array(new ArrayBuffer(READ_BYTES))
  const buffer = shared
  const options = {
    handle,
    allowHalfOpen: raw.allowHalfOpen,
    pauseOnCreate: true,
    onread: {
      buffer,
      callback: (length: number) => {
        onRead(buffer.subarray(0, length))
        return true
      },
    },
  }
  holder._handle = null
  const socket = new Socket(options as SocketConstructorOpts)
  socket.once('close', () => raw.destroy())
  raw.once('close', () => socket.destroy())
  return socket
}
