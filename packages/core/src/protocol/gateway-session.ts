import { earliest, type Milliseconds, seconds } from '../runtime/index.ts'
import type { ChannelChange } from './channel-selector.ts'
import { closeText, readClientDeparture, writeGatewayReason } from './disconnect-reason.ts'
import type { ChannelKind, CloseReason } from './events.ts'
import { FrameType } from './frame.ts'
import { LearnedMtu } from './learned-mtu.ts'
import type { LivenessOptions } from './liveness.ts'
import { nextLowerMtu } from './mtu.ts'
import { Session } from './session.ts'
import { type GatewaySessionOptions, gatewayQuickWatch, livenessOptions } from './session-options.ts'
import type { TunnelParameters } from './tunnel-parameters.ts'

// The gateway's side of a session, from CONNECT to its end.
//
//   streams come and go (a client reconnects with its cookie), associations come and go, the session stays until
//     - the client leaves for good                (DISCONNECT B0)           user-left
//     - nobody came back                          (disconnectedSeconds)     disconnected-too-long
//     - no user data                              (idleSeconds)             idle-timeout
//     - it is too old, however often it came back (sessionRemainingSeconds) session-expired
//     - the gateway wants it                      (disconnect)              its reason
//
// In the choice of the channel the client leads: where its data comes in, answers go out. Only when what the gateway
// sends stays without any sign of life, it changes by itself.

/** A packet on the stream so soon after one on the datagram channel may only have been slow: no sign that the client moved. */
const OVERTAKEN_MS = 100
/** After the client left the datagram channel, what is still under way there is no sign that it returned. */
const LATECOMER_MS = 250
/** So long a client may take to show, by its data, which channel it uses after an association came up. */
const SETTLE_MS = 1000

export class GatewaySession extends Session {
  private readonly quickFailover: boolean
  private expiresAt: Milliseconds | undefined
  private lastDataAt: Milliseconds
  /** Since when there is no channel. */
  private disconnectedAt: Milliseconds | undefined
  /** When the client last used the datagram channel, or said that it will. */
  private lastDatagramDataAt: Milliseconds = Number.NEGATIVE_INFINITY
  private peerLeftAt: Milliseconds = Number.NEGATIVE_INFINITY
  private datagramOpenedAt: Milliseconds = 0
  /** The client's data, or its word about it, came by the stream last. */
  private peerUsesStream = false
  private readonly learned = new LearnedMtu()

  /** A session without channels yet; `streamAttached` follows, within `parameters.disconnectedSeconds`. */
  constructor(parameters: TunnelParameters, options: GatewaySessionOptions, now: Milliseconds) {
    super(parameters, now)
    this.quickFailover = options.quickFailover ?? true
    this.expiresAt = expiry(parameters, now)
    this.lastDataAt = now
    this.disconnectedAt = now
  }

  /** When the session ends whatever happens, undefined for never. */
  get expires(): Milliseconds | undefined {
    return this.expiresAt
  }

  handleMessageTooBig(payloadBytes: number, now: Milliseconds): void {
    if (this.closed) return
    const mtu = payloadBytes - 1
    if (mtu <= this.mtu) this.changeMtu(nextLowerMtu(mtu, OUTER_OVERHEAD))
    this.drain(now)
  }

  protected streamLiveness(): LivenessOptions {
    return livenessOptions(this.parameters.stream, undefined)
  }

  protected datagramLiveness(): LivenessOptions {
    const timers = this.parameters.datagram ?? this.parameters.stream
    return { ...livenessOptions(timers, this.quickFailover ? gatewayQuickWatch : undefined), passive: true }
  }

  protected afterStreamAttached(_renewed: boolean, now: Milliseconds): void {
    this.disconnectedAt = undefined
    // A new CONNECT never makes a session live longer.
    const offered = expiry(this.parameters, now)
    this.expiresAt = earliest(this.expiresAt, offered)
    this.changeMtu(this.parameters.mtu)
  }

  protected afterStreamLost(_loss: unknown, now: Milliseconds): void {
    this.checkDisconnected(now)
  }

  protected afterDatagramOpened(maxPayload: number, now: Milliseconds): void {
    this.disconnectedAt = undefined
    this.datagramOpenedAt = now
    this.peerLeftAt = Number.NEGATIVE_INFINITY
    this.peerUsesStream = false
    this.learned.reset()
    this.changeMtu(Math.min(this.parameters.mtu, maxPayload - 1))
  }

  protected afterDatagramLost(_loss: unknown, now: Milliseconds): void {
    this.checkDisconnected(now)
  }

  protected onDatagramDead(now: Milliseconds): void {
    this.checkDisconnected(now)
  }

