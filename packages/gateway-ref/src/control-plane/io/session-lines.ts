import type { EventEmitter } from 'eventemitter3'
import type { Logger } from '../../log/logger.ts'
import { createSessionLog, type SessionLabel } from '../../log/session-log.ts'
import type { GatewayEvents, SessionFacts } from '../session-facts.ts'

/** Writes a line for what happens to sessions. */
export function logSessions(gateway: EventEmitter<GatewayEvents>, log: Logger): void {
  const lines = createSessionLog(log)
  gateway.on('session-established', ({ session }) =>
    lines.connected(labelOf(session), { method: session.identity.method, userAgent: session.userAgent }),
  )
  gateway.on('session-resumed', ({ session }) => log.info('session resumed', { ...labelOf(session) }))
  gateway.on('channel-changed', ({ session, from, to, reason }) =>
    lines.channelChanged(labelOf(session), { ...(from !== 'none' && { from }), to, reason }),
  )
  gateway.on('session-closed', ({ session, reason, seconds }) => {
    const { bytesOutbound, bytesInbound } = session
    lines.disconnected(labelOf(session), { reason, seconds, bytesOutbound, bytesInbound })
  })
  gateway.on('login-rejected', ({ username, remoteAddress, reason }) => {
    // Refused credentials have their line already, with the authenticator's own reason.
    if (reason !== 'credentials') lines.loginRefused({ user: username, remoteAddress, reason })
  })
}

function labelOf(session: SessionFacts): SessionLabel {
  const { id, identity, remoteAddress, ipv4, ipv6 } = session
  return { session: String(id), user: identity.username, remoteAddress, ipv4, ipv6 }
}
