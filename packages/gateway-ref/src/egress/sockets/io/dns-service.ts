import { createSocket, type Socket } from 'node:dgram'
import { type Driver, drive, systemClock, systemRandom } from '@twinbore/core/io'
import { DnsForwarder, type DnsForwarderOutput, type DnsForwarderStats, type Upstream } from '../dns-forwarder.ts'

/**
 * The name server at the gateway's inside address: all queries go through one socket of each family, whose port the system
 * chose. A query over TCP is a flow like any other; the egress redirects it to the first name server.
 */
export class DnsService {
  /** Who is asked first, and over TCP. */
  readonly first: Upstream
  private readonly forwarder: DnsForwarder
  private readonly driver: Driver
  private readonly sockets = new Map<4 | 6, Socket>()
  private readonly replies = new Map<number, (bytes: Uint8Array) => void>()

  constructor(upstreams: readonly Upstream[]) {
    this.first = upstreams[0]!
    this.forwarder = new DnsForwarder({ upstreams, random: systemRandom })
    this.driver = drive(this.forwarder, { onOutput: output => this.handle(output) })
    for (const { address } of upstreams) this.open(familyOf(address))
  }

  ask(client: string, query: Uint8Array, reply: (bytes: Uint8Array) => void): void {
    const ticket = this.forwarder.handleQuery(client, query, systemClock.now())
    if (ticket !== -1) this.replies.set(ticket, reply)
    this.driver.settle()
  }

  removeClient(client: string): void {
    this.forwarder.removeClient(client)
    this.driver.settle()
  }

  close(): void {
    this.driver.stop()
    for (const socket of this.sockets.values()) socket.close()
    this.sockets.clear()
    this.replies.clear()
  }

  stats(): DnsForwarderStats {
    return this.forwarder.stats()
  }

  private open(family: 4 | 6): void {
    if (this.sockets.has(family)) return
    const socket = createSocket({
      type: family === 6 ? 'udp6' : 'udp4',
      ipv6Only: family === 6,
      lookup: (name, _options, answer) => answer(null, name, family),
    })
    socket.on('message', (bytes, { address, port }) => {
      this.forwarder.handleAnswer({ address, port }, bytes, systemClock.now())
      this.driver.settle()
    })
    // It can't be bound: queries of this family fail, and their clients are told.
    socket.on('error', () => {})
    socket.bind({ port: 0, exclusive: true })
    this.sockets.set(family, socket)
  }

  private handle(output: DnsForwarderOutput): void {
    if (output.type === 'query') {
      const { address, port } = output.upstream
      // One that can't be sent is one that isn't answered: the next server is asked when its time is up.
      this.sockets.get(familyOf(address))?.send(output.bytes, port, address, () => {})
      return
    }
    const reply = this.replies.get(output.ticket)
    this.replies.delete(output.ticket)
    if (output.type === 'answer') reply?.(output.bytes)
  }
}

function familyOf(address: string): 4 | 6 {
  return address.includes(':') ? 6 : 4
}
