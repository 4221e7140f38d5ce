import { earliest, type Milliseconds, OutputQueue } from '../runtime/index.ts'
import { type ChannelChange, ChannelSelector, type DatagramEvent } from './channel-selector.ts'
import { closeText } from './disconnect-reason.ts'
import type {
  ActiveChannel,
  ChannelKind,
  CloseReason,
  DatagramLoss,
  SessionOutput,
  SessionStats,
  StreamLoss,
} from './events.ts'
import { FrameType } from './frame.ts'
import { Liveness, type LivenessOptions, type LivenessOutput } from './liveness.ts'
import { clampTunnelMtu } from './mtu.ts'
import { encodeProbe, probeId, readChannelNotice, writeChannelNotice } from './probe-payload.ts'
import { RoundTrip } from './round-trip.ts'
import { SessionTraffic } from './session-traffic.ts'
import { TokenBucket } from './token-bucket.ts'
import type { TunnelParameters } from './tunnel-parameters.ts'
import type { TunnelSession } from './tunnel-session.ts'

/** Answers to DPD requests: so many a second, and in a burst, per session. A client's MTU search needs some dozens. */
const PROBE_ANSWERS_PER_SECOND = 50
const PROBE_ANSWERS_BURST = 150

/**
 * What the gateway's and the client's session machines share: it owns a `Liveness` for each channel that is up and the
 * `ChannelSelector`, answers the peer's probes, and turns what these find into frames and channel changes. The roles
 * differ in what they do when a channel is gone, and in whom they believe; those are the abstract methods.
 *
 * Order of outputs: what an input causes, in the order of its causes; `closed` is the last output ever.
 */
export abstract class Session<Extra = never> implements TunnelSession<SessionOutput | Extra> {
  /** Where data goes now; a plain field, as the data plane reads it for each packet. */
  activeChannel: ActiveChannel = 'none'
  mtu: number
  closed = false
  protected parameters: TunnelParameters
  protected readonly selector: ChannelSelector = new ChannelSelector()
  protected stream: Liveness | undefined = undefined
  protected datagram: Liveness | undefined = undefined
  protected roundTrip: RoundTrip = new RoundTrip()
  protected readonly traffic: SessionTraffic = new SessionTraffic()
  private readonly outputs = new OutputQueue<SessionOutput | Extra>()
  private readonly answers: TokenBucket

  constructor(parameters: TunnelParameters, now: Milliseconds) {
    this.parameters = parameters
    this.mtu = clampTunnelMtu(parameters.mtu, parameters.ipv6 !== undefined)
    this.answers = new TokenBucket(PROBE_ANSWERS_PER_SECOND, PROBE_ANSWERS_BURST, now)
  }

  // What a role decides.

  protected abstract streamLiveness(): LivenessOptions
  protected abstract datagramLiveness(): LivenessOptions
  /** A stream was attached; the machine already counts on it. */
  protected abstract afterStreamAttached(renewed: boolean, now: Milliseconds): void
  protected abstract afterStreamLost(loss: StreamLoss | 'dead', now: Milliseconds): void
  protected abstract afterDatagramOpened(maxPayload: number, now: Milliseconds): void
  protected abstract afterDatagramLost(loss: DatagramLoss | 'dead', now: Milliseconds): void
  /** The datagram liveness found it dead. */
  protected abstract onDatagramDead(now: Milliseconds): void
  /** A probe came back over the datagram channel. */
  protected abstract onProbeAnswered(id: number, now: Milliseconds): void
  /** The peer asked for an echo on the datagram channel. */
  protected abstract onPeerProbe(payloadBytes: number, now: Milliseconds): void
  /** Data moved; whether the peer is to know depends on who leads. */
  protected abstract announce(change: ChannelChange, now: Milliseconds): void
  /** The peer says that its data goes by this channel from now on. */
  protected abstract onChannelNotice(channel: ChannelKind, now: Milliseconds): void
  protected abstract onDisconnectFrame(payload: Uint8Array, now: Milliseconds): void
  protected abstract onTerminateFrame(payload: Uint8Array, now: Milliseconds): void
  protected abstract onDataReceived(channel: ChannelKind, now: Milliseconds): void
  protected abstract onDataSent(channel: ChannelKind, now: Milliseconds): void
  /** Tells the peer that the session is over. */
  protected abstract sendFarewell(reason: CloseReason, now: Milliseconds): void
  protected abstract roleDeadline(): Milliseconds | undefined
  protected abstract handleRoleDeadline(now: Milliseconds): void
  abstract handleMessageTooBig(payloadBytes: number, now: Milliseconds): void

  // Channels.

