import type { IpAddress, Prefix } from '@twinbore/core/address'
import type { Pattern } from './pattern.ts'

/** Who gets in, and what they may reach. Values only; `readPolicy` makes one from a file, `decideAccess` reads it. */
export interface AccessPolicy {
  /** The first rule whose conditions hold decides. Nobody gets in when none does. */
  readonly rules: readonly AccessRule[]
  /** Every grant whose conditions hold counts; what a later one says goes before what an earlier one said. */
  readonly grants: readonly AccessGrant[]
}

export interface AccessRule {
  /** Unique in its policy; log and trace name it. */
  readonly name: string
  readonly when: Condition
  readonly effect: AccessEffect
  /** What the user is told. */
  readonly text: string | undefined
  /** With `restrict`: all that may be reached. */
  readonly permissions: readonly Permission[]
}

/** `restrict`: in, but to named destinations only, such as those where a device is mended. */
export type AccessEffect = 'allow' | 'refuse' | 'restrict'

/** What some people get that differs from what the configuration says. What is absent stays as it was. */
export interface AccessGrant {
  readonly name: string
  readonly when: Condition
  readonly terms: AccessTerms
}

/** What a session gets. */
export interface AccessTerms {
  readonly routes?: { readonly include: readonly Prefix[]; readonly exclude: readonly Prefix[] }
  readonly dns?: {
    readonly servers: readonly IpAddress[]
    readonly searchDomains: readonly string[]
    readonly splitDomains: readonly string[]
  }
  /** Asked for before the pool's. */
  readonly addresses?: readonly IpAddress[]
  /** Bits per second; `Infinity` is no limit. */
  readonly rate?: { readonly upload?: number; readonly download?: number }
  /** The longest the session lives. */
  readonly maxSeconds?: number
  /** The only destinations that may be reached. Absent: all that the gateway lets anybody reach. */
  readonly permissions?: readonly Permission[]
}

/** Destinations of one kind. */
export interface Permission {
  readonly to: Prefix
  /** Absent: every protocol. */
  readonly protocol: 'tcp' | 'udp' | 'icmp' | undefined
  /** Destination ports of TCP and UDP; absent: every port. */
  readonly ports: readonly PortSpan[] | undefined
}

export interface PortSpan {
  readonly first: number
  readonly last: number
}

/** What must hold. A fact that isn't known never holds. */
export type Condition =
  | { readonly type: 'all' | 'any'; readonly of: readonly Condition[] }
  | { readonly type: 'not'; readonly of: Condition }
  | { readonly type: 'user' | 'user-agent' | 'device-id' | 'platform'; readonly patterns: readonly Pattern[] }
  /** Member of any of these groups; of this method; of this authenticator. */
  | { readonly type: 'group' | 'method' | 'authenticator'; readonly names: readonly string[] }
  | { readonly type: 'claim'; readonly claim: string; readonly test: ClaimTest }
  /** What isn't known to be so counts as not so. */
  | { readonly type: 'compliant' | 'managed'; readonly is: boolean }
  | { readonly type: 'network'; readonly prefixes: readonly Prefix[] }
  | { readonly type: 'time'; readonly window: TimeWindow }

export type ClaimValue = string | number | boolean

/** What a claim must be like. Of a claim that is a list, one item is enough. */
export type ClaimTest =
  | { readonly type: 'present'; readonly is: boolean }
  | { readonly type: 'one-of'; readonly values: readonly ClaimValue[] }
  | { readonly type: 'like'; readonly patterns: readonly Pattern[] }
  | { readonly type: 'range'; readonly least: number; readonly most: number }

/** Hours of days of the week. */
export interface TimeWindow {
  /** 0 is Sunday; of the day on which the hours begin. */
  readonly days: readonly number[]
  /** Minutes after midnight; `to` is not part of it. Hours past midnight have `to` before `from`. */
  readonly from: number
  readonly to: number
  /** Name of the tz database, such as `Europe/Berlin`. */
  readonly zone: string
}

/** What is known of somebody who wants in. */
export interface AccessFacts {
  readonly username: string
  readonly groups: readonly string[]
  /** How they proved who they are, and to whom. */
  readonly method: string
  readonly authenticator: string
  /** Verified claims of their token; empty without one. */
  readonly claims: Readonly<Record<string, unknown>>
  readonly device: {
    readonly id?: string | undefined
    readonly platform?: string | undefined
    readonly compliant?: boolean | undefined
    readonly managed?: boolean | undefined
  }
  readonly userAgent: string | undefined
  /** Where they come from; `undefined` when it isn't known. */
  readonly address: IpAddress | undefined
  /** Wall clock, milliseconds since 1970. */
  readonly now: number
}
