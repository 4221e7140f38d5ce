import type { Logger } from './logger.ts'

// The lines that operators search for and count: their messages and field names are stable.

/** Whose line it is. Addresses are text. */
export interface SessionLabel {
  readonly session: string
  readonly user: string
  readonly remoteAddress: string
  readonly ipv4?: string | undefined
  readonly ipv6?: string | undefined
}

/** The lines of a session's life. */
export interface SessionLog {
  connected(session: SessionLabel, how: { readonly method: string; readonly userAgent?: string | undefined }): void
  /** `from` is absent for the first channel. */
  channelChanged(
    session: SessionLabel,
    change: { readonly from?: string; readonly to: string; readonly reason: string },
  ): void
  disconnected(
    session: SessionLabel,
    end: {
      readonly reason: string
      readonly seconds: number
      /** Bytes of packets from the client to the corporate network, and back. */
      readonly bytesOutbound: number
      readonly bytesInbound: number
    },
  ): void
  loginRefused(login: {
    readonly user?: string | undefined
    readonly remoteAddress: string
    readonly reason: string
  }): void
}

/** Writes the lines of sessions to a logger. */
export function createSessionLog(log: Logger): SessionLog {
  return {
    connected: (session, how) => log.info('session connected', { ...labelOf(session), ...how }),
    channelChanged: (session, change) => log.info('channel changed', { ...labelOf(session), ...change }),
    disconnected: (session, end) => {
      const { reason, seconds, bytesOutbound, bytesInbound } = end
      log.info('session disconnected', {
        ...labelOf(session),
        reason,
        seconds: Math.round(seconds),
        bytesOutbound,
        bytesInbound,
      })
    },
    loginRefused: ({ user, remoteAddress, reason }) =>
      log.warn('login refused', { user, remote: remoteAddress, reason }),
  }
}

function labelOf({ session, user, remoteAddress, ipv4, ipv6 }: SessionLabel): Record<string, string | undefined> {
  return { session, user, remote: remoteAddress, ipv4, ipv6 }
}