  protected onProbeAnswered(_id: number, now: Milliseconds): void {
    // A client whose data comes by the stream has its reasons; it comes back by itself.
    if (!this.peerUsesStream && now >= this.datagramOpenedAt + SETTLE_MS) this.apply('proven', now)
  }

  protected onPeerProbe(payloadBytes: number, now: Milliseconds): void {
    this.learned.noteProbe(payloadBytes, now)
  }

  /** The client knows by itself when it is trusted; it has to know when it is not heard. */
  protected announce(change: ChannelChange, now: Milliseconds): void {
    if (change.reason === 'datagram-silent') this.sendChannelNotice('stream', now)
  }

  override handleDatagramFrame(type: number, payload: Uint8Array, now: Milliseconds): void {
    super.handleDatagramFrame(type, payload, now)
    if (this.datagram !== undefined) this.disconnectedAt = undefined
  }

  protected onChannelNotice(channel: ChannelKind, now: Milliseconds): void {
    if (channel === 'stream') this.followToStream(now)
    else this.followToDatagram(now)
  }

  protected onDataReceived(channel: ChannelKind, now: Milliseconds): void {
    this.lastDataAt = now
    if (channel === 'datagram') {
      this.lastDatagramDataAt = now
      this.disconnectedAt = undefined
      if (now >= this.peerLeftAt + LATECOMER_MS) this.followToDatagram(now)
      return
    }
    if (!this.selector.trustsDatagram) this.peerUsesStream = true
    else if (now >= this.lastDatagramDataAt + OVERTAKEN_MS) this.followToStream(now)
    else this.datagram?.doubt(now)
  }

  protected onDataSent(_channel: ChannelKind, now: Milliseconds): void {
    this.lastDataAt = now
  }

  protected onDisconnectFrame(payload: Uint8Array, now: Milliseconds): void {
    const departure = readClientDeparture(payload)
    if (!departure.keeps) {
      this.finish('user-left', closeText('user-left'))
      return
    }
    // It says that it goes and may come back: its channels are no use any more.
    if (this.stream !== undefined) {
      this.push({ type: 'close-stream' })
      this.loseStream('ended', now)
    }
    if (this.datagram !== undefined) {
      this.push({ type: 'close-datagram' })
      this.loseDatagram('closed-by-peer', now)
    }
  }

  protected onTerminateFrame(): void {
    this.traffic.framesIgnored++
  }

  protected sendFarewell(reason: CloseReason, now: Milliseconds): void {
    const channel = this.stream !== undefined ? 'stream' : 'datagram'
    this.sendFrame(channel, FrameType.disconnect, writeGatewayReason(reason), now)
  }

  protected roleDeadline(): Milliseconds | undefined {
    return earliest(this.expiresAt, this.idleAt, this.forgottenAt, this.learned.deadline)
  }

  protected handleRoleDeadline(now: Milliseconds): void {
    const { idleAt, forgottenAt, expiresAt } = this
    if (expiresAt !== undefined && now >= expiresAt) this.disconnect('session-expired', now)
    else if (idleAt !== undefined && now >= idleAt) this.disconnect('idle-timeout', now)
    else if (forgottenAt !== undefined && now >= forgottenAt) {
      this.finish('disconnected-too-long', closeText('disconnected-too-long'))
    }
    const mtu = this.learned.take(now)
    if (mtu !== undefined && !this.closed) this.changeMtu(mtu)
  }

  private get idleAt(): Milliseconds | undefined {
    const { idleSeconds } = this.parameters
    return idleSeconds > 0 ? this.lastDataAt + seconds(idleSeconds) : undefined
  }

  private get forgottenAt(): Milliseconds | undefined {
    return this.disconnectedAt === undefined
      ? undefined
      : this.disconnectedAt + seconds(this.parameters.disconnectedSeconds)
  }

  private followToStream(now: Milliseconds): void {
    this.peerUsesStream = true
    this.peerLeftAt = now
    this.apply('peer-left', now)
  }

  private followToDatagram(now: Milliseconds): void {
    this.peerUsesStream = false
    this.lastDatagramDataAt = now
    this.apply('peer-returned', now)
  }

  private checkDisconnected(now: Milliseconds): void {
    if (this.stream !== undefined || this.disconnectedAt !== undefined) return
    if (this.datagram === undefined) this.disconnectedAt = now
    else if (this.datagram.dead) this.disconnectedAt = this.datagram.lastReceivedAt
  }
}

/** Outer IPv4, UDP, an AES-GCM record and the type byte: what a link MTU loses on its way to a tunnel MTU. */
const OUTER_OVERHEAD = 66

function expiry(parameters: TunnelParameters, now: Milliseconds): Milliseconds | undefined {
  if (parameters.sessionSeconds === 0) return undefined
  return now + seconds(parameters.sessionRemainingSeconds)
}
