import type { CertificateIdentityField, LoginMethod } from '@twinbore/core'
import type { AuthConfig } from '../config/gateway-config.ts'

/** Ways to log in that a configuration allows, the preferred first. */
export function loginMethods({ users, clientCa, require }: AuthConfig): LoginMethod[] {
  if (users !== undefined && clientCa !== undefined && require === 'all') return ['certificate-and-password']
  return [
    ...(clientCa === undefined ? [] : (['certificate'] as const)),
    ...(users === undefined ? [] : (['password'] as const)),
  ]
}

/** The field of a certificate that names its user, in the words of `GatewayLogin`. */
export function certificateField({ certificateUser }: AuthConfig): CertificateIdentityField {
  return ({ cn: 'common-name', uid: 'user-id', email: 'email' } as const)[certificateUser]
}
