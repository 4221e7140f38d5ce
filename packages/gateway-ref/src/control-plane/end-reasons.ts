import type { CloseReason, SessionEndReason } from '@twinbore/core'

// A session ends in two places: the registry (cookies, ages) and the session machine (channels, timers). Either tells the
// other in its own words.

/** What clients, logs and events hear when the registry ends a session. */
export const closeReasons: { readonly [Reason in SessionEndReason]: CloseReason } = {
  'user-left': 'user-left',
  terminated: 'administrator',
  'max-age': 'session-expired',
  idle: 'idle-timeout',
  'cookie-timeout': 'disconnected-too-long',
  superseded: 'replaced',
}

/** What the registry hears when a session machine has closed. */
export function endReasonOf(reason: CloseReason): SessionEndReason {
  return endReasons[reason] ?? 'terminated'
}

const endReasons: { readonly [Reason in CloseReason]?: SessionEndReason } = {
  'user-left': 'user-left',
  'session-expired': 'max-age',
  'idle-timeout': 'idle',
  'disconnected-too-long': 'cookie-timeout',
  replaced: 'superseded',
}
