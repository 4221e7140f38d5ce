import {
  type ActiveChannel,
  type ChannelKind,
  type ClientSessionOutput,
  FrameType,
  Liveness,
  RoundTrip,
  type SessionOutput,
  type SessionStats,
  type TunnelParameters,
  type TunnelSession,
} from '@twinbore/core'
import { earliest, type Milliseconds, OutputQueue, seconds } from '@twinbore/core/runtime'

// Other programs as peers, as they behave on the wire: what openconnect 9.01 and ocserv 1.1.6 do with channels, probes and
// silence (measured), nothing else of them.

type Output = ClientSessionOutput

abstract class StockPeer<Out extends Output> implements TunnelSession<Out> {
  closed = false
  readonly mtu: number
  protected readonly outputs = new OutputQueue<Out>()
  protected stream: Liveness | undefined = undefined
  protected datagram: Liveness | undefined = undefined
  protected readonly parameters: TunnelParameters

  constructor(parameters: TunnelParameters) {
    this.parameters = parameters
    this.mtu = parameters.mtu
  }

  abstract get activeChannel(): ActiveChannel
  protected abstract handle(channel: ChannelKind, type: number, payload: Uint8Array, now: Milliseconds): void
  protected abstract onDead(channel: ChannelKind, now: Milliseconds): void

  streamAttached(_parameters: TunnelParameters, now: Milliseconds): void {
    this.stream = this.watch(now)
  }

  streamClosed(): void {
    this.stream = undefined
  }

  datagramOpened(_maxPayload: number, now: Milliseconds): void {
    this.datagram = this.watch(now)
  }

  datagramClosed(): void {
    this.datagram = undefined
  }

  handleStreamFrame(type: number, payload: Uint8Array, now: Milliseconds): void {
    this.stream?.noteReceived(false, now)
    this.handle('stream', type, payload, now)
  }

  handleDatagramFrame(type: number, payload: Uint8Array, now: Milliseconds): void {
    this.datagram?.noteReceived(false, now)
    this.handle('datagram', type, payload, now)
  }

  noteReceived(channel: ChannelKind, _packets: number, _bytes: number, now: Milliseconds): void {
    this[channel]?.noteReceived(true, now)
  }

  noteSent(channel: ChannelKind, _packets: number, _bytes: number, now: Milliseconds): void {
    this[channel]?.noteDataSent(now)
  }

  handleMessageTooBig(): void {}
  disconnect(): void {}

  get deadline(): Milliseconds | undefined {
    return earliest(this.stream?.deadline, this.datagram?.deadline)
  }

  handleDeadline(now: Milliseconds): void {
    for (const channel of ['stream', 'datagram'] as const) {
      const liveness = this[channel]
      liveness?.handleDeadline(now)
      for (let out = liveness?.poll(); out !== undefined; out = liveness?.poll()) {
        if (out.type === 'probe') this.send(channel, FrameType.dpdRequest)
        else if (out.type === 'keepalive') this.send(channel, FrameType.keepalive)
        else if (out.type === 'dead') this.onDead(channel, now)
      }
    }
  }

  poll(): Out | undefined {
    return this.outputs.take()
  }

  stats(): SessionStats {
    throw new Error('not counted')
  }

  protected send(channel: ChannelKind, frameType: FrameType, payload: Uint8Array = new Uint8Array(0)): void {
    const frame: SessionOutput = { type: 'frame', channel, frameType, payload }
    this.outputs.push(frame as Out)
  }

  private watch(now: Milliseconds): Liveness {
    const { dpdSeconds, keepaliveSeconds } = this.parameters.stream
    const options = { dpdMs: seconds(dpdSeconds), keepaliveMs: seconds(keepaliveSeconds) }
    return new Liveness(options, new RoundTrip(), now)
  }
}

/**
 * As openconnect: data by datagram from the end of its MTU detection until DTLS is dead by DPD, then a handshake at once
 * and one each 60 s; answers DPD requests without echo.
 */
export class StockClient extends StockPeer<ClientSessionOutput> {
  private connected = false
  private probing = false
  private retryAt: Milliseconds | undefined = undefined

