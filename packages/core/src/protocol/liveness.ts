import { earliest, type Machine, type Milliseconds, OutputQueue } from '../runtime/index.ts'
import { Backoff } from './backoff.ts'
import type { RoundTrip } from './round-trip.ts'

// Whether the peer is still there, for one channel.
//
// Two watches run side by side. The slow one is the protocol's own dead-peer detection: silence for D -> probe, again
// each D/2, dead when nothing came for 2 D; it runs always and finds out about peers that both sides have nothing to say
// to. The quick one runs only while there is something to lose: when data was sent (or, at the end of a burst, received)
// and silence follows, it fires a volley of probes and, when none is answered, calls the channel silent:
//
//     quiet --data--> armed --no sign of life for sentSilenceMs--> volley --all probes unanswered--> silent
//       ^-------------------------- anything received --------------'                                  |
//       '------------------------------ restore(), after an answer ------------------------------------'
//
// One lost datagram is nothing: only a whole volley lost in a row makes a channel silent, which at 5 % loss each way is
// less likely than one in a million. In `silent`, probes go on with back-off, so that a healed path is noticed.

/** The quick watch. Every time is in milliseconds. */
export interface QuickWatchOptions {
  /** Silence after data was sent that starts a volley; longer on paths whose round trip is longer. */
  readonly sentSilenceMs: number
  /** Silence after data was received that starts one volley; 0 turns it off. */
  readonly receivedSilenceMs: number
  readonly volleyProbes: number
  readonly volleyGapMs: number
  /** The wait for an answer to the last probe is never shorter than this; otherwise it follows the round-trip time. */
  readonly minGraceMs: number
  /** The channel is not called silent earlier than this after the data that stayed unanswered. */
  readonly minSilenceMs: number
  /** Probes while silent: the first gap, doubled each time up to the second. */
  readonly recoveryFirstMs: number
  readonly recoveryMostMs: number
  /** `dead` when silent for so long; 0 leaves that to the slow watch. */
  readonly abandonMs: number
}

export interface LivenessOptions {
  /** Dead-peer detection interval D; 0 turns the slow watch off. */
  readonly dpdMs: number
  /** A keepalive goes out when nothing was sent for so long; 0 turns it off. */
  readonly keepaliveMs: number
  readonly quick?: QuickWatchOptions
  /**
   * Leaves probing to the peer, but for volleys: a channel whose volley stayed unanswered is probed again only when
   * something comes in. For a gateway: each of its probes would tell a stock client, whose own datagrams are lost, that all
   * is well. @defaultValue false
   */
  readonly passive?: boolean
}

export type LivenessOutput =
  /** Send a DPD request. */
  | { readonly type: 'probe' }
  /** Send a KEEPALIVE. */
  | { readonly type: 'keepalive' }
  /** A volley has begun: the channel is in doubt. */
  | { readonly type: 'doubted' }
  /** Something came in while in doubt. */
  | { readonly type: 'cleared' }
  /** The volley stayed unanswered: don't trust the channel with data. */
  | { readonly type: 'silent' }
  /** Nothing for so long that the channel should be given up. Once per silence. */
  | { readonly type: 'dead' }

/** Starting a volley because of a hint from outside happens at most this often. */
const DOUBT_INTERVAL_MS = 1000

export class Liveness implements Machine<LivenessOutput> {
  private readonly options: LivenessOptions
  private readonly roundTrip: RoundTrip
  private readonly outputs = new OutputQueue<LivenessOutput>()
  private mode: 'quiet' | 'armed' | 'volley' | 'silent' = 'quiet'
  private lastReceived: Milliseconds
  private lastSent: Milliseconds
  /** When the next probe of the slow watch is due. */
  private slowProbeAt: Milliseconds | undefined
  private deadReported = false
  /** armed: when the volley begins. volley: next probe, or the verdict. silent: next recovery probe. */
  private quickAt: Milliseconds = 0
  private volleySent = 0
  /** Since when a sign of life is awaited. */
  private awaitedSince: Milliseconds = 0
  private silentSince: Milliseconds = 0
  /** In a silence in which only the peer may speak first (`passive`). */
  private waitsForPeer = false
  private lastHint: Milliseconds = Number.NEGATIVE_INFINITY
  private readonly recovery: Backoff

  constructor(options: LivenessOptions, roundTrip: RoundTrip, now: Milliseconds) {
    this.options = options
    this.roundTrip = roundTrip
    this.lastReceived = now
    this.lastSent = now
    this.slowProbeAt = this.nextSlowProbe(now)
    this.recovery = new Backoff(options.quick?.recoveryFirstMs ?? 1000, options.quick?.recoveryMostMs ?? 60_000)
  }

  /** When anything last came in. */
  get lastReceivedAt(): Milliseconds {
    return this.lastReceived
  }

  get silent(): boolean {
    return this.mode === 'silent'
  }

  /** Whether nothing came for so long that `dead` was put out. */
  get dead(): boolean {
    return this.deadReported
  }

  /** Anything authentic came in; `data` says whether user data was in it. */
  noteReceived(data: boolean, now: Milliseconds): void {
    this.lastReceived = now
    this.deadReported = false
    const { quick } = this.options
    this.slowProbeAt = this.nextSlowProbe(now)
    if (quick === undefined) return
    if (this.mode === 'silent') {
      if (this.waitsForPeer && now >= this.quickAt) this.advanceQuick(now)
      return
    }
    if (this.mode === 'volley') this.outputs.push({ type: 'cleared' })
    this.mode = 'quiet'
    if (data && quick.receivedSilenceMs > 0) this.arm(now, quick.receivedSilenceMs)
  }

