import { seconds } from '../runtime/index.ts'
import type { LivenessOptions, QuickWatchOptions } from './liveness.ts'
import type { ChannelTimers } from './tunnel-parameters.ts'

/**
 * How fast a session notices that its datagram channel went dark: 120 ms without a sign of life, a volley of six probes
 * over 125 ms, and one round trip (60 ms at least) for the last answer. About 0.3 s on a path of 40 ms, below half a
 * second up to round trips of 130 ms, a round trip and a bit more beyond that.
 */
export const defaultQuickWatch: QuickWatchOptions = {
  sentSilenceMs: 120,
  receivedSilenceMs: 150,
  volleyProbes: 6,
  volleyGapMs: 25,
  minGraceMs: 60,
  recoveryFirstMs: 200,
  recoveryMostMs: 1000,
  abandonMs: 5000,
}

export interface GatewaySessionOptions {
  /**
   * Watches the datagram channel closely while data is on its way (`defaultQuickWatch`, without a look at the end of
   * received bursts) instead of by the DPD interval alone. @defaultValue true
   */
  readonly quickFailover?: boolean
}

export interface ClientSessionOptions {
  /** How long to try to bring a lost session back, with no channel left. @defaultValue 300 */
  readonly reconnectSeconds?: number
  /** Whether to use the datagram channel where the gateway offers one. @defaultValue true */
  readonly datagram?: boolean
  /** Watches both channels closely while data is on its way instead of by the DPD interval alone. @defaultValue true */
  readonly quickFailover?: boolean
}

/**
 * The gateway looks only after what it sent (the client looks after what it gets), goes on probing a dark channel with
 * ever longer pauses, and never abandons it: that is the client's to do.
 */
export const gatewayQuickWatch: QuickWatchOptions = {
  ...defaultQuickWatch,
  receivedSilenceMs: 0,
  recoveryMostMs: 60_000,
  abandonMs: 0,
}

/**
 * The client's watch of its stream while data goes by it: TCP repairs losses itself, in seconds, so only a stream that
 * answers nothing for 8 s is given up for a new connection.
 */
export const clientStreamWatch: QuickWatchOptions = {
  sentSilenceMs: 2000,
  receivedSilenceMs: 0,
  volleyProbes: 3,
  volleyGapMs: 1500,
  minGraceMs: 3000,
  recoveryFirstMs: 1000,
  recoveryMostMs: 1000,
  abandonMs: 0,
}

/** The timers of a channel as a liveness watch. */
export function livenessOptions(timers: ChannelTimers, quick: QuickWatchOptions | undefined): LivenessOptions {
  return {
    dpdMs: seconds(timers.dpdSeconds),
    keepaliveMs: seconds(timers.keepaliveSeconds),
    ...(quick === undefined ? {} : { quick }),
  }
}
