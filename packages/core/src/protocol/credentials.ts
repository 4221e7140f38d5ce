import { MAX_USERNAME_LENGTH } from './limits.ts'

/** How someone proved who they are. */
export type LoginMethod = 'password' | 'certificate' | 'certificate-and-password' | 'token'

/** Who logged in. */
export interface LoginIdentity {
  readonly username: string
  /** The group that was chosen or assigned. */
  readonly group?: string
  readonly method: LoginMethod
  /** SHA-256 of the client certificate that took part, lower-case hex. */
  readonly certificateFingerprint?: string
  /** What the checker said beside it; nobody here looks into it. */
  readonly details?: unknown
}

/** What a gateway knows of a client certificate that TLS has verified against the client authorities. */
export interface PeerCertificate {
  /** Values of the subject and of the alternative names, each possibly several or none. */
  readonly commonNames: readonly string[]
  /** UID, OID 0.9.2342.19200300.100.1.1. */
  readonly userIds: readonly string[]
  /** rfc822Name entries of the subject alternative name. */
  readonly emails: readonly string[]
  /** SHA-256 of the certificate, lower-case hex. */
  readonly fingerprint: string
}

/** Which part of a client certificate is the user name. */
export type CertificateIdentityField = 'common-name' | 'user-id' | 'email'

/**
 * The user name that a certificate carries: exactly one well-formed value in the chosen field. None or several is no
 * identity, and no identity never counts as a match.
 */
export function certificateUsername(certificate: PeerCertificate, field: CertificateIdentityField): string | undefined {
  const values =
    field === 'common-name' ? certificate.commonNames : field === 'user-id' ? certificate.userIds : certificate.emails
  const [username] = values
  return values.length === 1 && username !== undefined && isUsername(username) ? username : undefined
}

/**
 * Whether a text is acceptable as a user or group name: 1 to 256 letters, digits, marks, blanks inside, and
 * `. _ - @ + ' $ # = & , \`. No slash, no control characters, and not `.` or `..`, so that a name stays harmless in a
 * path or a log line.
 */
export function isUsername(text: string): boolean {
  if (text.length === 0 || text.length > MAX_USERNAME_LENGTH || text.trim() !== text) return false
  return text !== '.' && !text.includes('..') && /^[\p{L}\p{M}\p{N} ._\-@+'$#=&,\\]+$/u.test(text)
}

/**
 * Whether a text has the form of a signed token (RFC 7515 §3.1, compact): three parts of base64url. What it is worth, and
 * whether it is one at all, is for the checker to say.
 */
export function isTokenText(text: string): boolean {
  return text.length >= MIN_TOKEN_LENGTH && /^[\w-]+\.[\w-]+\.[\w-]*$/.test(text)
}

/** No signed token is shorter, and hardly a password of three parts as long. */
const MIN_TOKEN_LENGTH = 64

/** What the shell is asked to check. One login may take several checks: certificate, password, challenge; or a token. */
export interface CredentialsCheck {
  /** Names the login in the answer. */
  readonly login: number
  /** `challenge`: `secret` answers a second form that an earlier answer asked for. */
  readonly step: 'certificate' | 'password' | 'challenge' | 'token'
  /** What was typed, or what the certificate says; empty with a token that came by itself. */
  readonly username: string
  /** The password, the answer to the challenge, or the token; absent in a certificate step. */
  readonly secret?: string
  /** With a token: whether it came as one (RFC 6750 §2.1) or in place of a password. */
  readonly tokenVia?: 'bearer' | 'password'
  readonly group?: string
  /** What the answer to an earlier check of this login had in `state`. */
  readonly state?: unknown
  readonly certificate?: PeerCertificate
  readonly remoteAddress: string
  readonly userAgent?: string
}

/** The shell's answer to a check. */
export type CredentialsAnswer =
  | {
      readonly verdict: 'accept'
      /** The canonical user name, when it isn't the one that was typed. With a token there must be one. */
      readonly username?: string
      readonly group?: string
      /** `details` of the identity. */
      readonly details?: unknown
    }
  /** Asks for one more field (a one-time password). The next check has `step: 'challenge'`. */
  | {
      readonly verdict: 'challenge'
      readonly message: string
      /** @defaultValue 'Code:' */
      readonly label?: string
      /** Comes back in the next check; never leaves the process. */
      readonly state?: unknown
    }
  /**
   * The client learns only that the login failed: the same words for an unknown user and for a wrong password. Of a token it
   * may learn why, by `text`.
   */
  | { readonly verdict: 'reject'; readonly text?: string }
  /** Nobody can tell at the moment (the user store is out of reach): 503, and no try is counted. */
  | { readonly verdict: 'unavailable' }
