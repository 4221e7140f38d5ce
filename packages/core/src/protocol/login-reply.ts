import { MAX_FIELD_LENGTH, MAX_FORM_FIELDS, MAX_TEXT_LENGTH, MAX_XML_REPLY_ELEMENTS } from './limits.ts'
import type { LoginField, LoginForm, LoginOption } from './login-form.ts'
import { childOf, childrenOf, element, readXml, textOf, writeXml, type XmlElement } from './xml.ts'

/** What a gateway answers during login. */
export type LoginReplyDocument =
  | { readonly type: 'form'; readonly form: LoginForm }
  /** The login is done. The cookie comes in a header; some gateways put it here instead. */
  | { readonly type: 'complete'; readonly sessionToken?: string; readonly banner?: string }
  /** The client shall connect again and present a certificate. */
  | { readonly type: 'certificate-request' }

/** Writes the reply document of a gateway. */
export function writeLoginReply(document: LoginReplyDocument): Uint8Array {
  const version = element('version', { who: 'sg' }, '0.1(1)')
  const root = (type: string, ...content: (XmlElement | undefined)[]) =>
    element('config-auth', { client: 'vpn', type }, version, ...content)
  switch (document.type) {
    case 'form':
      return encode(root('auth-request', document.form.opaque, authElement(document.form)))
    case 'complete':
      return encode(
        root(
          'complete',
          document.sessionToken === undefined ? undefined : element('session-token', {}, document.sessionToken),
          element('auth', { id: 'success' }, element('title', {}, 'VPN'), textElement('banner', document.banner)),
        ),
      )
    case 'certificate-request':
      return encode(root('auth-request', element('client-cert-request')))
  }
}

/** Reads the reply document of a gateway, also the older form without the `config-auth` element. */
export function readLoginReply(body: Uint8Array): LoginReplyDocument | undefined {
  const root = readXml(new TextDecoder().decode(body), MAX_XML_REPLY_ELEMENTS)
  if (!root) return undefined
  if (root.name === 'auth') return readAuth(root, undefined)
  if (root.name !== 'config-auth') return undefined
  if (childOf(root, 'client-cert-request')) return { type: 'certificate-request' }
  const auth = childOf(root, 'auth')
  const document = auth && readAuth(auth, childOf(root, 'opaque'))
  if (document?.type === 'form') return document
  if (root.attributes.get('type') !== 'complete' && !document) return undefined
  const token = textOf(childOf(root, 'session-token'))
  return { type: 'complete', ...optionalText('banner', auth), ...(token === '' ? {} : { sessionToken: token }) }
}

function readAuth(auth: XmlElement, opaque: XmlElement | undefined): LoginReplyDocument | undefined {
  const id = auth.attributes.get('id') ?? ''
  if (id === 'success') return { type: 'complete', ...optionalText('banner', auth) }
  const source = childOf(auth, 'form')
  if (!source) return undefined
  const fields: LoginField[] = []
  for (const child of childrenOf(source)) {
    const field = readField(child)
    if (!field) continue
    if (fields.length === MAX_FORM_FIELDS) return undefined
    fields.push(field)
  }
  const form: LoginForm = {
    id,
    action: source.attributes.get('action') ?? '',
    ...optionalText('title', auth),
    ...optionalText('banner', auth),
    ...optionalText('message', auth),
    ...optionalText('error', auth),
    fields,
    ...(opaque ? { opaque } : {}),
  }
  return { type: 'form', form }
}

function readField(source: XmlElement): LoginField | undefined {
  const type = source.name === 'select' ? 'select' : source.attributes.get('type')
  const name = source.attributes.get('name')
  if (!name || !/^[A-Za-z_][\w.-]{0,63}$/.test(name)) return undefined
  const label = cut(source.attributes.get('label') ?? '')
  if (type === 'select') {
    const options: LoginOption[] = []
    let chosen: string | undefined
    for (const option of childrenOf(source)) {
      if (option.name !== 'option') continue
      const text = cut(textOf(option))
      const value = cut(option.attributes.get('value') ?? text)
      options.push({ value, label: text })
      if (option.attributes.get('selected') === 'true') chosen ??= value
    }
    return { type, name, label, options, ...(chosen === undefined ? {} : { value: chosen }) }
  }
  if (type !== 'text' && type !== 'password' && type !== 'hidden') return undefined
  const value = source.attributes.get('value')
  return { type, name, label, ...(value === undefined ? {} : { value: value.slice(0, MAX_FIELD_LENGTH) }) }
}

function authElement(form: LoginForm): XmlElement {
  return element(
    'auth',
    { id: form.id },
    textElement('title', form.title),
    textElement('banner', form.banner),
    textElement('message', form.message),
    textElement('error', form.error),
    element('form', { method: 'post', action: form.action }, ...form.fields.map(fieldElement)),
  )
}

function fieldElement(field: LoginField): XmlElement {
  const { name, label } = field
  if (field.type !== 'select') return element('input', { type: field.type, name, label, value: field.value })
  const options = (field.options ?? []).map(option =>
    element(
      'option',
      { value: option.value, selected: option.value === field.value ? 'true' : undefined },
      option.label,
    ),
  )
  return element('select', { name, label }, ...options)
}

function textElement(name: string, text: string | undefined): XmlElement | undefined {
  return text === undefined || text === '' ? undefined : element(name, {}, text)
}

type TextName = 'title' | 'banner' | 'message' | 'error'

function optionalText(name: TextName, parent: XmlElement | undefined): { readonly [key in TextName]?: string } {
  const source = childOf(parent, name)
  const text = cut(withParameters(textOf(source), source))
  return text === '' ? {} : { [name]: text }
}

/** Puts `param1` and `param2`, where there are any, in the place of the first and second `%s`. */
function withParameters(text: string, source: XmlElement | undefined): string {
  if (!source?.attributes.has('param1')) return text
  let next = 1
  return text.replaceAll('%s', () => source.attributes.get(`param${next++}`) ?? '')
}

function cut(text: string): string {
  return text.slice(0, MAX_TEXT_LENGTH)
}

function encode(root: XmlElement): Uint8Array {
  return new TextEncoder().encode(writeXml(root))
}
