import type { XmlElement } from './xml.ts'

/** One choice of a `select` field. */
export interface LoginOption {
  readonly value: string
  readonly label: string
}

/** One field of a login form. */
export interface LoginField {
  readonly type: 'text' | 'password' | 'hidden' | 'select'
  readonly name: string
  /** What people see, such as `Username:`. */
  readonly label: string
  /** The value that it has already; of a `select`, the chosen one. */
  readonly value?: string
  /** Of a `select`. */
  readonly options?: readonly LoginOption[]
}

/** What a gateway asks for in one step of the login. */
export interface LoginForm {
  /** `main`, `challenge`, ... */
  readonly id: string
  /** The path that the answer goes to. */
  readonly action: string
  readonly title?: string
  readonly banner?: string
  readonly message?: string
  /** Why the form is asked again. */
  readonly error?: string
  readonly fields: readonly LoginField[]
  /** The gateway's own note, which the client returns as it is. */
  readonly opaque?: XmlElement
}
