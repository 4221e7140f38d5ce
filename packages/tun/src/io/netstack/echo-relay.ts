import type { EchoMessage } from '../../netstack/outputs.ts'
import { AddressFilter } from './address-filter.ts'
import { refusalOf } from './connect-refusal.ts'
import { type PingReply, PingSocket } from './ping-socket.ts'
import type { RelayHost } from './relay-host.ts'

/** Hosts that one identifier may ping and get answers from. */
const MAX_PEERS = 64

interface Pinger {
  readonly source: string
  readonly identifier: number
  readonly filter: AddressFilter
  readonly socket: PingSocket
  sentAt: number
}

/**
 * Echo requests of clients and ping sockets: one socket for each inside address and identifier, since the kernel puts an
 * identifier of its own in the place of the client's. Where the system gives no such sockets, clients are told that it is
 * prohibited: an answer that the destination did not give would be a lie.
 */
export class EchoRelay {
  private readonly host: RelayHost
  private readonly available: Readonly<Record<4 | 6, boolean>>
  private readonly hasRoom: () => boolean
  private readonly pingers: Map<string, Pinger> = new Map()
  private readonly countOf: Map<string, number> = new Map()

  constructor(host: RelayHost, hasRoom: () => boolean) {
    this.host = host
    this.hasRoom = hasRoom
    this.available = { 4: PingSocket.isAvailable(4), 6: PingSocket.isAvailable(6) }
  }

  /** Whether pings get out at all. */
  get isAvailable(): boolean {
    return this.available[4] || this.available[6]
  }

  get size(): number {
    return this.pingers.size
  }

  request(message: EchoMessage): void {
    const { host } = this
    const family = message.destination.includes(':') ? 6 : 4
    if (!this.available[family]) {
      this.refuse(message, 'admin-prohibited')
      return
    }
    const pinger = this.pingers.get(keyOf(message.source, message.identifier)) ?? this.add(message, family)
    if (!pinger) {
      this.refuse(message, 'host-unreachable')
      return
    }
    pinger.sentAt = host.now()
    pinger.filter.open(message.destination)
    pinger.socket.send(message.destination, message.sequenceNumber, message.payload, code => {
      const reason = refusalOf(code)
      this.refuse(message, reason === 'reset' ? 'host-unreachable' : reason)
      host.settle()
    })
  }

  /** Ends what wasn't used for long. */
  sweep(): void {
    const { host } = this
    for (const pinger of this.pingers.values()) {
      if (host.now() - pinger.sentAt >= host.limits.pingIdleMs || !pinger.socket.isOpen) this.remove(pinger)
    }
  }

  removeSource(source: string): void {
    if (!this.countOf.has(source)) return
    for (const pinger of this.pingers.values()) if (pinger.source === source) this.remove(pinger)
  }

  close(): void {
    for (const pinger of this.pingers.values()) this.remove(pinger)
  }

  private add({ source, identifier }: EchoMessage, family: 4 | 6): Pinger | undefined {
    const { host } = this
    const count = this.countOf.get(source) ?? 0
    if (
      count >= host.limits.maxPingSocketsPerSource ||
      this.pingers.size >= host.limits.maxPingSockets ||
      !this.hasRoom()
    ) {
      return undefined
    }
    const filter = new AddressFilter(MAX_PEERS)
    const socket = PingSocket.open(family, reply => this.reply(source, identifier, filter, reply))
    if (!socket) return undefined
    const pinger: Pinger = { source, identifier, filter, socket, sentAt: host.now() }
    this.pingers.set(keyOf(source, identifier), pinger)
    this.countOf.set(source, count + 1)
    return pinger
  }

  private remove(pinger: Pinger): void {
    pinger.socket.close()
    this.pingers.delete(keyOf(pinger.source, pinger.identifier))
    const count = this.countOf.get(pinger.source)! - 1
    if (count > 0) this.countOf.set(pinger.source, count)
    else this.countOf.delete(pinger.source)
  }

  private reply(source: string, identifier: number, filter: AddressFilter, reply: PingReply): void {
    const { host } = this
    if (!filter.admits(reply.from)) {
      host.counters.datagramsFiltered++
      return
    }
    const { from: destination, sequenceNumber, payload } = reply
    host.stack.echoReply({ source, destination, identifier, sequenceNumber, payload }, host.now())
    host.settle()
  }

  private refuse(message: EchoMessage, reason: 'admin-prohibited' | ReturnType<typeof refusalOf>): void {
    this.host.counters.echoesRefused++
    this.host.stack.refuseEcho(message, reason, this.host.now())
  }
}

function keyOf(source: string, identifier: number): string {
  return `${source} ${identifier}`
}
