import { createSocket, type Socket } from 'node:dgram'
import type { NetStackEndpoint } from '../../netstack/outputs.ts'
import { AddressFilter } from './address-filter.ts'
import { refusalOf } from './connect-refusal.ts'
import type { RelayHost } from './relay-host.ts'

/**
 * One UDP flow of the stack (an inside endpoint) and its socket. The socket is not connected, so that all destinations see
 * one outside endpoint (endpoint-independent mapping, RFC 4787 REQ-1); who may answer is for our own filter to say. The
 * flow's idle time is the stack's, and only what goes outwards prolongs it (RFC 4787 REQ-6). ICMP errors from outside don't
 * reach such a socket; what the system itself refuses is told to the client.
 */
export class UdpRelay {
  readonly flow: number
  private readonly host: RelayHost
  private readonly socket: Socket
  private readonly filter: AddressFilter
  /** Whom those stand for that datagrams were redirected to. */
  private aliases: Map<string, NetStackEndpoint> | undefined
  private isClosed = false

  constructor(host: RelayHost, flow: number, family: 4 | 6, onClose: () => void) {
    this.host = host
    this.flow = flow
    this.filter = new AddressFilter(host.limits.maxPeersPerUdpSocket)
    this.socket = createSocket({
      type: family === 6 ? 'udp6' : 'udp4',
      ipv6Only: family === 6,
      // Addresses are never names here; answering at once lets a send reach the system in the same call.
      lookup: (name, _options, answer) => answer(null, name, family),
    })
    this.socket.on('message', (bytes, { address, port }) => this.receive({ address, port }, bytes))
    this.socket.on('error', () => {
      // It could not be bound: there is no descriptor, or no port. The client's next datagram makes another one.
      host.counters.datagramsFailed++
      this.close()
    })
    this.socket.on('close', onClose)
    this.socket.bind({ port: 0, exclusive: true })
  }

  /** Sends a datagram from inside to `remote`, or to `target` in its place; the bytes become the socket's. */
  send(remote: NetStackEndpoint, bytes: Uint8Array, target?: NetStackEndpoint): void {
    const { host, socket } = this
    if (this.isClosed || socket.getSendQueueSize() + bytes.length > host.limits.maxQueuedBytesPerUdpSocket) {
      host.counters.datagramsFailed++
      return
    }
    if (target) this.addAlias(target, remote)
    else this.filter.open(remote.address)
    const { address, port } = target ?? remote
    socket.send(bytes, port, address, error => {
      if (error) this.refused(remote, (error as NodeJS.ErrnoException).code)
    })
  }

  close(): void {
    if (this.isClosed) return
    this.isClosed = true
    this.socket.close()
  }

  private receive(from: NetStackEndpoint, bytes: Uint8Array): void {
    const { host, flow } = this
    if (this.isClosed) return
    const remote = this.aliases?.get(`${from.address} ${from.port}`) ?? from
    if (from.port === 0 || (remote === from && !this.filter.admits(from.address))) {
      host.counters.datagramsFiltered++
      return
    }
    host.stack.sendDatagram(flow, remote, bytes, host.now())
    host.settle()
  }

  private addAlias(target: NetStackEndpoint, remote: NetStackEndpoint): void {
    this.aliases ??= new Map()
    this.aliases.set(`${target.address} ${target.port}`, remote)
    const [oldest] = this.aliases.keys()
    if (this.aliases.size > this.host.limits.maxPeersPerUdpSocket) this.aliases.delete(oldest!)
  }

  private refused(remote: NetStackEndpoint, code: string | undefined): void {
    const { host } = this
    host.counters.datagramsFailed++
    if (this.isClosed || code === 'EMSGSIZE' || code === 'ENOBUFS' || code === 'EAGAIN') return
    const reason = refusalOf(code)
    // An unconnected socket hands out no answer of the destination: a refusal can only be a rule of this host.
    host.stack.refuseDatagram(this.flow, remote, reason === 'reset' ? 'admin-prohibited' : reason, host.now())
    host.settle()
  }
}
