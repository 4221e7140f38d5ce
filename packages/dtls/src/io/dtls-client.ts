import { createSocket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { EventEmitter } from 'eventemitter3'
import { DtlsAssociation } from '../association.ts'
import { DtlsError } from '../errors.ts'
import type { CloseReason, Negotiated } from '../events.ts'
import type { DtlsClientOptions } from '../options.ts'
import type { DatagramPort, RemoteEndpoint } from './datagram-port.ts'
import { DeadlineTimer, monotonicNow } from './deadline-timer.ts'
import type { DtlsSocket, DtlsSocketEvents } from './dtls-socket.ts'
import { nodeRandom } from './node-crypto.ts'
import { PortSender } from './port-sender.ts'
import { systemCrypto } from './system-crypto.ts'

/** Options of `connect`: those of a client, and where to. */
export interface ConnectOptions extends Omit<DtlsClientOptions, 'role' | 'crypto' | 'random'> {
  /** An IP address of the server. Names are not resolved. */
  readonly address: string
  readonly port: number
  /** The socket to use; it is closed with the association. @defaultValue a new `node:dgram` socket */
  readonly socket?: DatagramPort
  readonly crypto?: DtlsClientOptions['crypto']
  readonly random?: DtlsClientOptions['random']
}

/**
 * Opens an association to a server. It is returned at once; `established` or `closed` follows.
 * @throws RangeError or TypeError naming the option that is wrong
 */
export function connect(options: ConnectOptions): DtlsSocket {
  return new DtlsClient(options)
}

class DtlsClient extends EventEmitter<DtlsSocketEvents> implements DtlsSocket {
  readonly remote: RemoteEndpoint
  private readonly association: DtlsAssociation
  private readonly socket: DatagramPort
  private readonly sender: PortSender
  private readonly timer: DeadlineTimer
  private isOver = false
  private readonly onMessage = (bytes: Uint8Array, from: RemoteEndpoint): void => {
    // Link-local addresses come with a zone that the caller may have left out; the port tells well enough.
    if (from.port !== this.remote.port) return
    this.association.handleDatagram(bytes, monotonicNow())
    this.drain()
  }
  private readonly onSocketError = (cause: Error): void => {
    this.finish('local', new DtlsError('ERR_DTLS_SOCKET', 'the datagram socket failed', { cause }))
  }

  constructor(options: ConnectOptions) {
    super()
    const { address, port, socket, crypto = systemCrypto, random = nodeRandom, ...rest } = options
    this.association = new DtlsAssociation({ ...rest, crypto, random, role: 'client' })
    this.remote = { address, port }
    this.timer = new DeadlineTimer(() => {
      this.association.handleDeadline(monotonicNow())
      this.drain()
    })
    this.socket = socket ?? createSocket(isIPv6(address) ? 'udp6' : 'udp4')
    this.sender = new PortSender(this.socket)
    this.socket.on('message', this.onMessage)
    this.socket.on('error', this.onSocketError)
    this.association.start(monotonicNow())
    this.drain()
  }

  get negotiated(): Negotiated | undefined {
    return this.association.negotiated
  }

  send(plaintext: Uint8Array): boolean {
    const isSent = this.association.send(plaintext, monotonicNow())
    this.drain()
    return isSent
  }

  exportKeyingMaterial(length: number, label: string, context?: Uint8Array): Uint8Array {
    return this.association.exportKeyingMaterial(length, label, context)
  }

  close(): void {
    this.association.close(monotonicNow())
    this.drain()
  }

  private drain(): void {
    for (let output = this.association.poll(); output !== undefined; output = this.association.poll()) {
      switch (output.type) {
        case 'transmit':
          this.sender.send(output.bytes, this.remote)
          break
        case 'received':
          this.emit('message', output.bytes)
          break
        case 'established': {
          const { type, ...negotiated } = output
          this.emit('established', negotiated)
          break
        }
        case 'closed':
          this.finish(output.reason, output.error)
          break
      }
    }
    if (!this.isOver) this.timer.follow(this.association.deadline)
  }

  private finish(reason: CloseReason, error: DtlsError | undefined): void {
    if (this.isOver) return
    this.isOver = true
    this.timer.follow(undefined)
    this.socket.off('message', this.onMessage)
    this.socket.off('error', this.onSocketError)
    this.socket.on('error', () => {})
    this.sender.close()
    this.emit('closed', error === undefined ? { reason } : { reason, error })
  }
}
