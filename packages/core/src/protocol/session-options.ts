import { seconds } from '../runtime/index.ts'
import type { LivenessOptions, QuickWatchOptions } from './liveness.ts'
import type { ChannelTimers } from './tunnel-parameters.ts'

/**
 * How fast a session notices that its datagram channel went dark: 100 ms (or a round trip) without a sign of life, a
 * volley of six probes over 100 ms, and a round trip for the last answer, but 350 ms in all at least, so that a short
 * stall of a radio link is not taken for an outage. Traffic is out for less than half a second on paths with a round trip
 * up to 100 ms; beyond that for two round trips and 0.2 s.
 */
export const defaultQuickWatch: QuickWatchOptions = {
  sentSilenceMs: 100,
  receivedSilenceMs: 130,
  volleyProbes: 6,
  volleyGapMs: 20,
  minGraceMs: 60,
  minSilenceMs: 350,
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
 * The gateway looks only after what it sent (the client looks after what it gets), and never abandons a dark channel:
 * that is the client's to do.
 */
export const gatewayQuickWatch: QuickWatchOptions = { ...defaultQuickWatch, receivedSilenceMs: 0, abandonMs: 0 }

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
  minSilenceMs: 8000,
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
