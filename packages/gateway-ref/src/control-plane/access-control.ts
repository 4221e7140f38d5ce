import { IpAddress } from '@twinbore/core/address'
import type { AccessPolicy, AccessTerms } from '../access/access-policy.ts'
import { type AccessDecision, decideAccess } from '../access/decide-access.ts'
import type { Identity } from '../auth/authenticator.ts'
import type { PlanePermission } from '../data-plane/permitted-destinations.ts'

/** Where somebody comes from, and with what. */
export interface AccessOrigin {
  readonly remoteAddress: string
  readonly userAgent: string | undefined
}

/** Without a policy, whoever has logged in is in. */
const withoutPolicy: AccessDecision = Object.freeze({
  effect: 'allow',
  rule: undefined,
  text: undefined,
  terms: Object.freeze({}),
  grants: Object.freeze([]),
  trace: Object.freeze([]),
  changesAt: undefined,
})

/** The policy in use, asked about people who have logged in. */
export class AccessControl {
  /** From now on it decides; `undefined` lets everybody in. */
  policy: AccessPolicy | undefined
  private readonly wallClock: () => number

  /** @param wallClock - milliseconds since 1970 */
  constructor(policy: AccessPolicy | undefined, wallClock: () => number) {
    this.policy = policy
    this.wallClock = wallClock
  }

  decide(identity: Identity, { remoteAddress, userAgent }: AccessOrigin): AccessDecision {
    if (!this.policy) return withoutPolicy
    const { username, groups, method, authenticator, claims, device = {} } = identity
    const address = IpAddress.parse(remoteAddress)
    const now = this.wallClock()
    return decideAccess(this.policy, {
      username,
      groups,
      method,
      authenticator,
      claims,
      device,
      userAgent,
      address,
      now,
    })
  }
}

/** What a user whom a policy refuses reads, unless the policy has words of its own. */
export function refusalText({ text }: AccessDecision): string {
  return text ?? 'The access policy does not let you in'
}

/** Permissions as the data plane takes them; `undefined`: everything that any session may reach. */
export function planePermissions({ permissions }: AccessTerms): readonly PlanePermission[] | undefined {
  return permissions?.map(({ to, protocol, ports }) => ({ to: to.toString(), protocol, ports }))
}

/** Whether these are the same permissions. */
export function samePermissions(
  one: readonly PlanePermission[] | undefined,
  other: readonly PlanePermission[] | undefined,
): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}

/** How long a session may live by its terms and by its token, in seconds; `Infinity` where they set no bound. */
export function longestSeconds({ maxSeconds }: AccessTerms, { token }: Identity, wallNow: number): number {
  const left = token ? Math.max(1, Math.ceil((token.expiresAt - wallNow) / 1000)) : Number.POSITIVE_INFINITY
  return Math.min(maxSeconds ?? Number.POSITIVE_INFINITY, left)
}
