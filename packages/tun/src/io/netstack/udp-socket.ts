import { EventEmitter } from 'node:events'
import type { IcmpErrorKind, NetStackEndpoint } from '../../netstack/outputs.ts'
import { flowError } from './flow-error.ts'
import type { FlowListener, FlowOutput, StackHost } from './stack-host.ts'

export interface UdpSocketOptions {
  /** An own address of the stack. */
  readonly address: string
  /** @defaultValue a random free one */
  readonly port?: number
}

/** Events of a `UdpSocket`; a failure of a single datagram is no event of the socket. */
export interface UdpSocketEvents {
  message: [bytes: Uint8Array, remote: NetStackEndpoint]
  /** An ICMP error came about a datagram that was sent to `remote`. */
  unreachable: [event: { readonly remote: NetStackEndpoint | undefined; readonly kind: IcmpErrorKind }]
  /** Room again, after a `send` that returned false. */
  drain: []
  /** The end: by `close`, or with the reason when the stack's host was closed. */
  close: [reason: Error | undefined]
}

/** A UDP endpoint of a `NetStack` in client mode. It is bound from the start and keeps no process alive. */
export class UdpSocket extends EventEmitter<UdpSocketEvents> implements FlowListener {
  readonly localAddress: string
  readonly localPort: number
  private readonly host: StackHost
  private flow: number

  /**
   * @throws RangeError for an address that isn't the stack's own
   * @throws an error with the code `EADDRINUSE` (the port is taken), `ENOBUFS` (a limit of the stack) or the reason of a closed host
   */
  constructor(host: StackHost, { address, port }: UdpSocketOptions) {
    super()
    if (host.closedFor) throw host.closedFor
    this.host = host
    this.flow = host.stack.bindUdp({ address, ...(port === undefined ? {} : { port }) }, host.now())
    if (this.flow === -1) {
      if (port === undefined) throw flowError('ENOBUFS', 'bind')
      throw flowError('EADDRINUSE', 'bind', { address, port })
    }
    host.listen(this.flow, this)
    const { inside } = host.stack.endpoints(this.flow)
    this.localAddress = inside.address
    this.localPort = inside.port
  }

  get closed(): boolean {
    return this.flow === -1
  }

  /**
   * Sends a datagram to an address, in fragments when it is longer than the tunnel's packets. Returns false when it was
   * dropped because too much waits already; `drain` follows.
   *
   * @throws RangeError for more bytes than UDP can carry, and for an address that is none or of the other family
   * @throws TypeError after the end
   */
  send(bytes: Uint8Array, remote: NetStackEndpoint): boolean {
    if (this.flow === -1) throw new TypeError('the socket is closed')
    const isTaken = this.host.stack.sendDatagram(this.flow, remote, bytes, this.host.now())
    this.host.touch()
    return isTaken
  }

  /** Ends the socket; `close` is emitted. Can be called more than once. */
  close(): void {
    if (this.flow === -1) return
    this.host.stack.abort(this.flow, this.host.now())
    this.host.touch()
    this.flow = -1
  }

  /** @internal */
  handleOutput(output: FlowOutput): void {
    switch (output.type) {
      case 'datagram':
        if (this.flow !== -1) this.emit('message', output.bytes, output.remote)
        break
      case 'icmp-error':
        this.emit('unreachable', { remote: output.remote, kind: output.kind })
        break
      case 'flow-writable':
        this.emit('drain')
        break
      case 'flow-closed':
        this.flow = -1
        this.emit('close', undefined)
        break
    }
  }

  /** @internal */
  handleHostClosed(reason: Error): void {
    this.flow = -1
    this.emit('close', reason)
  }
}
