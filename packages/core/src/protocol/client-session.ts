import { earliest, type Milliseconds, seconds } from '../runtime/index.ts'
import { Backoff } from './backoff.ts'
import type { ChannelChange } from './channel-selector.ts'
import { ClientReason, closeText, readGatewayReason, writeClientReason } from './disconnect-reason.ts'
import type {
  ChannelKind,
  ClientSessionOutput,
  CloseReason,
  DatagramLoss,
  ReconnectFailure,
  SessionOutput,
} from './events.ts'
import { FrameType } from './frame.ts'
import type { LivenessOptions } from './liveness.ts'
import { minTunnelMtu } from './mtu.ts'
import { PathMtu } from './path-mtu.ts'
import { Session } from './session.ts'
import { type ClientSessionOptions, clientStreamWatch, defaultQuickWatch, livenessOptions } from './session-options.ts'
import type { TunnelParameters } from './tunnel-parameters.ts'

// The client's side of a session, from the answer to CONNECT to its end.
//
//   streamAttached ---> data by stream at once
//        |                    open-datagram --> datagramOpened --> path MTU found --> data by datagram
//        |                        ^                                                    |
//        |                        |  1, 2, 4 .. 60 s                silent: data by stream; probing; abandoned after 5 s
//        |                        '---------------------------------------------------'
//        '--- lost: reconnect-stream at once, then after 1, 2, 4, 5, 5 .. s; the datagram channel goes on meanwhile
//
// The two channels are brought up and lost independently. The session gives up when there was no channel at all for
// `reconnectSeconds`, or when the gateway refuses the cookie.

const DATAGRAM_RETRY_MS = [1000, 60_000] as const
const RECONNECT_RETRY_MS = [1000, 5000] as const
/** A datagram channel that was trusted for so long is worth an attempt at once when it is lost. */
const WORTH_RETRY_MS = 10_000
/** After a failed attempt to renew keys. */
const REKEY_RETRY_MS = 60_000

export class ClientSession extends Session<Exclude<ClientSessionOutput, SessionOutput>> {
  private readonly options: Required<ClientSessionOptions>
  private readonly pathMtu: PathMtu
  /** The stream is being brought back or renewed: an answer to `reconnect-stream` is due. */
  private connecting: 'lost' | 'rekey' | undefined = undefined
  private reconnectAt: Milliseconds | undefined = undefined
  private reconnectAttempt = 0
  private readonly reconnectBackoff = new Backoff(...RECONNECT_RETRY_MS)
  private rekeyAt: Milliseconds | undefined = undefined
  private openDatagramAt: Milliseconds | undefined = undefined
  private datagramAttempt = 0
  private readonly datagramBackoff = new Backoff(...DATAGRAM_RETRY_MS)
  private trustedSince: Milliseconds | undefined = undefined
  /** The newest association has its path MTU: from now on any answer is proof enough. */
  private datagramProven = false
  private datagramPayload = 0
  private searchedAt: Milliseconds = 0
  /** Since when there is no channel that shows life. */
  private lostAt: Milliseconds | undefined = undefined

  /** A session whose CONNECT was answered; `streamAttached` follows. */
  constructor(parameters: TunnelParameters, options: ClientSessionOptions, now: Milliseconds) {
    super(parameters, now)
    this.options = {
      reconnectSeconds: options.reconnectSeconds ?? 300,
      datagram: options.datagram ?? true,
      quickFailover: options.quickFailover ?? true,
    }
    this.pathMtu = new PathMtu(() => this.roundTrip.graceMs)
  }

  /** An attempt asked for with `reconnect-stream` failed. */
  reconnectFailed(failure: ReconnectFailure, now: Milliseconds): void {
    if (this.closed || this.connecting === undefined) return
    if (failure === 'refused') {
      this.finish('refused', closeText('refused'))
      return
    }
    const cause = this.connecting
    this.connecting = undefined
    if (this.stream === undefined) this.reconnectAt = now + this.reconnectBackoff.next()
    else if (cause === 'rekey') this.rekeyAt = now + REKEY_RETRY_MS
  }

  /** Makes a new tunnel now: new stream, new association, new keys. The old ones serve until then. */
  rekey(now: Milliseconds): void {
    if (this.closed || this.connecting !== undefined || this.stream === undefined) return
    this.rekeyAt = undefined
    this.requestStream('rekey', now)
  }