  streamAttached(parameters: TunnelParameters, now: Milliseconds): void {
    if (this.closed) return
    const renewed = this.stream !== undefined || this.datagram !== undefined
    this.parameters = parameters
    this.stream = new Liveness(this.streamLiveness(), new RoundTrip(), now)
    this.moved(this.selector.streamAttached(), now)
    this.afterStreamAttached(renewed, now)
  }

  streamClosed(loss: StreamLoss, now: Milliseconds): void {
    if (this.closed || this.stream === undefined) return
    this.loseStream(loss, now)
  }

  datagramOpened(maxPayload: number, now: Milliseconds): void {
    if (this.closed) return
    this.roundTrip = new RoundTrip()
    this.datagram = new Liveness(this.datagramLiveness(), this.roundTrip, now)
    this.apply('opened', now)
    // In `probing` data stays on the stream until an answer; in any case the round-trip time is wanted soon.
    if (this.selector.trustsDatagram) this.sendProbe(now)
    else this.datagram.distrust(now)
    this.afterDatagramOpened(maxPayload, now)
    this.drain(now)
  }

  datagramClosed(loss: DatagramLoss, now: Milliseconds): void {
    if (this.closed || this.datagram === undefined) return
    this.loseDatagram(loss, now)
    this.drain(now)
  }

  protected loseStream(loss: StreamLoss | 'dead', now: Milliseconds): void {
    this.stream = undefined
    this.moved(this.selector.streamLost(), now)
    this.afterStreamLost(loss, now)
  }

  protected loseDatagram(loss: DatagramLoss | 'dead', now: Milliseconds): void {
    this.datagram = undefined
    this.apply('closed', now)
    this.afterDatagramLost(loss, now)
  }

  // Frames.

  handleStreamFrame(type: number, payload: Uint8Array, now: Milliseconds): void {
    if (this.closed || this.stream === undefined) return
    this.stream.noteReceived(false, now)
    switch (type) {
      case FrameType.dpdRequest: {
        this.answerProbe('stream', payload, now)
        const notice = readChannelNotice(payload)
        if (notice !== undefined) this.onChannelNotice(notice, now)
        break
      }
      case FrameType.disconnect:
        this.onDisconnectFrame(payload, now)
        break
      case FrameType.terminate:
        this.onTerminateFrame(payload, now)
        break
      case FrameType.dpdResponse:
      case FrameType.keepalive:
        break
      default:
        this.traffic.framesIgnored++
    }
    this.drain(now)
  }

  handleDatagramFrame(type: number, payload: Uint8Array, now: Milliseconds): void {
    if (this.closed || this.datagram === undefined) return
    this.datagram.noteReceived(false, now)
    switch (type) {
      case FrameType.dpdRequest: {
        this.answerProbe('datagram', payload, now)
        const notice = readChannelNotice(payload)
        if (notice !== undefined) this.onChannelNotice(notice, now)
        else this.onPeerProbe(payload.length, now)
        break
      }
      case FrameType.dpdResponse:
        this.readAnswer(payload, now)
        break
      case FrameType.disconnect:
        this.onDisconnectFrame(payload, now)
        break
      case FrameType.terminate:
        this.onTerminateFrame(payload, now)
        break
      case FrameType.keepalive:
        break
      default:
        this.traffic.framesIgnored++
    }
    this.drain(now)
  }

  noteReceived(channel: ChannelKind, packets: number, bytes: number, now: Milliseconds): void {
    if (this.closed || packets === 0) return
    this.traffic.received(channel, packets, bytes)
    const liveness = channel === 'stream' ? this.stream : this.datagram
    if (liveness === undefined) return
    liveness.noteReceived(true, now)
    this.onDataReceived(channel, now)
    this.drain(now)
  }

  noteSent(channel: ChannelKind, packets: number, bytes: number, now: Milliseconds): void {
    if (this.closed || packets === 0) return
    this.traffic.sent(channel, packets, bytes)
    const liveness = channel === 'stream' ? this.stream : this.datagram
    liveness?.noteDataSent(now)
    this.onDataSent(channel, now)
  }

  disconnect(reason: CloseReason, now: Milliseconds): void {
    if (this.closed) return
    if (reason !== 'drained') this.sendFarewell(reason, now)
    this.finish(reason, closeText(reason))
  }

  stats(): SessionStats {
    return this.traffic.snapshot()
  }

  // The machine.

  get deadline(): Milliseconds | undefined {
    if (this.closed) return undefined
    return earliest(this.stream?.deadline, this.datagram?.deadline, this.roleDeadline())
  }

  handleDeadline(now: Milliseconds): void {
    if (this.closed) return
    this.stream?.handleDeadline(now)
    this.datagram?.handleDeadline(now)
    this.drain(now)
    if (!this.closed) this.handleRoleDeadline(now)
  }

