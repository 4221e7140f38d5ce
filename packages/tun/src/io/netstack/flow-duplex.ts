import { Duplex } from 'node:stream'
import type { IcmpErrorKind, NetStackEndpoint } from '../../netstack/outputs.ts'
import { flowError, flowErrorCode } from './flow-error.ts'
import { FlowFarewell } from './flow-farewell.ts'
import { IdleTimer } from './idle-timer.ts'
import type { FlowListener, FlowOutput, StackHost } from './stack-host.ts'

export interface FlowDuplexOptions {
  /** The flow: one that was accepted, or just opened. Without one the duplex waits for `attach`. */
  readonly flow?: number
  /** Whether writing goes on after the peer's end. False: the duplex then ends its side by itself. @defaultValue false */
  readonly allowHalfOpen?: boolean
  /** Whether the flow is established already. @defaultValue false */
  readonly established?: boolean
}

/** Bytes that one read takes from the stack. */
const READ_BYTES = 65_536

/**
 * A TCP connection of a `NetStack` as a stream, with the manners of `net.Socket`:
 *
 * - `connect` and `ready` come when the handshake is complete; what is written before waits.
 * - A chunk counts as written when the stack has taken all of it; a stream that isn't read closes the window.
 * - `end()` sends FIN, the peer's FIN is `end`. A connection that was cut never looks ended: it is an `error` with the code
 *   that Node.js has for it (`ECONNRESET`, `ECONNREFUSED`, `EHOSTUNREACH`, `ENETUNREACH`, `ETIMEDOUT`).
 * - `destroy()` before both sides have ended sends RST; after `end()` what was written still goes out.
 */
export class FlowDuplex extends Duplex implements FlowListener {
  /** Whether the handshake is yet to be completed. */
  connecting: boolean
  /** Payload bytes so far. */
  bytesRead = 0
  bytesWritten = 0
  remoteAddress: string | undefined = undefined
  remotePort: number | undefined = undefined
  localAddress: string | undefined = undefined
  localPort: number | undefined = undefined
  private readonly host: StackHost
  private readonly idle: IdleTimer
  private flow = -1
  private isHeld = true
  private isWanted = false
  private isEnded = false
  private isShutDown = false
  private writing: { readonly bytes: Uint8Array; readonly done: (error?: Error | null) => void } | undefined
  private pendingEnd: ((error?: Error | null) => void) | undefined
  private icmp: IcmpErrorKind | undefined

  constructor(host: StackHost, options: FlowDuplexOptions = {}) {
    super({
      allowHalfOpen: options.allowHalfOpen ?? false,
      decodeStrings: true,
      readableHighWaterMark: READ_BYTES,
      writableHighWaterMark: READ_BYTES,
    })
    this.host = host
    this.connecting = options.established !== true
    this.idle = new IdleTimer(() => this.emit('timeout'))
    host.hold()
    if (host.closedFor) this.destroy(host.closedFor)
    else if (options.flow !== undefined) this.attach(options.flow, options.established)
  }

  /** Gives the duplex its flow; `established`: its handshake is complete. */
  attach(flow: number, established = false): void {
    const { host } = this
    const { stack } = host
    if (this.destroyed) {
      host.listen(flow, new FlowFarewell(host, flow))
      stack.abort(flow, host.now())
      host.touch()
      return
    }
    this.flow = flow
    const { inside, outside } = stack.endpoints(flow)
    const [local, remote] = stack.isGateway ? [outside!, inside] : [inside, outside!]
    this.localAddress = local.address
    this.localPort = local.port
    this.remoteAddress = remote.address
    this.remotePort = remote.port
    host.listen(flow, this)
    if (established) this.handleEstablished()
  }

  get remoteFamily(): 'IPv4' | 'IPv6' | undefined {
    return familyOf(this.remoteAddress)
  }

  get localFamily(): 'IPv4' | 'IPv6' | undefined {
    return familyOf(this.localAddress)
  }

  /** As of `net.Socket`: whether there is no connection yet. */
  get pending(): boolean {
    return this.connecting
  }

  /** Idle time after which `timeout` is emitted, in milliseconds; 0 is never. Nothing else happens then. */
  get timeout(): number {
    return this.idle.milliseconds
  }

  setTimeout(milliseconds: number, onTimeout?: () => void): this {
    this.idle.set(milliseconds)
    if (onTimeout && milliseconds > 0) this.once('timeout', onTimeout)
    else if (onTimeout) this.off('timeout', onTimeout)
    return this
  }

  /** For callers of `net.Socket`: nothing is ever held back here. */
  setNoDelay(_noDelay?: boolean): this {
    return this
  }

