import { createRequire } from 'node:module'
import type { LibraryHandle, node } from 'koffi'
import { TunError } from '../errors.ts'

// The only file that knows the FFI package. Every pointer is declared as an integer and given as an address: structures
// live in byte arrays of their own, so the FFI never marshals anything.

/** The types of arguments and results in use. `address` is a pointer-sized integer. */
export type NativeType = 'int' | 'uint32' | 'int64' | 'address' | 'text'

/** A function of the C library. Addresses and 64-bit results are exact up to 2^53. */
export type NativeFunction = (...values: (number | string)[]) => number

/** Watches a file descriptor from the event loop of the calling thread. */
export interface Readiness {
  /** Begins to call `ready` on each turn in which the descriptor is readable. `failed` is true when it can't be watched any more. */
  start(ready: (failed: boolean) => void): void
  stop(): void
  /** Ends the watch for good; the descriptor may be closed afterwards. */
  close(): void
}

export interface NativeLibrary {
  function(name: string, result: NativeType, parameters: readonly NativeType[]): NativeFunction
  /**
   * Where the bytes of a buffer or an array are; of shared memory by an array only. They never move; keep a reference to the
   * buffer as long as the address is in use.
   */
  addressOf(buffer: ArrayBuffer | Uint8Array): number
  /** The error number that the last call on this thread left. */
  errno(): number
  /** A watch on a descriptor. It keeps the process alive while it is started. */
  watch(descriptor: number): Readiness
}

type Ffi = typeof import('koffi')

let loaded: NativeLibrary | undefined

/** The C library of this process. @throws TunError `ERR_TUN_NO_FFI` when koffi is missing or has no build for this system */
export function nativeLibrary(): NativeLibrary {
  loaded ??= load()
  return loaded
}

const typeNames: Record<NativeType, string> = {
  int: 'int',
  uint32: 'uint32_t',
  int64: 'int64_t',
  address: 'int64_t',
  text: 'str',
}

function load(): NativeLibrary {
  let ffi: Ffi
  let library: LibraryHandle
  try {
    ffi = createRequire(import.meta.url)('koffi') as Ffi
    library = ffi.load(null)
  } catch (cause) {
    throw new TunError(
      'ERR_TUN_NO_FFI',
      `the package 'koffi' does not load on ${process.platform}-${process.arch}: native devices are not available`,
      { cause },
    )
  }
  return {
    function: (name, result, parameters) =>
      library.func(
        name,
        typeNames[result],
        parameters.map(type => typeNames[type]),
      ) as NativeFunction,
    addressOf: buffer => Number(ffi.address(buffer)),
    errno: () => ffi.errno(),
    watch: descriptor => new Watch(ffi, descriptor),
  }
}

/**
 * A libuv poll handle on the loop of the calling thread: no thread of the pool is taken and nothing needs waking at close.
 * Its callback comes from native code, so `ready` is called from the check phase of the same turn (`setImmediate`), where
 * promises, `nextTick` and exceptions behave as everywhere.
 */
class Watch implements Readiness {
  private readonly ffi: Ffi
  private readonly descriptor: number
  private handle: node.PollHandle | undefined
  private ready: ((failed: boolean) => void) | undefined
  private scheduled: NodeJS.Immediate | undefined

  constructor(ffi: Ffi, descriptor: number) {
    this.ffi = ffi
    this.descriptor = descriptor
  }

  start(ready: (failed: boolean) => void): void {
    this.ready = ready
    if (this.handle) return
    // The declared type of the callback lacks its first argument, libuv's status.
    const readable = (status: unknown) => {
      this.scheduled ??= setImmediate(() => {
        this.scheduled = undefined
        this.ready?.((status as number) < 0)
      })
    }
    this.handle = this.ffi.node.poll(this.descriptor, { readable: true }, readable)
  }

  stop(): void {
    this.close()
  }

  /** Closing the handle keeps the descriptor: a later `start` makes a new one. */
  close(): void {
    this.ready = undefined
    if (this.scheduled) clearImmediate(this.scheduled)
    this.scheduled = undefined
    this.handle?.close()
    this.handle = undefined
  }
}
