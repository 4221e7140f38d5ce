import { type CredentialsAnswer, type CredentialsCheck, isUsername, type LoginMethod } from '@twinbore/core'
import { IpAddress } from '@twinbore/core/address'
import type { AuthenticationResult, Authenticator, Identity } from '../authenticator.ts'

export interface AuthenticatorStackOptions {
  /** How long one authenticator may take for one step. @defaultValue 30 */
  readonly seconds?: number
  /** Checks of one authenticator at once; a further one is `busy`. @defaultValue 1024 */
  readonly maxChecks?: number
  /** Something is wrong with an authenticator itself: a line for the log. */
  readonly onFault?: (authenticator: string, fault: string) => void
}

/** What came of a check, with the authenticator that said so. */
export type StackResult = Exclude<AuthenticationResult, { verdict: 'pass' }> & { readonly authenticator?: string }

/** What a challenge of an authenticator tells the next step; nobody outside can make one. */
class Continuation {
  readonly member: Member
  readonly state: unknown
  constructor(member: Member, state: unknown) {
    this.member = member
    this.state = state
  }
}

interface Member {
  readonly authenticator: Authenticator
  /** Checks under way, those included that have been given up and have not ended. */
  checks: number
}

const stepMethods: { readonly [Step in Exclude<CredentialsCheck['step'], 'challenge'>]: readonly LoginMethod[] } = {
  certificate: ['certificate'],
  password: ['password', 'certificate-and-password'],
  token: ['token'],
}

/**
 * Authenticators one after the other: the first that does not pass decides. Each has its own time and its own room, so that
 * one that hangs holds up nobody but those who asked it, and never lets anybody in.
 */
export class AuthenticatorStack {
  readonly methods: readonly LoginMethod[]
  private readonly members: readonly Member[]
  private readonly milliseconds: number
  private readonly maxChecks: number
  private readonly onFault: (authenticator: string, fault: string) => void

  /** @throws RangeError when two have the same name, or there is none */
  constructor(authenticators: readonly Authenticator[], options: AuthenticatorStackOptions = {}) {
    const names = authenticators.map(({ name }) => name)
    const twice = names.find((name, i) => names.indexOf(name) !== i)
    if (twice !== undefined) throw new RangeError(`two authenticators are called '${twice}'`)
    if (authenticators.length === 0) throw new RangeError('there must be an authenticator')
    this.members = authenticators.map(authenticator => ({ authenticator, checks: 0 }))
    this.methods = [...new Set(authenticators.flatMap(({ methods }) => methods))]
    this.milliseconds = (options.seconds ?? 30) * 1000
    this.maxChecks = options.maxChecks ?? 1024
    this.onFault = options.onFault ?? (() => {})
  }

  /** Judges one step. Never rejects. */
  async check(check: CredentialsCheck): Promise<StackResult> {
    if (check.step === 'challenge') {
      if (!(check.state instanceof Continuation)) return { verdict: 'reject', reason: 'wrong-code' }
      const { member, state } = check.state
      const result = await this.ask(member, { ...check, state })
      return result.verdict === 'pass' ? { verdict: 'reject', reason: 'wrong-code' } : result
    }
    const methods = stepMethods[check.step]
    for (const member of this.members) {
      if (!member.authenticator.methods.some(method => methods.includes(method))) continue
      const result = await this.ask(member, check)
      if (result.verdict !== 'pass') return result
    }
    return { verdict: 'reject', reason: 'wrong-credentials' }
  }

  /** See `Authenticator.recheck`; `undefined` too when their authenticator is not there any more. */
  recheck(identity: Identity): Identity | undefined {
    const member = this.members.find(({ authenticator }) => authenticator.name === identity.authenticator)
    if (!member) return undefined
    const { authenticator } = member
    if (!authenticator.recheck) return identity
    try {
      return authenticator.recheck(identity)
    } catch (error) {
      this.onFault(authenticator.name, messageOf(error))
      return undefined
    }
  }

  /** @throws the first that could not; those after it are not asked */
  async reload(): Promise<void> {
    for (const { authenticator } of this.members) await authenticator.reload?.()
  }

  async close(): Promise<void> {
    for (const { authenticator } of this.members) await authenticator.close?.()
  }

  private async ask(
    member: Member,
    check: CredentialsCheck,
  ): Promise<AuthenticationResult & { authenticator?: string }> {
    const { authenticator } = member
    const { name } = authenticator
    if (member.checks >= this.maxChecks) return { verdict: 'unavailable', reason: 'busy', authenticator: name }
    member.checks++
    const abort = new AbortController()
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<'late'>(resolve => {
      timer = setTimeout(() => resolve('late'), this.milliseconds)
      timer.unref()
    })
    try {
      const asked = begin(() => authenticator.check(check, abort.signal)).finally(() => {
        member.checks--
      })
      // Whoever is given up may still fail, and nobody listens any more.
      asked.catch(() => {})
      const result: unknown = await Promise.race([asked, late])
      if (result === 'late') {
        abort.abort(new DOMException('the check took too long', 'TimeoutError'))
        this.onFault(name, `a check took longer than ${this.milliseconds / 1000} s`)
        return { verdict: 'unavailable', reason: 'timeout', authenticator: name }
      }
      return this.read(member, result)
    } catch (error) {
      this.onFault(name, messageOf(error))
      return { verdict: 'unavailable', reason: 'failure', authenticator: name }
    } finally {
      clearTimeout(timer)
    }
  }

  /** What comes from outside may be anything; only what is an acceptance in every part lets somebody in. */
  private read(member: Member, result: unknown): AuthenticationResult & { authenticator?: string } {
    const { name } = member.authenticator
    const answer = result as AuthenticationResult
    switch (typeof result === 'object' && result !== null ? answer.verdict : undefined) {
      case 'accept': {
        const fault = faultOf((answer as { identity?: unknown }).identity, name)
        if (fault === undefined) return { ...(answer as StackResult), authenticator: name }
        this.onFault(name, fault)
        return { verdict: 'unavailable', reason: 'failure', authenticator: name }
      }
      case 'challenge': {
        const challenge = answer as Extract<CredentialsAnswer, { verdict: 'challenge' }>
        return { ...challenge, state: new Continuation(member, challenge.state), authenticator: name }
      }
      case 'reject':
      case 'unavailable':
      case 'pass':
        return { ...answer, authenticator: name }
      default:
        this.onFault(name, 'its answer is none')
        return { verdict: 'unavailable', reason: 'failure', authenticator: name }
    }
  }
}

/** What is wrong with an identity. */
function faultOf(value: unknown, name: string): string | undefined {
  if (typeof value !== 'object' || value === null) return 'it accepted nobody'
  const { username, authenticator, groups, addresses, claims, token } = value as Partial<Identity>
  if (typeof username !== 'string' || !isUsername(username)) return 'it accepted somebody whose name is none'
  if (authenticator !== name) return 'it accepted somebody in the name of another'
  if (!isTexts(groups)) return 'groups are no list of texts'
  if (!isTexts(addresses) || addresses.some(text => !IpAddress.parse(text))) return 'addresses are no list of addresses'
  if (typeof claims !== 'object' || claims === null) return 'claims are no object'
  if (token !== undefined && !Number.isFinite(token.expiresAt)) return 'its token never ends'
  return undefined
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every(item => typeof item === 'string')
}

/** Also what throws at once becomes a rejection. */
async function begin<Result>(run: () => Promise<Result>): Promise<Result> {
  return run()
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
