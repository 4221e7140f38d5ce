import { createHmac, randomBytes } from 'node:crypto'
import { type CredentialsCheck, certificateUsername, type LoginMethod } from '@twinbore/core'
import { formatProblem } from '../../config/config-problem.ts'
import type { AuthConfig } from '../../config/gateway-config.ts'
import { GatewayError } from '../../errors.ts'
import type { AuthenticationResult, Authenticator, Identity, RejectReason } from '../authenticator.ts'
import { certificateField, loginMethods } from '../login-options.ts'
import { OneTimeCodes } from '../one-time-codes.ts'
import { defaultScryptCosts, type PasswordRecord, type ScryptCosts } from '../password-record.ts'
import type { User } from '../users.ts'
import { hmacSha1 } from './hmac-sha1.ts'
import { PasswordHasher } from './password-hasher.ts'
import { readUsersFile } from './users-file.ts'

/** Hands and bounds of a `ConfiguredAuthenticator`. */
export interface ConfiguredAuthenticatorOptions {
  /** Checks passwords, within bounds. @defaultValue a hasher with its defaults */
  readonly hasher?: PasswordHasher
  /** Wall-clock milliseconds. @defaultValue Date.now */
  readonly wallClock?: () => number
}

/** What the first step tells the second. An object of this class can't come from outside. */
class FirstStep {
  readonly username: string
  readonly method: LoginMethod
  constructor(username: string, method: LoginMethod) {
    this.username = username
    this.method = method
  }
}

/**
 * The authenticator of the configuration file: passwords and one-time codes of a users file, client certificates of an
 * authority, or both. A user with an `otp` secret is asked for a code after either. A certificate needs no entry in the
 * users file; where there is one, it can disable the user, and its groups and addresses count.
 */
export class ConfiguredAuthenticator implements Authenticator {
  readonly name = 'local'
  readonly methods: readonly LoginMethod[]
  private readonly config: AuthConfig
  private readonly hasher: PasswordHasher
  private readonly wallClock: () => number
  private readonly codes = new OneTimeCodes(hmacSha1)
  private readonly disguiseKey = randomBytes(32)
  private users: ReadonlyMap<string, User> = new Map()
  private passwordCosts: readonly ScryptCosts[] = [defaultScryptCosts]

  private constructor(config: AuthConfig, options: ConfiguredAuthenticatorOptions) {
    this.config = config
    this.methods = loginMethods(config)
    this.hasher = options.hasher ?? new PasswordHasher()
    this.wallClock = options.wallClock ?? Date.now
  }

  /** Reads the users file, where there is one. @throws GatewayError when it can't be read or has mistakes */
  static async open(
    config: AuthConfig,
    options: ConfiguredAuthenticatorOptions = {},
  ): Promise<ConfiguredAuthenticator> {
    const authenticator = new ConfiguredAuthenticator(config, options)
    await authenticator.reload()
    return authenticator
  }

  /** Reads the users file again. When that fails, the users stay as they are. @throws GatewayError */
  async reload(): Promise<void> {
    if (this.config.users === undefined) return
    const { users, problems } = await readUsersFile(this.config.users)
    if (problems.length > 0) {
      throw new GatewayError('ERR_GATEWAY_USERS_FILE', problems.map(formatProblem).join('\n'), { problems })
    }
    this.users = users
    const passwords = [...users.values()].flatMap(({ password }) => password ?? [])
    this.passwordCosts = passwords.length > 0 ? passwords : [defaultScryptCosts]
    this.codes.retain(new Set(users.keys()))
  }

  recheck(identity: Identity): Identity | undefined {
    const { username, method, certificateFingerprint } = identity
    const user = this.users.get(username)
    if (user ? user.disabled : this.config.clientCa === undefined) return undefined
    return identityOf(username, user, method, certificateFingerprint)
  }

