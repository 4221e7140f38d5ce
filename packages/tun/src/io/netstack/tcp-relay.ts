import { connect, type Socket } from 'node:net'
import type { NetStackEndpoint } from '../../netstack/outputs.ts'
import { CHUNK_BYTES, giveChunk, takeChunk } from './chunk-pool.ts'
import { refusalOf } from './connect-refusal.ts'
import type { RelayHost } from './relay-host.ts'
import { isBroken } from './socket-probe.ts'

/** Less than this gets memory of its own size: a whole chunk would wait for its socket with almost nothing in it. */
const POOLED_BYTES = 16_384
/** What may wait in the process for a socket to take it, before the client's window is left to close. */
const WRITE_AHEAD_BYTES = 131_072

export interface TcpRelayPlace {
  readonly flow: number
  readonly source: NetStackEndpoint
  readonly destination: NetStackEndpoint
  /** Where to connect to: `destination`, or what stands in its place. */
  readonly target: NetStackEndpoint
  /** Whether the target may be an address of this host: it was put in the place of the destination on purpose. */
  readonly isOwnAllowed: boolean
  /** The connect was answered, or given up. */
  readonly onDialEnd: () => void
  /** The socket is closed. */
  readonly onClose: () => void
}

/**
 * One TCP flow of the stack and the socket that carries it on:
 *
 *     dialling --'connect'--> open --both ends, or a reset of either--> over
 *         \--error, timeout, the client gave up--------------------------^
 *
 * The client's handshake waits for the socket's. Back-pressure goes through windows: what the socket doesn't take stays in
 * the stack's receive buffer, what the stack doesn't take keeps the socket paused. An end is passed on as an end and a
 * reset as a reset, each way by itself: a stream that was cut must never look complete.
 */
export class TcpRelay {
  readonly place: TcpRelayPlace
  private readonly host: RelayHost
  private readonly socket: Socket
  private dialTimer: NodeJS.Timeout | undefined
  private isDialling = true
  /** The stack knows the flow no more: its id may be another flow's. */
  private isFlowGone = false
  /** The client's FIN came. */
  private insideEnded = false
  /** The socket's end came, and it was none of a reset. */
  private outsideEnded = false
  /** What came out of the socket and found no room in the stack; the socket is paused as long as there is some. */
  private rest: Uint8Array | undefined
  private activeAt: number

  constructor(host: RelayHost, place: TcpRelayPlace) {
    this.host = host
    this.place = place
    this.activeAt = host.now()
    const { target } = place
    const family = target.address.includes(':') ? 6 : 4
    this.socket = connect({
      host: target.address,
      port: target.port,
      family,
      autoSelectFamily: false,
      // A literal address is never looked up; should it ever be, no name service is asked.
      lookup: (_name, _options, answer) => answer(new Error('names are not resolved here'), '', 0),
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: host.limits.idleMs,
      onread: { buffer: readBuffer(), callback: (count, bytes) => this.download(bytes.subarray(0, count)) },
      ...{ writableHighWaterMark: WRITE_AHEAD_BYTES },
    })
    this.dialTimer = setTimeout(() => this.failDial('ETIMEDOUT'), host.limits.dialTimeoutMs)
    this.socket.on('connect', () => this.opened())
    this.socket.on('drain', () => this.uploadMore())
    this.socket.on('end', () => this.outsideSeemsEnded())
    this.socket.on('error', error => this.failed((error as NodeJS.ErrnoException).code))
    this.socket.on('close', () => this.closed())
  }

  /** The stack has bytes from the client. */
  upload(): void {
    const { host, socket, place } = this
    while (!this.isDialling && !socket.writableNeedDrain && !socket.writableEnded && !socket.destroyed) {
      const waiting = host.stack.readableBytes(place.flow)
      if (waiting === 0) break
      this.activeAt = host.now()
      if (waiting < POOLED_BYTES) socket.write(host.stack.read(place.flow, this.activeAt)!)
      else {
        const chunk = takeChunk()
        const count = host.stack.readInto(place.flow, chunk, this.activeAt)
        // The system reads the chunk until the callback.
        socket.write(chunk.subarray(0, count), () => giveChunk(chunk))
      }
    }
    this.passEnd()
  }

  /** The stack has room again for bytes to the client. */
  resume(): void {
    const { host, place, rest } = this
    if (rest) {
      const taken = host.stack.write(place.flow, rest, host.now())
      if (taken > 0) this.activeAt = host.now()
      if (taken < rest.length) {
        this.rest = rest.subarray(taken)
        return
      }
      this.rest = undefined
    }
    if (this.outsideEnded) host.stack.shutdown(place.flow, host.now())
    else this.socket.resume()
  }

