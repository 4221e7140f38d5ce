import { SO_MEMINFO, SOL_SOCKET } from './structs.ts'
import type { Syscalls } from './syscalls.ts'

/** Integers of getsockopt and setsockopt. */
export class SocketOptions {
  private readonly system: Syscalls
  private readonly memory = new ArrayBuffer(MEMINFO_WORDS * 4 + 8)
  private readonly words = new Int32Array(this.memory)
  private readonly address: number

  constructor(system: Syscalls) {
    this.system = system
    this.address = system.library.addressOf(this.memory)
  }

  /** Returns 0 or the error number. */
  set(descriptor: number, level: number, name: number, value: number): number {
    this.words[0] = value
    return this.system.setsockopt(descriptor, level, name, this.address, 4) === -1 ? this.system.lastError() : 0
  }

  /** The value; undefined when the system refuses to tell, `lastError` says why. */
  get(descriptor: number, level: number, name: number): number | undefined {
    return this.read(descriptor, level, name, 4) ? this.words[0]! : undefined
  }

  /** Datagrams that the system dropped for want of room in the socket's buffer; undefined when it does not tell. */
  drops(descriptor: number): number | undefined {
    const told = this.read(descriptor, SOL_SOCKET, SO_MEMINFO, MEMINFO_WORDS * 4)
    return told ? this.words[DROPS_WORD]! >>> 0 : undefined
  }

  private read(descriptor: number, level: number, name: number, bytes: number): boolean {
    this.words.fill(0)
    this.words[MEMINFO_WORDS] = bytes
    const length = this.address + MEMINFO_WORDS * 4
    return this.system.getsockopt(descriptor, level, name, this.address, length) === 0
  }
}

/** linux/sock_diag.h: SK_MEMINFO_DROPS is the last of nine u32. */
const MEMINFO_WORDS = 9
const DROPS_WORD = 8
