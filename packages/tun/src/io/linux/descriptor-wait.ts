import { TunError } from '../../errors.ts'
import { type NativeFunction, type NativeLibrary, nativeLibrary, type Readiness } from '../native-library.ts'
import { errno, errnoName } from './errno.ts'
import { syscalls } from './syscalls.ts'

const POLLIN = 0x001
const POLLERR = 0x008
const POLLNVAL = 0x020
const POLLFD_BYTES = 8
const PR_SET_TIMERSLACK = 29
const EFD_CLOEXEC = 0x80000
const EFD_NONBLOCK = 0x800

/**
 * Waits for descriptors by poll(2), and so blocks the thread: for worker threads that live on nothing else. Made on the
 * thread that waits.
 */
export class DescriptorWait {
  private readonly library: NativeLibrary
  private readonly pollCall: NativeFunction
  private readonly sleepCall: NativeFunction
  private readonly events: Int16Array
  private readonly address: number
  private readonly count: number

  /** @throws TunError `ERR_TUN_NO_FFI` */
  constructor(descriptors: readonly number[]) {
    this.library = nativeLibrary()
    this.pollCall = this.library.function('poll', 'int', ['address', 'int64', 'int'])
    this.sleepCall = this.library.function('usleep', 'int', ['uint32'])
    const memory = new ArrayBuffer(descriptors.length * POLLFD_BYTES)
    const words = new Int32Array(memory)
    this.events = new Int16Array(memory)
    for (const [i, descriptor] of descriptors.entries()) {
      words[i * 2] = descriptor
      this.events[i * 4 + 2] = POLLIN
    }
    this.address = this.library.addressOf(memory)
    this.count = descriptors.length
  }

  /** Waits until one is ready or the time is over; less when a signal comes. Returns how many are ready. */
  wait(timeoutMs: number): number {
    this.clear()
    const ready = this.pollCall(this.address, this.count, Math.ceil(timeoutMs))
    if (ready >= 0) return ready
    const code = this.library.errno()
    if (code !== errno.EINTR) throw new TunError('ERR_TUN_SYSTEM', `poll failed: ${errnoName(code)}`)
    this.clear()
    return 0
  }

  /** Whether the descriptor in this place is ready, as of the last `wait`: something is there to read, or an error. */
  isReady(place: number): boolean {
    return this.events[place * 4 + 3] !== 0
  }

  /** Whether the descriptor in this place is of no use any more. */
  isBroken(place: number): boolean {
    return (this.events[place * 4 + 3]! & (POLLNVAL | POLLERR)) !== 0
  }

  /** Sleeps, with `setPreciseTimers` about as exactly as asked. */
  sleepMicroseconds(time: number): void {
    this.sleepCall(time)
  }

  private clear(): void {
    for (let i = 0; i < this.count; i++) this.events[i * 4 + 3] = 0
  }
}

/** Makes sleeps of this thread end when they should instead of up to 50 us later. */
export function setPreciseTimers(): void {
  nativeLibrary().function('prctl', 'int', ['int', 'int64', 'int64', 'int64', 'int64'])(PR_SET_TIMERSLACK, 1, 0, 0, 0)
}

/** Wakes a thread of this process that waits for a descriptor: an eventfd. Each thread has an object of its own. */
export class WakeSignal {
  readonly descriptor: number
  private readonly owned: boolean
  private readonly bytes = new BigUint64Array(1)
  private readonly address: number
  private watch: Readiness | undefined

  private constructor(descriptor: number, owned: boolean) {
    this.descriptor = descriptor
    this.owned = owned
    this.address = nativeLibrary().addressOf(this.bytes.buffer)
  }

  /** @throws TunError when the system refuses */
  static open(): WakeSignal {
    const library = nativeLibrary()
    const descriptor = library.function('eventfd', 'int', ['uint32', 'int'])(0, EFD_CLOEXEC | EFD_NONBLOCK)
    if (descriptor === -1) throw new TunError('ERR_TUN_SYSTEM', `eventfd failed: ${errnoName(library.errno())}`)
    return new WakeSignal(descriptor, true)
  }

  /** The same signal on another thread; `close` leaves the descriptor open. */
  static adopt(descriptor: number): WakeSignal {
    return new WakeSignal(descriptor, false)
  }

  /** Wakes whoever waits; it stays ready until `clear`. */
  signal(): void {
    this.bytes[0] = 1n
    syscalls().write(this.descriptor, this.address, 8)
  }

  clear(): void {
    syscalls().read(this.descriptor, this.address, 8)
  }

  /** Calls `handler` on the event loop of this thread when the signal was given, and clears it. It keeps the process alive. */
  onSignal(handler: () => void): void {
    this.watch ??= nativeLibrary().watch(this.descriptor)
    this.watch.start(() => {
      this.clear()
      handler()
    })
  }

  close(): void {
    this.watch?.close()
    if (this.owned) syscalls().close(this.descriptor)
  }
}
