import { createSocket, type Socket } from 'node:dgram'
import { syscalls } from '../linux/syscalls.ts'

const AF_INET = 2
const AF_INET6 = 10
const SOCK_DGRAM = 2
const SOCK_NONBLOCK = 0o4000
const SOCK_CLOEXEC = 0o2000000
const IPPROTO_ICMP = 1
const IPPROTO_ICMPV6 = 58

const REQUEST: Readonly<Record<4 | 6, number>> = { 4: 8, 6: 128 }
const REPLY: Readonly<Record<4 | 6, number>> = { 4: 0, 6: 129 }
const HEADER_BYTES = 8

/** An echo reply as a ping socket gives it. */
export interface PingReply {
  readonly from: string
  readonly sequenceNumber: number
  readonly payload: Uint8Array
}

/**
 * An unprivileged ICMP echo socket (Linux, where `net.ipv4.ping_group_range` covers a group of the process; both families
 * go by it). The kernel chooses the identifier and gives each socket the replies to its own.
 */
export class PingSocket {
  private readonly socket: Socket
  private readonly family: 4 | 6
  private isClosed = false

  private constructor(socket: Socket, family: 4 | 6, onReply: (reply: PingReply) => void) {
    this.socket = socket
    this.family = family
    socket.on('message', (message, { address }) => {
      if (message.length < HEADER_BYTES || message[0] !== REPLY[family]) return
      onReply({ from: address, sequenceNumber: message.readUInt16BE(6), payload: message.subarray(HEADER_BYTES) })
    })
    socket.on('error', () => this.close())
  }

  /** `undefined` where the system gives none. */
  static open(family: 4 | 6, onReply: (reply: PingReply) => void): PingSocket | undefined {
    const descriptor = openDescriptor(family)
    if (descriptor === undefined) return undefined
    const socket = createSocket({
      type: family === 6 ? 'udp6' : 'udp4',
      lookup: (name, _options, answer) => answer(null, name, family),
    })
    const ping = new PingSocket(socket, family, onReply)
    socket.bind({ fd: descriptor })
    return ping
  }

  /** Whether the system gives such sockets to this process. */
  static isAvailable(family: 4 | 6): boolean {
    const descriptor = openDescriptor(family)
    if (descriptor !== undefined) syscalls().close(descriptor)
    return descriptor !== undefined
  }

  get isOpen(): boolean {
    return !this.isClosed
  }

  /** @param failed - the system refused to send */
  send(to: string, sequenceNumber: number, payload: Uint8Array, failed: (code: string | undefined) => void): void {
    if (this.isClosed) return
    const message = new Uint8Array(HEADER_BYTES + payload.length)
    message[0] = REQUEST[this.family]
    // Identifier and checksum are the kernel's.
    new DataView(message.buffer).setUint16(6, sequenceNumber)
    message.set(payload, HEADER_BYTES)
    // ICMP has no ports, but the call insists on one.
    this.socket.send(message, 1, to, error => {
      if (error) failed((error as NodeJS.ErrnoException).code)
    })
  }

  close(): void {
    if (this.isClosed) return
    this.isClosed = true
    this.socket.close()
  }
}

function openDescriptor(family: 4 | 6): number | undefined {
  if (process.platform !== 'linux') return undefined
  try {
    const [domain, protocol] = family === 6 ? [AF_INET6, IPPROTO_ICMPV6] : [AF_INET, IPPROTO_ICMP]
    const descriptor = syscalls().socket(domain, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol)
    return descriptor === -1 ? undefined : descriptor
  } catch {
    // koffi has no build for this system.
    return undefined
  }
}
