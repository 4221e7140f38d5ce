import type { LoginIdentity } from '@twinbore/core'
import type { Identity } from '../auth/authenticator.ts'

/** What the authenticator said of somebody who logged in: it travels with the login as its `details`. */
export function identityOf({ username, method, details }: LoginIdentity): Identity {
  if (details !== undefined) return details as Identity
  return { username, method, authenticator: '', groups: [], addresses: [], claims: {} }
}