  async check(check: CredentialsCheck, signal: AbortSignal): Promise<AuthenticationResult> {
    signal.throwIfAborted()
    switch (check.step) {
      case 'certificate':
        return this.checkCertificate(check)
      case 'password':
        return this.checkPassword(check, signal)
      case 'challenge':
        return this.checkCode(check)
      case 'token':
        return reject('wrong-credentials')
    }
  }

  private checkCertificate(check: CredentialsCheck): AuthenticationResult {
    if (!this.methods.includes('certificate')) return reject('no-identity')
    const username = this.certificateUser(check)
    return username === undefined ? reject('no-identity') : this.afterFirstStep(username, check, 'certificate')
  }

  private async checkPassword(check: CredentialsCheck, signal: AbortSignal): Promise<AuthenticationResult> {
    if (!this.methods.some(method => method !== 'certificate')) return reject('wrong-credentials')
    const user = this.users.get(check.username)
    const record = user?.password ?? this.disguise(check.username)
    const result = await this.hasher.verify(check.secret ?? '', record, check.remoteAddress, signal)
    if (result === 'busy') return { verdict: 'unavailable', reason: 'busy' }
    if (result === 'mismatch' || !user?.password) return reject('wrong-credentials')
    if (this.methods.includes('certificate-and-password') && this.certificateUser(check) !== user.name) {
      return reject('no-identity')
    }
    const method = this.methods.includes('certificate-and-password') ? 'certificate-and-password' : 'password'
    return this.afterFirstStep(user.name, check, method)
  }

  private afterFirstStep(username: string, check: CredentialsCheck, method: LoginMethod): AuthenticationResult {
    const user = this.users.get(username)
    if (user?.disabled) return reject('user-disabled')
    if (!user?.otpSecret) return accept(identityOf(username, user, method, check.certificate?.fingerprint))
    return {
      verdict: 'challenge',
      message: 'Please enter the code of your authenticator app.',
      label: 'Code:',
      state: new FirstStep(username, method),
    }
  }

  private checkCode({ state, secret, username, certificate }: CredentialsCheck): AuthenticationResult {
    if (!(state instanceof FirstStep) || state.username !== username) return reject('wrong-code')
    const user = this.users.get(state.username)
    if (!user?.otpSecret) return reject('wrong-code')
    if (user.disabled) return reject('user-disabled')
    const verdict = this.codes.check(user.name, user.otpSecret, secret ?? '', this.wallClock())
    if (verdict === 'accepted') return accept(identityOf(user.name, user, state.method, certificate?.fingerprint))
    return reject(verdict === 'blocked' ? 'too-many-codes' : 'wrong-code')
  }

  private certificateUser({ certificate }: CredentialsCheck): string | undefined {
    return certificate && certificateUsername(certificate, certificateField(this.config))
  }

  /**
   * A record that no password fits, for names that have none. Its costs are those of some real user, the same one for
   * the same name, so that the time of an answer tells nothing, also when costs differ between users.
   */
  private disguise(username: string): PasswordRecord {
    const digest = createHmac('sha256', this.disguiseKey).update(username).digest()
    const { N, r, p } = this.passwordCosts[digest.readUInt32BE(0) % this.passwordCosts.length]!
    return { N, r, p, salt: digest.subarray(0, 16), hash: randomBytes(32) }
  }
}

function accept(identity: Identity): AuthenticationResult {
  return { verdict: 'accept', identity }
}

function identityOf(
  username: string,
  user: User | undefined,
  method: LoginMethod,
  certificateFingerprint: string | undefined,
): Identity {
  return {
    username,
    authenticator: 'local',
    method,
    groups: user?.groups ?? [],
    addresses: user?.addresses.map(String) ?? [],
    ...(user?.rate && { rate: user.rate }),
    claims: {},
    ...(certificateFingerprint !== undefined && { certificateFingerprint }),
  }
}

function reject(reason: RejectReason): AuthenticationResult {
  return { verdict: 'reject', reason }
}