  handleMessageTooBig(payloadBytes: number, now: Milliseconds): void {
    if (this.closed) return
    this.pathMtu.handleTooBig(payloadBytes - 1, now)
    this.drain(now)
  }

  protected streamLiveness(): LivenessOptions {
    return livenessOptions(this.parameters.stream, this.options.quickFailover ? clientStreamWatch : undefined)
  }

  protected datagramLiveness(): LivenessOptions {
    const timers = this.parameters.datagram ?? this.parameters.stream
    return livenessOptions(timers, this.options.quickFailover ? defaultQuickWatch : undefined)
  }

  protected afterStreamAttached(renewed: boolean, now: Milliseconds): void {
    this.connecting = undefined
    this.reconnectAt = undefined
    this.reconnectAttempt = 0
    this.reconnectBackoff.reset()
    this.lostAt = undefined
    this.rekeyAt = rekeyTime(this.parameters, now)
    if (renewed) this.apply('stream-renewed', now)
    this.changeMtu(Math.min(this.mtu, this.parameters.mtu))
    this.openDatagramAt = undefined
    this.datagramBackoff.reset()
    this.datagramAttempt = 0
    if (this.wantsDatagram) this.requestDatagram()
    this.drain(now)
  }

  protected afterStreamLost(_loss: unknown, now: Milliseconds): void {
    this.checkLost(now)
    this.rekeyAt = undefined
    // A renewal under way serves as reconnection.
    if (this.connecting !== undefined) return
    this.reconnectAttempt = 0
    this.requestStream('lost', now)
  }

  protected afterDatagramOpened(maxPayload: number, now: Milliseconds): void {
    this.openDatagramAt = undefined
    this.lostAt = undefined
    this.datagramProven = false
    this.datagramPayload = maxPayload
    this.searchPathMtu(now)
  }

  /** An attempt asked for with `open-datagram` failed. An older association, if there is one, goes on. */
  datagramFailed(_loss: DatagramLoss, now: Milliseconds): void {
    if (this.closed || !this.wantsDatagram) return
    this.openDatagramAt = now + this.datagramBackoff.next()
  }

  protected afterDatagramLost(_loss: DatagramLoss | 'dead', now: Milliseconds): void {
    this.pathMtu.stop()
    this.checkLost(now)
    if (!this.wantsDatagram) return
    const worthIt = this.trustedSince !== undefined && now - this.trustedSince >= WORTH_RETRY_MS
    if (worthIt) this.datagramBackoff.reset()
    this.trustedSince = undefined
    this.openDatagramAt = worthIt ? now : now + this.datagramBackoff.next()
  }

  protected onDatagramDead(now: Milliseconds): void {
    this.push({ type: 'close-datagram' })
    this.loseDatagram('dead', now)
  }

  protected onProbeAnswered(id: number, now: Milliseconds): void {
    this.pathMtu.handleAnswer(id, now)
    this.drain(now)
    // The first time, data waits for the path MTU; after that any answer will do.
    if (this.datagramProven) this.trustAgain(now)
    if (this.pathMtu.stopped) this.searchPathMtu(now)
    this.drain(now)
  }

  protected onPeerProbe(): void {}

  /** The gateway follows where data goes, but there may be none to follow. */
  protected announce(change: ChannelChange, now: Milliseconds): void {
    if (change.from === 'none' || change.to === 'none' || change.reason === 'peer-left-datagram') return
    this.sendChannelNotice(change.to, now)
  }

  protected onChannelNotice(channel: ChannelKind, now: Milliseconds): void {
    if (channel === 'stream') this.apply('peer-left', now)
  }

  protected onDataReceived(channel: ChannelKind, now: Milliseconds): void {
    // Other gateways send what is too long for the datagram channel by stream: a hint, not a sign.
    if (channel === 'stream' && this.selector.trustsDatagram) this.datagram?.doubt(now)
  }

  protected onDataSent(channel: ChannelKind, now: Milliseconds): void {
    if (channel !== 'datagram' || !this.selector.trustsDatagram) return
    this.pathMtu.noteTraffic(now)
    this.drain(now)
  }

  protected onDisconnectFrame(payload: Uint8Array): void {
    const { reason, text } = readGatewayReason(payload)
    this.finish(reason, text)
  }

