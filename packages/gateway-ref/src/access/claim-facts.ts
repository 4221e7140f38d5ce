import type { AccessFacts } from './access-policy.ts'
import { claimValue } from './conditions.ts'

/** Which claims say what. A name that begins with `/` is a JSON Pointer; the first that is there counts. */
export interface ClaimNames {
  readonly username: readonly string[]
  /** Lists of names, or names; all of them are taken together. */
  readonly groups: readonly string[]
  readonly deviceId: readonly string[]
  readonly compliant: readonly string[]
  readonly managed: readonly string[]
}

/** Names that the usual providers use. */
export const defaultClaimNames: ClaimNames = Object.freeze({
  username: Object.freeze(['preferred_username', 'upn', 'unique_name', 'email', 'sub']),
  groups: Object.freeze(['groups', 'group', 'roles']),
  deviceId: Object.freeze(['deviceid', 'device_id']),
  compliant: Object.freeze(['compliant', 'is_compliant']),
  managed: Object.freeze(['managed', 'is_managed']),
})

/** What verified claims say of their subject. */
export function claimFacts(
  claims: Readonly<Record<string, unknown>>,
  names: ClaimNames = defaultClaimNames,
): {
  readonly username: string | undefined
  readonly groups: readonly string[]
  readonly device: AccessFacts['device']
} {
  const text = (of: readonly string[]) =>
    first(claims, of, value => (typeof value === 'string' && value !== '' ? value : undefined))
  const state = (of: readonly string[]) => first(claims, of, truth)
  const groups = names.groups.flatMap(name => [claimValue(claims, name)].flat())
  return {
    username: text(names.username),
    groups: [...new Set(groups.filter(group => typeof group === 'string'))],
    device: { id: text(names.deviceId), compliant: state(names.compliant), managed: state(names.managed) },
  }
}

function first<Value>(
  claims: Readonly<Record<string, unknown>>,
  names: readonly string[],
  read: (value: unknown) => Value | undefined,
): Value | undefined {
  for (const name of names) {
    const value = read(claimValue(claims, name))
    if (value !== undefined) return value
  }
  return undefined
}

/** Some providers say it in words. Anything else says nothing. */
function truth(value: unknown): boolean | undefined {
  if (typeof value === 'boolean') return value
  const word = typeof value === 'string' ? value.toLowerCase() : undefined
  return word === 'true' ? true : word === 'false' ? false : undefined
}
