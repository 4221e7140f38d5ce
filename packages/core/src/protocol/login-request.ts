import { isHeaderText } from './http-message.ts'
import { MAX_FIELD_LENGTH, MAX_FORM_FIELDS } from './limits.ts'
import { childOf, childrenOf, element, exactTextOf, readXml, textOf, writeXml, type XmlElement } from './xml.ts'

/** What a client posts during login. */
export type LoginRequestDocument =
  | {
      readonly type: 'init'
      /** The value of the group that the next form shall show as chosen. */
      readonly group?: string
      /** The client was asked for a certificate and has none. */
      readonly certificateFailed: boolean
    }
  | {
      readonly type: 'auth-reply'
      /** Answers by field name. */
      readonly fields: ReadonlyMap<string, string>
      readonly group?: string
      readonly opaque?: XmlElement
    }

/** What a client says about itself in each document. */
export interface LoginClientInfo {
  readonly version: string
  /** Such as `linux-64`, `win`, `mac-intel`. */
  readonly deviceId: string
  /** The URL that the user gave. */
  readonly groupAccess?: string
}

/** Reads a `config-auth` document of a client. Undefined when it is malformed or of an unknown type. */
export function readLoginRequest(body: Uint8Array): LoginRequestDocument | undefined {
  const root = readXml(new TextDecoder().decode(body))
  if (root?.name !== 'config-auth') return undefined
  const groupText = textOf(childOf(root, 'group-select'))
  const group = groupText === '' || groupText.length > MAX_FIELD_LENGTH ? {} : { group: groupText }
  switch (root.attributes.get('type')) {
    case 'init':
      return { type: 'init', ...group, certificateFailed: childOf(root, 'client-cert-fail') !== undefined }
    case 'auth-reply': {
      const auth = childOf(root, 'auth')
      if (!auth) return undefined
      const answers = childrenOf(auth)
      if (answers.length > MAX_FORM_FIELDS) return undefined
      const fields = new Map<string, string>()
      for (const answer of answers) {
        const value = exactTextOf(answer)
        if (value.length > MAX_FIELD_LENGTH) return undefined
        if (!fields.has(answer.name)) fields.set(answer.name, value)
      }
      const opaque = childOf(root, 'opaque')
      return { type: 'auth-reply', fields, ...group, ...(opaque ? { opaque } : {}) }
    }
    default:
      return undefined
  }
}

/** Writes a `config-auth` document of a client. */
export function writeLoginRequest(document: LoginRequestDocument, client: LoginClientInfo): Uint8Array {
  const group = document.group === undefined ? undefined : element('group-select', {}, document.group)
  const root = element(
    'config-auth',
    { client: 'vpn', type: document.type, 'aggregate-auth-version': '2' },
    element('version', { who: 'vpn' }, client.version),
    element('device-id', {}, client.deviceId),
    ...(document.type === 'init'
      ? [
          client.groupAccess === undefined ? undefined : element('group-access', {}, client.groupAccess),
          document.certificateFailed ? element('client-cert-fail') : undefined,
        ]
      : [
          document.opaque,
          element('auth', {}, ...Array.from(document.fields, ([name, value]) => element(name, {}, value))),
        ]),
    group,
  )
  return new TextEncoder().encode(writeXml(root))
}

/** Reads an `application/x-www-form-urlencoded` body: the answers of an old-style login. */
export function readFormBody(body: Uint8Array): ReadonlyMap<string, string> | undefined {
  const fields = new Map<string, string>()
  for (const [name, value] of new URLSearchParams(new TextDecoder().decode(body))) {
    if (fields.size === MAX_FORM_FIELDS || value.length > MAX_FIELD_LENGTH || !isHeaderText(name)) return undefined
    if (!fields.has(name)) fields.set(name, value)
  }
  return fields
}

/** Writes the answers of an old-style login. */
export function writeFormBody(fields: ReadonlyMap<string, string>): Uint8Array {
  return new TextEncoder().encode(new URLSearchParams([...fields]).toString())
}