  protected onTerminateFrame(payload: Uint8Array): void {
    this.onDisconnectFrame(payload)
  }

  protected sendFarewell(reason: CloseReason, now: Milliseconds): void {
    const channel = this.stream !== undefined ? 'stream' : 'datagram'
    this.sendFrame(channel, FrameType.disconnect, writeClientReason(ClientReason.userLeft, closeText(reason)), now)
  }

  protected override drain(now: Milliseconds): void {
    super.drain(now)
    for (let out = this.pathMtu.poll(); out !== undefined; out = this.pathMtu.poll()) {
      if (out.type === 'probe') this.pathMtu.probeSent(this.sendProbe(now, out.size))
      else if (out.type === 'settled') {
        this.changeMtu(out.mtu)
        this.datagramProven = true
        this.apply('proven', now)
        this.noteTrust(now)
      } else this.onPathMtuFailed(now)
    }
    super.drain(now)
  }

  protected roleDeadline(): Milliseconds | undefined {
    return earliest(this.pathMtu.deadline, this.reconnectAt, this.rekeyAt, this.openDatagramAt, this.giveUpAt)
  }

  protected handleRoleDeadline(now: Milliseconds): void {
    if (this.giveUpAt !== undefined && now >= this.giveUpAt) {
      this.finish('reconnect-timeout', closeText('reconnect-timeout'))
      return
    }
    this.pathMtu.handleDeadline(now)
    this.drain(now)
    if (this.reconnectAt !== undefined && now >= this.reconnectAt) this.requestStream('lost', now)
    if (this.rekeyAt !== undefined && now >= this.rekeyAt) this.rekey(now)
    if (this.openDatagramAt !== undefined && now >= this.openDatagramAt) this.requestDatagram()
  }

  private get wantsDatagram(): boolean {
    return this.options.datagram && this.parameters.datagram !== undefined
  }

  private get giveUpAt(): Milliseconds | undefined {
    return this.lostAt === undefined ? undefined : this.lostAt + seconds(this.options.reconnectSeconds)
  }

  private requestStream(cause: 'lost' | 'rekey', _now: Milliseconds): void {
    this.connecting = cause
    this.reconnectAt = undefined
    this.push({ type: 'reconnect-stream', cause, attempt: ++this.reconnectAttempt })
  }

  private requestDatagram(): void {
    this.openDatagramAt = undefined
    this.push({ type: 'open-datagram', attempt: ++this.datagramAttempt })
  }

  /** The datagram channel answers: data goes by it again, and whether long packets still pass is looked at anew. */
  private trustAgain(now: Milliseconds): void {
    if (this.selector.trustsDatagram) return
    this.apply('proven', now)
    if (!this.selector.trustsDatagram) return
    this.noteTrust(now)
    this.pathMtu.confirm(now)
    this.drain(now)
  }

  private noteTrust(now: Milliseconds): void {
    if (!this.selector.trustsDatagram) return
    this.trustedSince = now
    this.datagramAttempt = 0
  }

  private searchPathMtu(now: Milliseconds): void {
    this.searchedAt = now
    const floor = minTunnelMtu(this.parameters.ipv6 !== undefined)
    this.pathMtu.start(Math.min(this.parameters.mtu, this.datagramPayload - 1), floor, now)
  }

  /** No size got through: the path is dark, or short packets pass and it is of no use for this tunnel. */
  private onPathMtuFailed(now: Milliseconds): void {
    if (this.datagram === undefined) return
    if (this.datagram.lastReceivedAt > this.searchedAt) this.onDatagramDead(now)
    else this.datagram.doubt(now)
  }

  private checkLost(now: Milliseconds): void {
    if (this.stream === undefined && this.datagram === undefined) this.lostAt ??= now
  }
}

/** When a new tunnel is due. `ssl` is renewed in the same way: neither our TLS nor our DTLS renegotiates. */
function rekeyTime(parameters: TunnelParameters, now: Milliseconds): Milliseconds | undefined {
  let time: Milliseconds | undefined
  for (const timers of [parameters.stream, parameters.datagram]) {
    if (timers === undefined || timers.rekeyMethod === 'none' || timers.rekeySeconds === 0) continue
    time = earliest(time, now + seconds(timers.rekeySeconds))
  }
  return time
}
