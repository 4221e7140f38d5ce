import { LOGIN_COOKIE, SESSION_COOKIE, setCookie } from './cookies.ts'
import type { GatewayLoginConfig } from './gateway-login-options.ts'
import { type HeaderLines, type HttpReply, headerText } from './http-message.ts'
import type { LoginField, LoginForm } from './login-form.ts'
import { writeLoginReply } from './login-reply.ts'

// The replies that a gateway gives before there is a tunnel.

const XML_HEADERS: HeaderLines = [
  ['Content-Type', 'text/xml'],
  ['Cache-Control', 'no-store'],
  ['X-Transcend-Version', '1'],
]

const PAGE_HEADERS: HeaderLines = [
  ['Content-Type', 'text/html; charset=utf-8'],
  ['Cache-Control', 'no-store'],
  ['X-Content-Type-Options', 'nosniff'],
  ['X-Frame-Options', 'deny'],
  ['Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'"],
  ['Referrer-Policy', 'no-referrer'],
]

/** What a browser or a load balancer sees. It names no product and no version. */
export const frontPage: HttpReply = page(200, 'It works.')

/** A short page for everything that isn't served. `reason` reaches the user of a stock client through `X-Reason`. */
export function refusalPage(status: number, reason: string): HttpReply {
  const reply = page(status, reason)
  return { ...reply, headers: [...reply.headers, ['X-Reason', headerText(reason)]] }
}

/**
 * Asks for a token (RFC 6750 §3). `withForms`: clients that have none may ask again without offering one, and get a form.
 * `refusal`: why the one that came was not taken.
 */
export function tokenPage(withForms: boolean, refusal?: string): HttpReply {
  const { headers, ...reply } = refusal === undefined ? page(401, 'A token is asked for') : refusalPage(401, refusal)
  const description = headerText(refusal ?? '').replace(/["\\]/g, "'")
  const error = refusal === undefined ? '' : ` error="invalid_token", error_description="${description}"`
  const fallback: HeaderLines = withForms ? [['X-HTTP-Auth-Support', 'fallback']] : []
  return { ...reply, headers: [...headers, ['WWW-Authenticate', `Bearer${error}`], ...fallback] }
}

/** The main form: user name, password, and the groups if there are any. */
export function mainForm(
  config: GatewayLoginConfig,
  state: { username?: string; group?: string; error?: string },
): LoginForm {
  const fields: LoginField[] = [
    {
      type: 'text',
      name: 'username',
      label: 'Username:',
      ...(state.username === undefined ? {} : { value: state.username }),
    },
    { type: 'password', name: 'password', label: 'Password:' },
  ]
  const [first] = config.groups
  if (first) {
    const options = config.groups.map(({ value, label }) => ({ value, label: label ?? value }))
    const chosen = options.find(option => option.value === state.group) ?? options[0]!
    // Clients take the first option as the chosen one, whatever is marked.
    options.sort((a, b) => Number(b === chosen) - Number(a === chosen))
    fields.push({ type: 'select', name: 'group_list', label: 'Group:', options, value: chosen.value })
  }
  return {
    id: 'main',
    action: '/auth',
    title: config.title,
    ...(config.banner === undefined ? {} : { banner: config.banner }),
    message: config.message,
    ...(state.error === undefined ? {} : { error: state.error }),
    fields,
  }
}

/** The form of a second step. Token generators of stock clients fill a password field of the form `challenge`. */
export function challengeForm(config: GatewayLoginConfig, message: string, label: string, error?: string): LoginForm {
  return {
    id: 'challenge',
    action: '/auth',
    title: config.title,
    message,
    ...(error === undefined ? {} : { error }),
    fields: [{ type: 'password', name: 'password', label }],
  }
}

/** `handle` names the unfinished login that the answer belongs to. */
export function formReply(form: LoginForm, handle: string | undefined): HttpReply {
  return {
    status: 200,
    headers: [...XML_HEADERS, ...(handle === undefined ? [] : [setCookie(LOGIN_COOKIE, handle)])],
    body: writeLoginReply({ type: 'form', form }),
  }
}

export function completeReply(cookie: string, banner: string | undefined): HttpReply {
  return {
    status: 200,
    headers: [...XML_HEADERS, setCookie(LOGIN_COOKIE, ''), setCookie(SESSION_COOKIE, cookie)],
    body: writeLoginReply({ type: 'complete', ...(banner === undefined ? {} : { banner }) }),
  }
}

function page(status: number, text: string): HttpReply {
  const escaped = text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  const body = `<!doctype html>\n<html lang="en"><title>${escaped}</title><p>${escaped}</p></html>\n`
  return { status, headers: PAGE_HEADERS, body: new TextEncoder().encode(body) }
}