  /** The client sent FIN. */
  end(): void {
    this.insideEnded = true
    this.upload()
  }

  /** The flow ended otherwise than by both sides' FIN: the other side must see that too. */
  reset(): void {
    if (this.isDialling) {
      this.host.counters.dialsAbandoned++
      this.endDial()
      this.socket.destroy()
    } else this.socket.resetAndDestroy()
  }

  /** The stack's last word about the flow. */
  flowClosed(): void {
    this.isFlowGone = true
  }

  /** Looks for what no event tells: a reset of a socket that is paused or has ended, and a delivery that makes no progress. */
  sweep(): void {
    const { host, socket } = this
    if (this.isDialling || socket.destroyed) return
    if ((this.rest || this.outsideEnded) && isBroken(socket)) {
      this.broken()
      host.settle()
    } else if (this.isFlowGone && host.now() - this.activeAt > host.limits.lingerMs) {
      socket.resetAndDestroy()
    }
  }

  /** Ends the connection without a word to the stack, which is about to go. */
  destroy(): void {
    this.isFlowGone = true
    this.endDial()
    this.socket.destroy()
  }

  private opened(): void {
    const { host, socket, place } = this
    // Only now is it certain: the way to the destination began at the destination, so it is this host.
    if (
      !place.isOwnAllowed &&
      socket.remoteAddress === socket.localAddress &&
      !host.mayReachOwn(place.target.address)
    ) {
      host.counters.destinationsRefused++
      this.refuse('EACCES')
      return
    }
    this.endDial()
    if (!this.isFlowGone) host.stack.accept(place.flow, host.now())
    host.settle()
  }

  private failDial(code: string | undefined): void {
    this.host.counters.dialsFailed++
    this.refuse(code)
  }

  private refuse(code: string | undefined): void {
    const { host, place } = this
    this.endDial()
    this.socket.destroy()
    if (!this.isFlowGone) host.stack.refuse(place.flow, refusalOf(code), host.now())
    host.settle()
  }

  /** Takes what the socket received. Returns whether it may go on reading. */
  private download(bytes: Uint8Array): boolean {
    const { host, place } = this
    if (this.isFlowGone) return true
    this.activeAt = host.now()
    const taken = host.stack.write(place.flow, bytes, this.activeAt)
    // The buffer is read into again.
    if (taken < bytes.length) this.rest = new Uint8Array(bytes.subarray(taken))
    host.settle()
    return this.rest === undefined
  }

  private uploadMore(): void {
    this.activeAt = this.host.now()
    if (this.isFlowGone) return
    this.upload()
    this.host.settle()
  }

  /** FIN behind everything that the client sent. */
  private passEnd(): void {
    if (!this.insideEnded || this.isDialling || this.isFlowGone || this.socket.writableEnded) return
    if (this.host.stack.readableBytes(this.place.flow) === 0) this.socket.end()
  }

  private outsideSeemsEnded(): void {
    const { host, place } = this
    if (isBroken(this.socket)) {
      host.counters.resetsUnmasked++
      this.broken()
    } else {
      this.outsideEnded = true
      this.activeAt = host.now()
      if (!this.isFlowGone && !this.rest) host.stack.shutdown(place.flow, host.now())
    }
    host.settle()
  }

  private failed(code: string | undefined): void {
    if (this.isDialling) this.failDial(code)
    else this.broken()
    this.host.settle()
  }

  private broken(): void {
    const { host, place, socket } = this
    host.counters.resetsOutside++
    this.rest = undefined
    if (!this.isFlowGone) host.stack.abort(place.flow, host.now())
    socket.destroy()
  }

  private closed(): void {
    this.endDial()
    this.place.onClose()
  }

  private endDial(): void {
    if (!this.isDialling) return
    this.isDialling = false
    clearTimeout(this.dialTimer)
    this.place.onDialEnd()
  }
}

let shared: Uint8Array | undefined

/**
 * Where sockets read to. Except on Windows, where a read is under way before there is anything to read, all sockets of a
 * thread share one buffer: it is emptied before the next read begins.
 */
function readBuffer(): Uint8Array {
  if (process.platform === 'win32') return new Uint8Array(CHUNK_BYTES)
  shared ??= new Uint8Array(CHUNK_BYTES)
  return shared
}
