import { type CertificateIdentityField, isUsername, type LoginMethod } from './credentials.ts'
import { LOGIN_SECONDS } from './limits.ts'

/** A group that a client can choose at login. */
export interface LoginGroup {
  readonly value: string
  /** What people see. @defaultValue the value */
  readonly label?: string
}

/** How a gateway conducts the login dialogue. */
export interface GatewayLoginOptions {
  /** Ways to log in, the preferred first; each login takes the first that its connection allows. At least one. */
  readonly methods: readonly LoginMethod[]
  /** Which part of a client certificate is the user name. @defaultValue 'common-name' */
  readonly certificateIdentity?: CertificateIdentityField
  /** With `certificate-and-password`: whether the typed user name must be that of the certificate. @defaultValue true */
  readonly certificateMustMatch?: boolean
  /** Offered as a list in the form; without any the form has none. At most 32. */
  readonly groups?: readonly LoginGroup[]
  /** @defaultValue 'Login' */
  readonly title?: string
  /** @defaultValue 'Please enter your user name and password.' */
  readonly message?: string
  /** Shown before the form. */
  readonly banner?: string
  /** Refused credentials in one login before it ends with 401. @defaultValue 3 */
  readonly maxTries?: number
  /** Unfinished logins that are remembered, about 1 kB each. Beyond it new ones get 503. @defaultValue 4096 */
  readonly maxPending?: number
  /** The same of one address; the oldest gives way to the newest. @defaultValue 64 */
  readonly maxPendingPerAddress?: number
  /** How long a login may take from its first refused or second form on. @defaultValue 240 */
  readonly loginSeconds?: number
}

/** The options, complete and checked. */
export type GatewayLoginConfig = Required<Omit<GatewayLoginOptions, 'banner'>> & { readonly banner: string | undefined }

export const defaultGatewayLoginOptions: Required<Omit<GatewayLoginOptions, 'methods' | 'banner'>> = Object.freeze({
  certificateIdentity: 'common-name',
  certificateMustMatch: true,
  groups: Object.freeze([]),
  title: 'Login',
  message: 'Please enter your user name and password.',
  maxTries: 3,
  maxPending: 4096,
  maxPendingPerAddress: 64,
  loginSeconds: LOGIN_SECONDS,
})

/** Completes and checks what the user wrote. @throws RangeError naming the option */
export function gatewayLoginConfig(options: GatewayLoginOptions): GatewayLoginConfig {
  const config: GatewayLoginConfig = { ...defaultGatewayLoginOptions, banner: undefined, ...options }
  if (config.methods.length === 0) throw new RangeError('methods must name at least one login method')
  for (const name of ['maxTries', 'maxPending', 'maxPendingPerAddress', 'loginSeconds'] as const) {
    if (!Number.isSafeInteger(config[name]) || config[name] < 1)
      throw new RangeError(`${name} must be a whole number from 1`)
  }
  if (config.groups.length > 32) throw new RangeError('groups must be at most 32')
  for (const group of config.groups) {
    if (!isUsername(group.value)) throw new RangeError(`groups: '${group.value}' is not a usable group name`)
  }
  return Object.freeze(config)
}
