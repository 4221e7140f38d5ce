import { EventEmitter } from 'eventemitter3'
import type { DtlsStats } from '../counters.ts'
import type { DtlsError } from '../errors.ts'
import type { Negotiated } from '../events.ts'
import type { DtlsServerOptions } from '../options.ts'
import { DtlsServer } from '../server/dtls-server.ts'
import type { DatagramPort, RemoteEndpoint } from './datagram-port.ts'
import { DeadlineTimer, monotonicNow } from './deadline-timer.ts'
import type { DtlsSocket, DtlsSocketEvents } from './dtls-socket.ts'
import { EndpointNumbers } from './endpoint-numbers.ts'
import { nodeRandom } from './node-crypto.ts'
import { PortSender } from './port-sender.ts'
import { systemCrypto } from './system-crypto.ts'

/** Options of `createServer`: those of a server, without what concerns endpoints, which the shell knows itself. */
export interface ServerShellOptions
  extends Omit<DtlsServerOptions, 'crypto' | 'random' | 'hostOf' | 'portOf' | 'retainEndpoint' | 'releaseEndpoint'> {
  readonly crypto?: DtlsServerOptions['crypto']
  readonly random?: DtlsServerOptions['random']
}

export interface DtlsServerEvents {
  /** A client has completed its handshake. Listen to its `message` before this returns. */
  connection: (socket: DtlsSocket) => void
  /** A handshake failed; the client may try again. */
  'handshake-failed': (event: { readonly remote: RemoteEndpoint; readonly error: DtlsError }) => void
  /** The datagram socket failed. */
  closed: (event: { readonly cause?: Error }) => void
}

/**
 * Serves DTLS on a bound socket, which the server owns from here on. It answers as soon as datagrams come.
 * @throws RangeError or TypeError naming the option that is wrong
 */
export function createServer(socket: DatagramPort, options: ServerShellOptions): DtlsServerShell {
  return new DtlsServerShell(socket, options)
}

/** A server over one datagram socket, in the manner of a `tls.Server`. Made by `createServer`. */
export class DtlsServerShell extends EventEmitter<DtlsServerEvents> {
  private readonly socket: DatagramPort
  private readonly machine: DtlsServer
  private readonly endpoints = new EndpointNumbers()
  private readonly peers = new Map<number, ServerPeer>()
  private readonly sender: PortSender
  private readonly timer: DeadlineTimer
  private isOver = false
  private readonly onMessage = (bytes: Uint8Array, from: RemoteEndpoint): void => {
    this.machine.handleDatagram(this.endpoints.intern(from.address, from.port), bytes, monotonicNow())
    this.drain()
  }
  private readonly onSocketError = (cause: Error): void => this.finish(cause)

  constructor(socket: DatagramPort, options: ServerShellOptions) {
    super()
    const { endpoints } = this
    this.machine = new DtlsServer({
      crypto: systemCrypto,
      random: nodeRandom,
      ...options,
      hostOf: endpoint => endpoints.get(endpoint)?.address ?? '',
      portOf: endpoint => endpoints.get(endpoint)?.port ?? 0,
      retainEndpoint: endpoint => endpoints.retain(endpoint),
      releaseEndpoint: endpoint => endpoints.release(endpoint),
    })
    this.timer = new DeadlineTimer(() => {
      this.machine.handleDeadline(monotonicNow())
      this.drain()
    })
    this.socket = socket
    this.sender = new PortSender(socket)
    socket.on('message', this.onMessage)
    socket.on('error', this.onSocketError)
  }

  /** A copy of the counters, over all clients. */
  stats(): DtlsStats {
    return this.machine.stats()
  }

  /** Says close_notify to every client and closes the socket. */
  close(): void {
    for (const peer of [...this.peers.values()]) peer.close()
    this.finish(undefined)
  }

  private drain(): void {
    const { machine, endpoints } = this
    for (let output = machine.poll(); output !== undefined; output = machine.poll()) {
      switch (output.type) {
        case 'transmit': {
          const to = endpoints.get(output.endpoint)
          if (to !== undefined) this.sender.send(output.bytes, to)
          break
        }
        case 'established': {
          const { type, association, endpoint, ...negotiated } = output
          const peer = new ServerPeer(machine, association, endpoints.get(endpoint)!, negotiated, () => this.drain())
          this.peers.set(association, peer)
          this.emit('connection', peer)
          break
        }
        case 'received':
          this.peers.get(output.association)?.emit('message', output.bytes)
          break
        case 'endpoint-changed':
          this.peers.get(output.association)?.move(endpoints.get(output.to)!)
          break
        case 'closed': {
          const { association, reason, error } = output
          const peer = this.peers.get(association)
          this.peers.delete(association)
          peer?.emit('closed', error === undefined ? { reason } : { reason, error })
          break
        }
        case 'handshake-failed':
          this.emit('handshake-failed', { remote: endpoints.get(output.endpoint)!, error: output.error })
          break
      }
    }
    if (!this.isOver) this.timer.follow(machine.deadline)
  }

  private finish(cause: Error | undefined): void {
    if (this.isOver) return
    this.isOver = true
    this.timer.follow(undefined)
    this.socket.off('message', this.onMessage)
    this.socket.off('error', this.onSocketError)
    this.socket.on('error', () => {})
    this.sender.close()
    this.emit('closed', cause === undefined ? {} : { cause })
  }
}

class ServerPeer extends EventEmitter<DtlsSocketEvents> implements DtlsSocket {
  remote: RemoteEndpoint
  readonly negotiated: Negotiated
  private readonly machine: DtlsServer
  private readonly association: number
  private readonly drain: () => void

  constructor(
    machine: DtlsServer,
    association: number,
    remote: RemoteEndpoint,
    negotiated: Negotiated,
    drain: () => void,
  ) {
    super()
    this.machine = machine
    this.association = association
    this.remote = { address: remote.address, port: remote.port }
    this.negotiated = negotiated
    this.drain = drain
  }

  send(plaintext: Uint8Array): boolean {
    const isSent = this.machine.send(this.association, plaintext, monotonicNow())
    this.drain()
    return isSent
  }

  exportKeyingMaterial(length: number, label: string, context?: Uint8Array): Uint8Array {
    return this.machine.exportKeyingMaterial(this.association, length, label, context)
  }

  close(): void {
    this.machine.close(this.association, monotonicNow())
    this.drain()
  }

  /** Notes that the peer is somewhere else. */
  move(to: RemoteEndpoint): void {
    const from = this.remote
    this.remote = { address: to.address, port: to.port }
    this.emit('endpoint-changed', { from, to: this.remote })
  }
}
