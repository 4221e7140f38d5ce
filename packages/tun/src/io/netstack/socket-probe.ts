import { readSync } from 'node:fs'
import type { Socket } from 'node:net'
import { type NativeFunction, nativeLibrary } from '../native-library.ts'

// A reset that closely follows data is reported to Node as a clean end of the stream: libuv takes a hang-up behind a short
// read for one. The kernel knows better, and only the kernel: its pending error of the socket says which of the two it was.

const SOL_SOCKET = 1
const SO_ERROR = 4

/** Reads and clears the pending error of a socket: 0 for none. */
let pendingError: ((descriptor: number) => number) | undefined

/**
 * Whether a socket that seems to have ended was in truth reset (or otherwise broken). Reads the pending error, and so
 * clears it: whoever asks must act on it.
 */
export function isBroken(socket: Socket): boolean {
  const descriptor = descriptorOf(socket)
  if (descriptor === undefined) return false
  pendingError ??= load()
  return pendingError(descriptor) !== 0
}

/** Nothing documented leads to the descriptor; where it is missing (Windows), an end is taken for what it seems. */
function descriptorOf(socket: Socket): number | undefined {
  const handle = (socket as { _handle?: { fd?: unknown } | null })._handle
  return typeof handle?.fd === 'number' && handle.fd >= 0 ? handle.fd : undefined
}

function load(): (descriptor: number) => number {
  if (process.platform === 'linux') {
    try {
      return bySocketOption()
    } catch {
      // koffi has no build for this system.
    }
  }
  return byRead
}

function bySocketOption(): (descriptor: number) => number {
  const library = nativeLibrary()
  const getsockopt: NativeFunction = library.function('getsockopt', 'int', ['int', 'int', 'int', 'address', 'address'])
  const words = new Int32Array(2)
  const value = library.addressOf(words.buffer)
  return descriptor => {
    words[0] = 0
    words[1] = 4
    return getsockopt(descriptor, SOL_SOCKET, SO_ERROR, value, value + 4) === 0 ? words[0] : library.errno()
  }
}

/** Reading at the end of a stream gives nothing; a reset fails instead. Only for sockets that seem to have ended. */
function byRead(descriptor: number): number {
  try {
    readSync(descriptor, oneByte, 0, 1, null)
    return 0
  } catch (error) {
    return (error as NodeJS.ErrnoException).errno ?? -1
  }
}

const oneByte = new Uint8Array(1)
