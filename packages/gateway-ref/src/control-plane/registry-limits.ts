import type { SessionRegistryLimits } from '@twinbore/core'
import type { SessionConfig } from '../config/gateway-config.ts'

/** The limits of the session registry. Idle time is the session machine's: it tells the client why. */
export function registryLimits(session: SessionConfig): SessionRegistryLimits {
  const { maxSeconds, cookieSeconds, maxSessions, maxSessionsPerUser } = session
  return { maxSeconds, idleSeconds: 0, cookieSeconds, maxSessions, maxSessionsPerUser }
}
