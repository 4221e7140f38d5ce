import { TunError } from '../../errors.ts'
import { errno, errnoName } from './errno.ts'
import {
  type NetlinkReply,
  NetlinkRequest,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLMSG_DONE,
  NLMSG_ERROR,
  netlinkReplies,
  readUint32,
} from './netlink-message.ts'
import { AF_NETLINK, MSG_DONTWAIT, NETLINK_ROUTE, SOCK_CLOEXEC, SOCK_RAW } from './structs.ts'
import { type Syscalls, syscalls } from './syscalls.ts'

/** What the kernel said no to. `errno` is positive. */
export class NetlinkRefusal extends Error {
  override readonly name = 'NetlinkRefusal'
  readonly errno: number

  constructor(number: number) {
    super(errnoName(number))
    this.errno = number
  }
}

/**
 * A socket to a part of the kernel, unless told otherwise the routing one. The kernel handles a request inside the send, so the answer is there when
 * send returns and nothing ever waits.
 */
export class NetlinkSocket {
  private readonly system: Syscalls
  private readonly memory = new ArrayBuffer(65_536 + 1024)
  private readonly bytes = new Uint8Array(this.memory)
  private readonly address: number
  private readonly descriptor: number
  private sequence = 0

  /** `protocol`: which part of the kernel. @throws TunError */
  constructor(protocol: number = NETLINK_ROUTE) {
    this.system = syscalls()
    this.address = this.system.library.addressOf(this.memory)
    this.descriptor = this.system.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol)
    if (this.descriptor === -1) {
      const name = errnoName(this.system.lastError())
      throw new TunError('ERR_TUN_SYSTEM', `no netlink socket: ${name}`, { errno: name })
    }
  }

  /** Changes something. @throws NetlinkRefusal */
  change(type: number, flags: number, fixed: Uint8Array, fill: (request: NetlinkRequest) => void): void {
    this.exchange(type, flags | NLM_F_ACK, fixed, fill)
  }

  /** Asks for one thing. @throws NetlinkRefusal */
  ask(type: number, fixed: Uint8Array, fill: (request: NetlinkRequest) => void): NetlinkReply | undefined {
    return this.exchange(type, NLM_F_ACK, fixed, fill)[0]
  }

  /** Asks for all of something. @throws NetlinkRefusal */
  list(type: number, fixed: Uint8Array): NetlinkReply[] {
    return this.exchange(type, NLM_F_DUMP, fixed, () => {})
  }

  close(): void {
    this.system.close(this.descriptor)
  }

  private exchange(
    type: number,
    flags: number,
    fixed: Uint8Array,
    fill: (request: NetlinkRequest) => void,
  ): NetlinkReply[] {
    const sequence = ++this.sequence
    const request = new NetlinkRequest(type, flags, fixed)
    fill(request)
    const message = request.finish(sequence)
    this.bytes.set(message, 65_536)
    if (this.system.send(this.descriptor, this.address + 65_536, message.length, 0) === -1) {
      throw new NetlinkRefusal(this.system.lastError())
    }
    const answer: NetlinkReply[] = []
    for (;;) {
      const length = this.system.recv(this.descriptor, this.address, 65_536, MSG_DONTWAIT)
      if (length === -1) throw new NetlinkRefusal(this.system.lastError())
      for (const reply of netlinkReplies(this.bytes.slice(0, length))) {
        if (reply.sequence !== sequence) continue
        if (reply.type === NLMSG_DONE) return answer
        if (reply.type !== NLMSG_ERROR) {
          answer.push(reply)
          continue
        }
        const refusal = (readUint32(reply.payload) | 0) * -1
        if (refusal !== 0) throw new NetlinkRefusal(refusal)
        return answer
      }
    }
  }
}

/** Whether the kernel refused with one of these numbers. */
export function refusedWith(error: unknown, ...numbers: (keyof typeof errno)[]): boolean {
  return error instanceof NetlinkRefusal && numbers.some(name => errno[name] === error.errno)
}
