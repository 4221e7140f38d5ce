import { type NativeFunction, type NativeLibrary, nativeLibrary } from '../native-library.ts'
import { errno } from './errno.ts'

/**
 * The system calls in use, as numbers in and numbers out. Each returns what the C function returns: -1 is a failure whose
 * number `lastError()` has, until the next call. Descriptors are opened close-on-exec by whoever opens them.
 *
 * `ioctl` is variadic in C; declaring it with three fixed parameters is right on Linux x86-64 and arm64.
 */
export interface Syscalls {
  open(path: string, flags: number): number
  close(descriptor: number): number
  read(descriptor: number, address: number, length: number): number
  write(descriptor: number, address: number, length: number): number
  readv(descriptor: number, vectors: number, count: number): number
  writev(descriptor: number, vectors: number, count: number): number
  ioctl(descriptor: number, request: number, argument: number): number
  socket(family: number, type: number, protocol: number): number
  send(descriptor: number, address: number, length: number, flags: number): number
  recv(descriptor: number, address: number, length: number, flags: number): number
  lastError(): number
  readonly library: NativeLibrary
}

let bound: Syscalls | undefined

/** The system calls of this process. @throws TunError `ERR_TUN_NO_FFI` */
export function syscalls(): Syscalls {
  bound ??= bind(nativeLibrary())
  return bound
}

function bind(library: NativeLibrary): Syscalls {
  const open = library.function('open', 'int', ['text', 'int', 'int'])
  return {
    open: (path, flags) => open(path, flags, 0),
    close: library.function('close', 'int', ['int']),
    read: retried(library, library.function('read', 'int64', ['int', 'address', 'int64'])),
    write: retried(library, library.function('write', 'int64', ['int', 'address', 'int64'])),
    readv: retried(library, library.function('readv', 'int64', ['int', 'address', 'int'])),
    writev: retried(library, library.function('writev', 'int64', ['int', 'address', 'int'])),
    ioctl: library.function('ioctl', 'int', ['int', 'int64', 'address']),
    socket: library.function('socket', 'int', ['int', 'int', 'int']),
    send: retried(library, library.function('send', 'int64', ['int', 'address', 'int64', 'int'])),
    recv: retried(library, library.function('recv', 'int64', ['int', 'address', 'int64', 'int'])),
    lastError: () => library.errno(),
    library,
  }
}

/** Repeats a call that a signal interrupted. */
function retried(library: NativeLibrary, call: NativeFunction): NativeFunction {
  return (a, b, c, d) => {
    for (;;) {
      const result = d === undefined ? call(a!, b!, c!) : call(a!, b!, c!, d)
      if (result !== -1 || library.errno() !== errno.EINTR) return result
    }
  }
}
