import type { CredentialsAnswer, CredentialsCheck, LoginMethod } from '@twinbore/core'

/** What a session of somebody may carry: bits per second, by direction; `Infinity` is no limit, absent is as configured. */
export interface UserRate {
  readonly upload?: number
  readonly download?: number
}

/** Who logged in, and what is known of them. A value: what changes makes another one. */
export interface Identity {
  readonly username: string
  /** `name` of the authenticator that says so. */
  readonly authenticator: string
  readonly method: LoginMethod
  readonly groups: readonly string[]
  /** Addresses reserved for them; the pool is asked for these first. */
  readonly addresses: readonly string[]
  /** What their sessions may carry, where it differs from what the configuration says. */
  readonly rate?: UserRate
  /** Verified claims of their token; empty without one. */
  readonly claims: Readonly<Record<string, unknown>>
  /** What is proven of their device; absent where nothing is. */
  readonly device?: {
    readonly id?: string | undefined
    readonly compliant?: boolean | undefined
    readonly managed?: boolean | undefined
  }
  readonly token?: IdentityToken
  /** SHA-256 of the client certificate that took part, lower-case hex. */
  readonly certificateFingerprint?: string
}

/** The token that somebody logged in with; never the token itself. Times are wall clock, ms. */
export interface IdentityToken {
  /** What the provider calls it, or the start of its SHA-256. */
  readonly id: string
  readonly issuer: string
  readonly subject: string | undefined
  readonly issuedAt: number | undefined
  readonly expiresAt: number
}

/** Why our own authenticators refuse. The client hears it of tokens only; the log does. */
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
  /** As much waits already as is accepted. */
  | 'busy'
  /** It took longer than it may. */
  | 'timeout'
  /** An exception, or an answer that is none. */
  | 'failure'
  /** The provider is out of reach, and what is known of it too old. */
  | 'provider-unreachable'

/** What an authenticator says of one step. Reasons are words in lower case joined by hyphens; a plug-in has its own. */
export type AuthenticationResult =
  | { readonly verdict: 'accept'; readonly identity: Identity; readonly group?: string }
  | Extract<CredentialsAnswer, { verdict: 'challenge' }>
  | {
      readonly verdict: 'reject'
      readonly reason: string
      /** For the log: what exactly. */
      readonly detail?: string
      /** For the user, where they may know. */
      readonly text?: string
    }
  | { readonly verdict: 'unavailable'; readonly reason: string; readonly detail?: string }
  /** Not somebody of mine: whoever is next is asked. */
  | { readonly verdict: 'pass' }

/**
 * Decides who may come in. It holds no dialogue: `GatewayLogin` leads it, counts the tries and limits the time; each check
 * stands for itself, and what one check has to tell the next travels in the `state` of a challenge.
 */
export interface Authenticator {
  /** Short and unique; log lines, audit log and policies name it. */
  readonly name: string
  /** Ways to log in that it judges, the preferred first. */
  readonly methods: readonly LoginMethod[]
  /**
   * Judges one step. Refusals are results, never exceptions. Whoever throws, hangs or gives something else lets nobody in: it
   * counts as `unavailable`.
   */
  check(check: CredentialsCheck, signal: AbortSignal): Promise<AuthenticationResult>
  /**
   * Somebody of before, when their session comes back or the configuration was taken anew: who they are now, or `undefined`
   * when they may not come in any more. At once, from what is known. @defaultValue they stay who they are
   */
  recheck?(identity: Identity): Identity | undefined
  /** Takes its sources anew. When that fails it stays as it was. @throws whatever says why */
  reload?(): Promise<void>
  close?(): Promise<void> | void
}
