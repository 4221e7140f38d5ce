/** What a client has shown so far in one login dialogue. */
export interface LoginEvidence {
  /** The name as the user typed it, at most 256 characters; absent in a login by certificate only. */
  readonly username?: string
  readonly password?: string
  /** The answer to the last challenge, such as a one-time code. */
  readonly answer?: string
  /** `state` of the challenge that `answer` answers, as it was given. */
  readonly state?: unknown
  /** The subject of a client certificate that TLS has verified against `auth.clientCa`. */
  readonly certificate?: CertificateSubject
  /** The client's address, without port. */
  readonly remoteAddress: string
}

/** The parts of a verified client certificate that can name its user, as they stand in it. */
export interface CertificateSubject {
  readonly cn?: string
  readonly uid?: string
  /** The first rfc822Name of the subject alternative names. */
  readonly email?: string
  /** SHA-256 of the certificate, lower-case hexadecimal, for logs. */
  readonly fingerprint: string
}

/** Who logged in, and what is known of them. */
export interface Identity {
  readonly username: string
  readonly groups: readonly string[]
  /** How the identity was shown, in order. */
  readonly methods: readonly ('certificate' | 'password' | 'totp')[]
  /** Addresses reserved for this user; the pool is asked for them first. */
  readonly addresses: readonly string[]
}

/** Why a login was refused. The client hears only "login failed" or "try again later"; the log hears the code. */
export type RejectReason =
  /** Unknown user or wrong password: never told apart. */
  | 'wrong-credentials'
  /** A wrong, expired or already used one-time code. */
  | 'wrong-code'
  /** Too many wrong codes in a row; the account's second step rests for a while. */
  | 'too-many-attempts'
  | 'user-disabled'
  /** Certificate and user name don't belong together, or the certificate names nobody. */
  | 'no-identity'
  /** The authenticator has as much work waiting as it accepts. The client may come back. */
  | 'busy'
  /** The authenticator itself failed; the log has the cause. */
  | 'unavailable'

/** What an authenticator says to the evidence. */
export type AuthenticationResult =
  | { readonly type: 'accept'; readonly identity: Identity }
  /** More is needed: the client is asked `message` and types into one field. */
  | {
      readonly type: 'challenge'
      readonly message: string
      /** What the field asks for. `password`: typed without echo. */
      readonly field: { readonly name: string; readonly label: string; readonly kind: 'text' | 'password' }
      /** Handed back with the answer as `evidence.state`; stays inside the gateway. */
      readonly state: unknown
    }
  | { readonly type: 'reject'; readonly reason: RejectReason }

/**
 * Decides who may come in. Stateless between calls except for what protects it (used codes, waiting work): the dialogue
 * belongs to the caller, who brings the evidence, limits the time (through `signal`) and counts the tries.
 */
export interface Authenticator {
  /** What the first form asks for: name and password, or nothing when a certificate is enough. */
  readonly firstStep: 'password' | 'certificate' | 'certificate-or-password' | 'certificate-and-password'
  /**
   * Judges the evidence. Rejections are results, never exceptions; a rejected promise means a defect or a broken back
   * end and counts as `unavailable`. When `signal` aborts, the work is given up and the promise rejects.
   */
  authenticate(evidence: LoginEvidence, signal: AbortSignal): Promise<AuthenticationResult>
}
