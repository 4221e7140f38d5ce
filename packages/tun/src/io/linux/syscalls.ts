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
  bind(descriptor: number, address: number, length: number): number
  getsockname(descriptor: number, address: number, lengthAddress: number): number
  setsockopt(descriptor: number, level: number, name: number, address: number, length: number): number
  getsockopt(descriptor: number, level: number, name: number, address: number, lengthAddress: number): number
  /** Not repeated when a signal interrupts: with MSG_DONTWAIT none can. The time-out is a null pointer. */
  recvmmsg(descriptor: number, messages: number, count: number, flags: number, timeout: 0): number
  sendmmsg(descriptor: number, messages: number, count: number, flags: number): number
  /** 0 if there is no interface of that name. */
  if_nametoindex(name: string): number
  /** Writes up to 16 bytes; 0 if there is no such interface. */
  if_indextoname(index: number, address: number): number
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
    bind: library.function('bind', 'int', ['int', 'address', 'uint32']),
    getsockname: library.function('getsockname', 'int', ['int', 'address', 'address']),
    setsockopt: library.function('setsockopt', 'int', ['int', 'int', 'int', 'address', 'uint32']),
    getsockopt: library.function('getsockopt', 'int', ['int', 'int', 'int', 'address', 'address']),
    recvmmsg: library.function('recvmmsg', 'int', ['int', 'address', 'uint32', 'int', 'address']),
    sendmmsg: library.function('sendmmsg', 'int', ['int', 'address', 'uint32', 'int']),
    if_nametoindex: library.function('if_nametoindex', 'uint32', ['text']),
    if_indextoname: library.function('if_indextoname', 'address', ['uint32', 'address']),
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