  /** User data went out. */
  noteDataSent(now: Milliseconds): void {
    this.lastSent = now
    const { quick } = this.options
    if (quick === undefined) return
    if (this.mode === 'quiet' || (this.mode === 'armed' && now + this.patience(quick.sentSilenceMs) < this.quickAt)) {
      this.arm(now, quick.sentSilenceMs)
    }
  }

  /** A control frame went out. */
  noteControlSent(now: Milliseconds): void {
    this.lastSent = now
  }

  /** Something outside casts doubt on the channel (the peer's data comes by the other one): probe it now. */
  doubt(now: Milliseconds): void {
    if (this.options.quick === undefined || this.mode === 'volley' || this.mode === 'silent') return
    if (now - this.lastHint < DOUBT_INTERVAL_MS) return
    this.lastHint = now
    this.awaitedSince = Number.NEGATIVE_INFINITY
    this.beginVolley(now)
  }

  /** The channel is not used for data (yet, or any more), for reasons outside: probe now, and go on with back-off. */
  distrust(now: Milliseconds): void {
    if (this.mode === 'silent') return
    this.enterSilence(now)
    this.probe(now)
  }

  /** The channel is trusted again. */
  restore(): void {
    this.mode = 'quiet'
    this.waitsForPeer = false
    this.recovery.reset()
  }

  get deadline(): Milliseconds | undefined {
    const { keepaliveMs } = this.options
    return earliest(
      this.slowProbeAt,
      this.deadAt,
      this.mode === 'quiet' || this.waitsForPeer ? undefined : this.quickAt,
      keepaliveMs > 0 ? this.lastSent + keepaliveMs : undefined,
    )
  }

  handleDeadline(now: Milliseconds): void {
    const { dpdMs, keepaliveMs } = this.options
    const deadAt = this.deadAt
    if (deadAt !== undefined && now >= deadAt) {
      this.deadReported = true
      this.slowProbeAt = undefined
      this.outputs.push({ type: 'dead' })
      if (this.mode !== 'silent') this.enterSilence(now, this.options.passive)
    }
    if (this.slowProbeAt !== undefined && now >= this.slowProbeAt) {
      this.slowProbeAt = now + dpdMs / 2
      this.probe(now)
    }
    if (this.mode !== 'quiet' && !this.waitsForPeer && now >= this.quickAt) this.advanceQuick(now)
    if (keepaliveMs > 0 && now >= this.lastSent + keepaliveMs) {
      this.lastSent = now
      this.outputs.push({ type: 'keepalive' })
    }
  }

  poll(): LivenessOutput | undefined {
    return this.outputs.take()
  }

  private nextSlowProbe(now: Milliseconds): Milliseconds | undefined {
    const { dpdMs, passive } = this.options
    return dpdMs > 0 && passive !== true ? now + dpdMs : undefined
  }

  private get deadAt(): Milliseconds | undefined {
    if (this.deadReported) return undefined
    const { dpdMs, quick } = this.options
    const slow = dpdMs > 0 ? this.lastReceived + 2 * dpdMs : undefined
    if (this.mode !== 'silent' || quick === undefined || quick.abandonMs === 0) return slow
    return earliest(slow, Math.max(this.silentSince, this.lastReceived) + quick.abandonMs)
  }

  private advanceQuick(now: Milliseconds): void {
    const quick = this.options.quick
    if (this.mode === 'armed') this.beginVolley(now)
    else if (this.mode === 'silent') {
      this.quickAt = now + this.recovery.next()
      this.probe(now)
    } else if (quick !== undefined && this.volleySent < quick.volleyProbes) this.volleyProbe(quick, now)
    else {
      this.enterSilence(now, this.options.passive)
      this.outputs.push({ type: 'silent' })
    }
  }

  private beginVolley(now: Milliseconds): void {
    const quick = this.options.quick!
    this.mode = 'volley'
    this.volleySent = 0
    this.outputs.push({ type: 'doubted' })
    this.volleyProbe(quick, now)
  }

  private volleyProbe(quick: QuickWatchOptions, now: Milliseconds): void {
    this.volleySent++
    this.probe(now)
    if (this.volleySent < quick.volleyProbes) this.quickAt = now + quick.volleyGapMs
    else {
      const answered = now + Math.max(quick.minGraceMs, this.roundTrip.graceMs)
      this.quickAt = Math.max(answered, this.awaitedSince + quick.minSilenceMs)
    }
  }

  private enterSilence(now: Milliseconds, waitsForPeer = false): void {
    this.mode = 'silent'
    this.waitsForPeer = waitsForPeer
    this.silentSince = now
    this.recovery.reset()
    this.quickAt = now + this.recovery.next()
  }

  private arm(now: Milliseconds, silenceMs: Milliseconds): void {
    this.mode = 'armed'
    this.awaitedSince = now
    this.quickAt = now + this.patience(silenceMs)
  }

  /** On a path with a long round trip, silence of one round trip means nothing. */
  private patience(silenceMs: Milliseconds): Milliseconds {
    return Math.max(silenceMs, this.roundTrip.smoothedMs ?? 0)
  }

  private probe(now: Milliseconds): void {
    this.lastSent = now
    this.outputs.push({ type: 'probe' })
  }
}
