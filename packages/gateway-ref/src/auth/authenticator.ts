import type { CredentialsAnswer, CredentialsCheck, LoginMethod } from '@twinbore/core'

/** What is known of somebody who logged in, beyond the name. */
export interface UserFacts {
  readonly groups: readonly string[]
  /** Addresses reserved for this user; the pool is asked for them first. */
  readonly addresses: readonly string[]
  /** What this user's sessions may carry, where it differs from what the configuration says. */
  readonly rate?: UserRate
}

/** Bits per second, by direction; `Infinity` is no limit, and what is absent is as the configuration says. */
export interface UserRate {
  readonly upload?: number
  readonly download?: number
}

/** Why a login was refused. The client never hears it; the log does. */
export type RejectReason =
  /** Unknown user or wrong password: not told apart, also not by time. */
  | 'wrong-credentials'
  /** A wrong, expired or already used one-time code. */
  | 'wrong-code'
  /** Too many wrong codes in a row: the second step rests for a while. */
  | 'too-many-codes'
  | 'user-disabled'
  /** The certificate is missing, names nobody, or names somebody else. */
  | 'no-identity'

/** Why nobody can tell at the moment. */
export type UnavailableReason =
  /** As many passwords wait to be checked as the authenticator accepts. */
  'busy'

/** What an authenticator says: an answer for `GatewayLogin`, with what the gateway and its log want to know beside it. */
export type AuthenticationResult =
  | (Extract<CredentialsAnswer, { verdict: 'accept' }> & { readonly username: string; readonly facts: UserFacts })
  | Extract<CredentialsAnswer, { verdict: 'challenge' }>
  | (Extract<CredentialsAnswer, { verdict: 'reject' }> & { readonly reason: RejectReason })
  | (Extract<CredentialsAnswer, { verdict: 'unavailable' }> & { readonly reason: UnavailableReason })

/**
 * Decides who may come in. It holds no dialogue: `GatewayLogin` leads it, counts the tries and limits the time; each
 * check stands for itself, and what one check has to tell the next travels in the `state` of a challenge.
 */
export interface Authenticator {
  /** Ways to log in, the preferred first: `methods` of `GatewayLogin`. */
  readonly methods: readonly LoginMethod[]
  /**
   * Judges one step. Refusals are results, never exceptions; a rejected promise is a defect, a broken back end, or the
   * answer to `signal`, and counts as `unavailable`.
   */
  check(check: CredentialsCheck, signal: AbortSignal): Promise<AuthenticationResult>
  /** Facts of a user by name, for a session that comes back with its cookie; `undefined` when the user may not come in. */
  factsOf(username: string): UserFacts | undefined
}
