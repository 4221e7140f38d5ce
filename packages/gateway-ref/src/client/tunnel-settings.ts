import type { LoginCredentials } from '@twinbore/core/io'

/** What a tunnel of the program is made from. */
export interface TunnelSettings {
  readonly url: string
  readonly credentials: LoginCredentials
  readonly serverPin?: string
  /** PEM text. */
  readonly ca?: string
  /** PEM texts. */
  readonly certificate?: { readonly cert: string; readonly key: string }
  readonly interfaceName?: string
  readonly datagram: boolean
  readonly routes: boolean
}