  /** For callers of `net.Socket`: the stack probes idle connections by itself (`TcpOptions.idleMs`). */
  setKeepAlive(_enable?: boolean, _initialDelay?: number): this {
    return this
  }

  address(): { readonly address: string; readonly port: number; readonly family: string } | object {
    const { localAddress: address, localPort: port, localFamily: family } = this
    return address === undefined ? {} : { address, port, family }
  }

  /** Lets the process end although the connection is open. */
  unref(): this {
    if (this.isHeld) this.host.release()
    this.isHeld = false
    return this
  }

  ref(): this {
    if (!this.isHeld && !this.destroyed) {
      this.host.hold()
      this.isHeld = true
    }
    return this
  }

  /** Destroys the connection once everything that was written is on its way. */
  destroySoon(): void {
    if (this.writable) this.end()
    if (this.writableFinished) this.destroy()
    else this.once('finish', () => this.destroy())
  }

  /** Destroys with RST, whatever has ended already. */
  resetAndDestroy(): this {
    this.isShutDown = false
    return this.destroy()
  }

  // Of the stream.

  override _read(): void {
    this.isWanted = true
    this.pull()
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.writing = { bytes: chunk, done }
    if (!this.connecting) this.flush()
  }

  override _final(done: (error?: Error | null) => void): void {
    this.pendingEnd = done
    if (!this.connecting) this.shutDown()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.idle.set(0)
    this.unref()
    const { flow, host, writing, pendingEnd } = this
    this.flow = -1
    this.connecting = false
    this.writing = undefined
    this.pendingEnd = undefined
    if (flow !== -1) {
      const farewell = new FlowFarewell(host, flow)
      host.listen(flow, farewell)
      if (error === null && this.isShutDown) farewell.wait()
      else host.stack.abort(flow, host.now())
      host.touch()
    }
    done(error)
    // Nobody is left waiting.
    if (writing || pendingEnd) (writing?.done ?? pendingEnd!)(error ?? flowError('ECONNABORTED', 'write'))
  }

  // Of the flow.

  handleOutput(output: FlowOutput): void {
    switch (output.type) {
      case 'flow-established':
        this.handleEstablished()
        break
      case 'flow-readable':
        this.pull()
        break
      case 'flow-writable':
        this.flush()
        break
      case 'flow-ended':
        this.isEnded = true
        this.pull()
        break
      case 'icmp-error':
        this.icmp = output.kind
        break
      case 'flow-reset': {
        const syscall = this.connecting ? 'connect' : this.writing ? 'write' : 'read'
        this.destroy(
          flowError(flowErrorCode(output.reason, this.icmp), syscall, this.connecting ? this.remote : undefined),
        )
        break
      }
      case 'flow-closed':
        this.flow = -1
        break
    }
  }

  handleHostClosed(reason: Error): void {
    this.flow = -1
    this.destroy(reason)
  }

  private get remote(): NetStackEndpoint | undefined {
    const { remoteAddress: address, remotePort: port } = this
    return address === undefined || port === undefined ? undefined : { address, port }
  }

  private handleEstablished(): void {
    this.connecting = false
    this.idle.refresh()
    this.emit('connect')
    this.emit('ready')
    if (this.writing) this.flush()
    else if (this.pendingEnd) this.shutDown()
    this.pull()
  }

  private pull(): void {
    const { host } = this
    while (this.isWanted && this.flow !== -1) {
      const bytes = host.stack.read(this.flow, host.now(), READ_BYTES)
      if (!bytes) break
      this.bytesRead += bytes.length
      this.idle.refresh()
      this.isWanted = this.push(bytes)
    }
    if (this.flow === -1) return
    host.touch()
    if (this.isEnded && host.stack.readableBytes(this.flow) === 0) this.push(null)
  }

  private flush(): void {
    const { writing, host } = this
    if (!writing || this.flow === -1) return
    const taken = host.stack.write(this.flow, writing.bytes, host.now())
    host.touch()
    this.bytesWritten += taken
    if (taken > 0) this.idle.refresh()
    if (taken < writing.bytes.length) {
      this.writing = { bytes: writing.bytes.subarray(taken), done: writing.done }
      return
    }
    this.writing = undefined
    writing.done()
  }

  private shutDown(): void {
    const { pendingEnd, host } = this
    if (!pendingEnd) return
    this.pendingEnd = undefined
    this.isShutDown = true
    if (this.flow !== -1) host.stack.shutdown(this.flow, host.now())
    host.touch()
    pendingEnd()
  }
}

function familyOf(address: string | undefined): 'IPv4' | 'IPv6' | undefined {
  if (!address) return undefined
  return address.includes(':') ? 'IPv6' : 'IPv4'
}