  get activeChannel(): ActiveChannel {
    if (this.connected) return 'datagram'
    return this.stream === undefined ? 'none' : 'stream'
  }

  override streamAttached(parameters: TunnelParameters, now: Milliseconds): void {
    super.streamAttached(parameters, now)
    this.outputs.push({ type: 'open-datagram', attempt: 1 })
  }

  override streamClosed(): void {
    super.streamClosed()
    this.outputs.push({ type: 'reconnect-stream', cause: 'lost', attempt: 1 })
  }

  reconnectFailed(): void {
    this.outputs.push({ type: 'reconnect-stream', cause: 'lost', attempt: 2 })
  }

  override datagramOpened(maxPayload: number, now: Milliseconds): void {
    super.datagramOpened(maxPayload, now)
    this.probing = true
    for (let i = 0; i < 6; i++) this.send('datagram', FrameType.dpdRequest, new Uint8Array(this.mtu))
  }

  override datagramClosed(): void {
    super.datagramClosed()
    this.connected = false
  }

  datagramFailed(_loss: unknown, now: Milliseconds): void {
    this.retryAt = now + 60_000
  }

  override get deadline(): Milliseconds | undefined {
    return earliest(super.deadline, this.retryAt)
  }

  override handleDeadline(now: Milliseconds): void {
    super.handleDeadline(now)
    if (this.retryAt === undefined || now < this.retryAt) return
    this.retryAt = undefined
    this.outputs.push({ type: 'open-datagram', attempt: 1 })
  }

  protected handle(channel: ChannelKind, type: number): void {
    if (type === FrameType.dpdRequest) this.send(channel, FrameType.dpdResponse)
    else if (type === FrameType.dpdResponse && channel === 'datagram' && this.probing) {
      this.probing = false
      this.connected = true
    }
  }

  protected onDead(channel: ChannelKind): void {
    if (channel === 'stream') return
    this.datagram = undefined
    this.connected = false
    this.outputs.push({ type: 'close-datagram' })
    this.outputs.push({ type: 'open-datagram', attempt: 1 })
  }
}

/**
 * As ocserv: answers go by UDP when anything came by UDP, by TCP from the first data that comes by TCP, or after 25 s of
 * silence; echoes DPD requests; forgets the association when the cookie is used for a new connection.
 */
export class StockGateway extends StockPeer<SessionOutput> {
  private active = false
  private heardAt: Milliseconds = 0

  get activeChannel(): ActiveChannel {
    if (this.active) return 'datagram'
    return this.stream === undefined ? 'none' : 'stream'
  }

  override streamAttached(parameters: TunnelParameters, now: Milliseconds): void {
    if (this.datagram !== undefined) this.outputs.push({ type: 'close-datagram' })
    this.datagram = undefined
    this.active = false
    super.streamAttached(parameters, now)
  }

  override datagramOpened(maxPayload: number, now: Milliseconds): void {
    super.datagramOpened(maxPayload, now)
    this.hear(now)
  }

  override datagramClosed(): void {
    super.datagramClosed()
    this.active = false
  }

  override noteReceived(channel: ChannelKind, packets: number, bytes: number, now: Milliseconds): void {
    super.noteReceived(channel, packets, bytes, now)
    if (channel === 'datagram') this.hear(now)
    else this.active = false
  }

  override noteSent(channel: ChannelKind, packets: number, bytes: number, now: Milliseconds): void {
    super.noteSent(channel, packets, bytes, now)
    if (now > this.heardAt + 25_000) this.active = false
  }

  protected handle(channel: ChannelKind, type: number, payload: Uint8Array, now: Milliseconds): void {
    if (channel === 'datagram') this.hear(now)
    if (type === FrameType.dpdRequest) this.send(channel, FrameType.dpdResponse, payload)
  }

  protected onDead(channel: ChannelKind): void {
    if (channel === 'datagram') this.active = false
  }

  private hear(now: Milliseconds): void {
    this.heardAt = now
    this.active = this.datagram !== undefined
  }
}
