import { endianness } from 'node:os'
import { TunError } from '../../errors.ts'
import type { DatagramSupport } from '../../options.ts'
import { errno, errnoName } from './errno.ts'
import { SocketOptions } from './socket-options.ts'
import { AF_INET, AF_INET6, MSG_DONTWAIT, SOCK_CLOEXEC, SOCK_DGRAM, SOL_UDP, UDP_GRO, UDP_SEGMENT } from './structs.ts'
import { type Syscalls, syscalls } from './syscalls.ts'
import { MessageBlock } from './udp-messages.ts'

/** Those whose numbers are the asm-generic ones, with 64-bit little-endian words. */
const ARCHITECTURES: readonly string[] = ['x64', 'arm64', 'riscv64', 'loong64']

let found: DatagramSupport | undefined

/**
 * What the datagram sockets of this process can do: tried once, on a socket that is thrown away. Nothing is sent.
 */
export function datagramSupport(): DatagramSupport {
  found ??= probe()
  return found
}

function probe(): DatagramSupport {
  if (process.platform !== 'linux') return portable(`no implementation for ${process.platform}`)
  if (!ARCHITECTURES.includes(process.arch) || endianness() !== 'LE') {
    return portable(`no implementation for ${process.arch}`)
  }
  try {
    return probeSystem(syscalls())
  } catch (error) {
    return portable(error instanceof TunError ? error.message : String(error))
  }
}

function probeSystem(system: Syscalls): DatagramSupport {
  let descriptor = system.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)
  if (descriptor === -1) descriptor = system.socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0)
  if (descriptor === -1) return portable(`no UDP socket: ${errnoName(system.lastError())}`)
  try {
    const block = new MessageBlock(system.library, { messages: 1, vectors: 1, controlBytes: 8 })
    block.setVectors(0, 0, 1)
    // Sandboxes refuse calls that they don't know; an empty socket says EAGAIN.
    const received = system.recvmmsg(descriptor, block.headerAddress(0), 1, MSG_DONTWAIT, 0)
    if (received !== -1 || system.lastError() !== errno.EAGAIN) {
      return portable(`recvmmsg does not work: ${errnoName(system.lastError())}`)
    }
    if (system.sendmmsg(descriptor, block.headerAddress(0), 0, MSG_DONTWAIT) !== 0) {
      return portable(`sendmmsg does not work: ${errnoName(system.lastError())}`)
    }
    const options = new SocketOptions(system)
    const gso = options.get(descriptor, SOL_UDP, UDP_SEGMENT) === 0
    const gro = options.set(descriptor, SOL_UDP, UDP_GRO, 1) === 0
    const missing = [gso ? '' : 'UDP_SEGMENT', gro ? '' : 'UDP_GRO'].filter(name => name !== '')
    const told = missing.length === 0 ? {} : { reason: `the kernel has no ${missing.join(' and no ')}` }
    return { native: true, gso, gro, ...told }
  } finally {
    system.close(descriptor)
  }
}

function portable(reason: string): DatagramSupport {
  return { native: false, gso: false, gro: false, reason }
}