  poll(): SessionOutput | Extra | undefined {
    return this.outputs.take()
  }

  // For the roles.

  protected push(output: SessionOutput | Extra): void {
    this.outputs.push(output)
  }

  /** Ends the session without another word to the peer. */
  protected finish(reason: CloseReason, text: string): void {
    if (this.closed) return
    if (this.stream !== undefined) this.push({ type: 'close-stream' })
    if (this.datagram !== undefined) this.push({ type: 'close-datagram' })
    this.stream = undefined
    this.datagram = undefined
    this.activeChannel = 'none'
    this.closed = true
    this.push({ type: 'closed', reason, text })
  }

  protected sendFrame(channel: ChannelKind, frameType: FrameType, payload: Uint8Array, now: Milliseconds): void {
    const liveness = channel === 'stream' ? this.stream : this.datagram
    if (liveness === undefined) return
    liveness.noteControlSent(now)
    this.push({ type: 'frame', channel, frameType, payload })
  }

  /** Sends a DPD request on the datagram channel, padded to `size` bytes. Returns its id. */
  protected sendProbe(now: Milliseconds, size = 0): number {
    const id = this.roundTrip.issue(now)
    this.sendFrame('datagram', FrameType.dpdRequest, encodeProbe(id, size), now)
    return id
  }

  /** Says on `channel` that data goes by it from now on. */
  protected sendChannelNotice(channel: ChannelKind, now: Milliseconds): void {
    this.sendFrame(channel, FrameType.dpdRequest, writeChannelNotice(channel), now)
  }

  protected apply(event: DatagramEvent, now: Milliseconds): void {
    this.moved(this.selector.apply(event, now), now)
    if (this.selector.trustsDatagram) {
      if (this.datagram?.silent) this.datagram.restore()
    } else if (this.selector.state === 'probing' && event !== 'opened') this.datagram?.distrust(now)
  }

  /** Takes a new tunnel MTU, within bounds. */
  protected changeMtu(mtu: number): void {
    const bounded = Math.min(
      clampTunnelMtu(mtu, this.parameters.ipv6 !== undefined),
      clampTunnelMtu(this.parameters.mtu, this.parameters.ipv6 !== undefined),
    )
    if (bounded === this.mtu) return
    this.mtu = bounded
    this.push({ type: 'mtu-changed', mtu: bounded })
  }

  /** Tells the caller that data moved. */
  protected moved(change: ChannelChange | undefined, now: Milliseconds): void {
    if (change === undefined) return
    this.activeChannel = change.to
    if (change.from !== 'none' && change.to !== 'none') this.traffic.channelChanges++
    this.push({ type: 'channel-changed', ...change })
    this.announce(change, now)
  }

  protected drain(now: Milliseconds): void {
    for (let out = this.stream?.poll(); out !== undefined; out = this.stream?.poll()) this.onStreamLiveness(out, now)
    for (let out = this.datagram?.poll(); out !== undefined; out = this.datagram?.poll()) {
      this.onDatagramLiveness(out, now)
    }
  }

  private onStreamLiveness(output: LivenessOutput, now: Milliseconds): void {
    switch (output.type) {
      case 'probe':
        this.sendFrame('stream', FrameType.dpdRequest, empty, now)
        break
      case 'keepalive':
        this.sendFrame('stream', FrameType.keepalive, empty, now)
        break
      case 'silent':
      case 'dead':
        this.push({ type: 'close-stream' })
        this.loseStream('dead', now)
        break
      case 'doubted':
      case 'cleared':
        break
    }
  }

  private onDatagramLiveness(output: LivenessOutput, now: Milliseconds): void {
    switch (output.type) {
      case 'probe':
        this.sendProbe(now)
        break
      case 'keepalive':
        this.sendFrame('datagram', FrameType.keepalive, empty, now)
        break
      case 'dead':
        this.apply('silent', now)
        this.onDatagramDead(now)
        break
      default:
        this.apply(output.type, now)
    }
  }

  private answerProbe(channel: ChannelKind, payload: Uint8Array, now: Milliseconds): void {
    if (this.answers.take(now)) this.sendFrame(channel, FrameType.dpdResponse, payload, now)
    else this.traffic.probesThrottled++
  }

  private readAnswer(payload: Uint8Array, now: Milliseconds): void {
    if (readChannelNotice(payload) !== undefined) return
    const id = probeId(payload)
    const expected = id === undefined ? this.roundTrip.answerWithoutId(now) : this.roundTrip.answer(id, now)
    if (expected) this.onProbeAnswered(id ?? 0, now)
    else this.traffic.framesIgnored++
  }
}

const empty = new Uint8Array(0)
