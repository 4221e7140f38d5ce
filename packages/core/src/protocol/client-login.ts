import { type Machine, OutputQueue } from '../runtime/machine.ts'
import { type Milliseconds, seconds } from '../runtime/time.ts'
import { CookieJar, isCookieValue, SESSION_COOKIE } from './cookies.ts'
import { CoreError, type CoreErrorCode } from './errors.ts'
import { type HeaderLines, type HttpReply, headerText, headerValue } from './http-message.ts'
import { LOGIN_SECONDS, MAX_LOGIN_REQUESTS, MAX_REDIRECTS } from './limits.ts'
import type { LoginForm } from './login-form.ts'
import { readLoginReply } from './login-reply.ts'
import { type LoginRequestDocument, writeFormBody, writeLoginRequest } from './login-request.ts'

/**
 * The client's half of the login dialogue, once through.
 *
 *     start ──> request (init) ──handleReply──> form ──answerForm──> request (answers) ──handleReply──> ...
 *                                          └──> established, failed
 *
 * It speaks the XML dialogue and goes over to the older one (`GET /`, form-encoded answers) when the gateway answers the
 * first document with an error. It follows redirects, but takes its answers to no other host than the one that asked.
 * Replies may be hostile: requests, redirects, cookies, fields and texts are limited (`limits.ts`), and what can't be
 * understood ends the login.
 */
export class ClientLogin implements Machine<ClientLoginOutput> {
  private readonly options: Required<ClientLoginOptions>
  private readonly outputs = new OutputQueue<ClientLoginOutput>()
  private readonly jar = new CookieJar()
  private state: 'idle' | 'awaiting-reply' | 'awaiting-answers' | 'done' = 'idle'
  private url: URL
  private dialogue: 'xml' | 'form' = 'xml'
  private form: LoginForm | undefined
  private expiresAt: Milliseconds | undefined
  private requests = 0
  private redirects = 0
  /** How often answers have been sent. */
  private answered = 0
  private certificateRequests = 0

  /** @throws TypeError for a URL that is not an https one */
  constructor(options: ClientLoginOptions) {
    this.options = { ...defaults, ...options }
    const url = parseUrl(options.url, undefined)
    if (!url) throw new TypeError('url must be https://host[:port][/path]')
    this.url = url
  }

  /** Makes the first request. */
  start(now: Milliseconds): void {
    if (this.state !== 'idle') throw new TypeError('the login has been started')
    this.expiresAt = now + seconds(LOGIN_SECONDS)
    this.begin(false)
  }

  /** Takes the reply to the last request. */
  handleReply(reply: HttpReply, now: Milliseconds): void {
    this.handleDeadline(now)
    if (this.state !== 'awaiting-reply') return
    this.jar.update(reply.headers)
    if (reply.status >= 300 && reply.status < 400) this.redirect(reply)
    else if (reply.status === 200) this.takeDocument(reply)
    else this.refused(reply)
  }

  /** Answers the last `form`, by field name. Fields that are left out keep the value that they came with. */
  answerForm(answers: Readonly<Record<string, string>>, now: Milliseconds): void {
    this.handleDeadline(now)
    const { form } = this
    if (this.state !== 'awaiting-answers' || !form) return
    const url = parseUrl(form.action === '' ? this.url.pathname : form.action, this.url)
    if (url?.host !== this.url.host) {
      this.fail('ERR_LOGIN_PROTOCOL', 'the gateway wants the answers taken to another host')
      return
    }
    this.url = url
    this.form = undefined
    this.answered++
    const fields = new Map<string, string>()
    let group: string | undefined
    for (const field of form.fields) {
      const value = (Object.hasOwn(answers, field.name) ? answers[field.name] : undefined) ?? field.value ?? ''
      const name = sentName(field.name)
      if (field.name === 'group_list') group = value
      if (name !== undefined && (field.name !== 'group_list' || this.dialogue === 'form')) fields.set(name, value)
    }
    if (this.dialogue === 'form') {
      this.request('POST', writeFormBody(fields), 'application/x-www-form-urlencoded')
      return
    }
    const { opaque } = form
    this.post({
      type: 'auth-reply',
      fields,
      ...(group === undefined ? {} : { group }),
      ...(opaque === undefined ? {} : { opaque }),
    })
  }

  /** The caller has no (more) answers, or the connection failed: the login ends with that error. */
  abort(error: CoreError): void {
    if (this.state === 'done') return
    this.finish({ type: 'failed', error })
  }

  get deadline(): Milliseconds | undefined {
    return this.state === 'done' ? undefined : this.expiresAt
  }

  handleDeadline(now: Milliseconds): void {
    if (this.state === 'done' || this.expiresAt === undefined || now < this.expiresAt) return
    this.fail('ERR_LOGIN_TIMEOUT', `the login took longer than ${LOGIN_SECONDS} s`)
  }

  poll(): ClientLoginOutput | undefined {
    return this.outputs.take()
  }

  private begin(certificateFailed: boolean): void {
    if (this.dialogue === 'form') this.request('GET', new Uint8Array(0), undefined)
    else this.post({ type: 'init', certificateFailed })
  }

  private redirect(reply: HttpReply): void {
    const url = parseUrl(headerValue(reply.headers, 'location') ?? '', this.url)
    const leaves = url !== undefined && url.host !== this.url.host
    if (!url) this.fail('ERR_LOGIN_PROTOCOL', 'the gateway redirects to an address that is not https')
    else if (++this.redirects > MAX_REDIRECTS) this.fail('ERR_LOGIN_PROTOCOL', `more than ${MAX_REDIRECTS} redirects`)
    else if (leaves && this.answered > 0) {
      this.fail('ERR_LOGIN_PROTOCOL', 'the gateway redirects to another host in mid-login')
    } else {
      if (leaves) this.jar.clear()
      this.url = url
      this.begin(false)
    }
  }

  private takeDocument(reply: HttpReply): void {
    const document = readLoginReply(reply.body)
    const cookie = this.jar.get(SESSION_COOKIE)
    if (document?.type === 'form') {
      this.form = document.form
      this.state = 'awaiting-answers'
      this.outputs.push({ type: 'form', form: document.form })
    } else if (document?.type === 'certificate-request') {
      this.askedForCertificate()
    } else {
      const token = cookie ?? usableToken(document?.sessionToken)
      if (token === undefined) {
        this.fail('ERR_LOGIN_PROTOCOL', "the gateway's answer is neither a form nor the end of the login")
        return
      }
      const banner = document?.banner
      const { host, port } = endpointOf(this.url)
      this.finish({ type: 'established', cookie: token, host, port, ...(banner === undefined ? {} : { banner }) })
    }
  }

  private askedForCertificate(): void {
    if (++this.certificateRequests > 1) {
      this.fail('ERR_LOGIN_CERTIFICATE_REQUIRED', 'the gateway wants another client certificate')
    } else this.begin(!this.options.hasCertificate)
  }

  private refused(reply: HttpReply): void {
    const reason = headerText(headerValue(reply.headers, 'x-reason') ?? reply.reason ?? '').slice(0, 255)
    const said = reason === '' ? `HTTP status ${reply.status}` : `${reply.status} ${reason}`
    if (reply.status === 401 || reply.status === 403 || reply.status === 503) {
      const forCertificate = reply.status === 401 && this.answered === 0 && !this.options.hasCertificate
      if (forCertificate) this.fail('ERR_LOGIN_CERTIFICATE_REQUIRED', `the gateway wants a client certificate: ${said}`)
      else this.fail('ERR_LOGIN_REJECTED', `the gateway refused the login: ${said}`)
    } else if (this.dialogue === 'xml' && this.answered === 0) {
      this.dialogue = 'form'
      this.begin(false)
    } else this.fail('ERR_LOGIN_PROTOCOL', `the gateway answered the login with ${said}`)
  }

  private post(document: LoginRequestDocument): void {
    const { version, deviceId } = this.options
    const groupAccess = this.url.href
    const body = writeLoginRequest(document, { version, deviceId, groupAccess })
    this.request('POST', body, 'application/xml; charset=utf-8')
  }

  private request(method: 'GET' | 'POST', body: Uint8Array, contentType: string | undefined): void {
    if (++this.requests > MAX_LOGIN_REQUESTS) {
      this.fail('ERR_LOGIN_PROTOCOL', `the login takes more than ${MAX_LOGIN_REQUESTS} requests`)
      return
    }
    const cookies = this.jar.header()
    const { host, port } = endpointOf(this.url)
    const headers: (readonly [string, string])[] = [
      ['Host', this.url.host],
      ['User-Agent', this.options.userAgent],
      ...(cookies === undefined ? [] : [['Cookie', cookies] as const]),
      ['Accept', '*/*'],
      ['Accept-Encoding', 'identity'],
      ['X-Transcend-Version', '1'],
      ...(this.dialogue === 'xml' ? [['X-Aggregate-Auth', '1'] as const] : []),
    ]
    if (contentType !== undefined) {
      // Zeros fill up to a multiple of 64, so that the record's length doesn't give the password's away.
      headers.push(['X-Pad', '0'.repeat(64 - (body.length % 64))], ['Content-Type', contentType])
      headers.push(['Content-Length', String(body.length)])
    }
    this.state = 'awaiting-reply'
    this.outputs.push({
      type: 'request',
      host,
      port,
      method,
      path: `${this.url.pathname}${this.url.search}`,
      headers,
      body,
    })
  }

  private fail(code: CoreErrorCode, message: string): void {
    this.finish({ type: 'failed', error: new CoreError(code, message) })
  }

  private finish(output: ClientLoginOutput): void {
    this.state = 'done'
    this.jar.clear()
    this.form = undefined
    this.outputs.push(output)
  }
}

export interface ClientLoginOptions {
  /** `https://host[:port][/path]` */
  readonly url: string
  /** @defaultValue 'OpenConnect VPN Agent (Twinbore)': gateways give unknown agents less */
  readonly userAgent?: string
  /** Whether the connections present a client certificate when asked. @defaultValue false */
  readonly hasCertificate?: boolean
  /** The client's version in documents. @defaultValue 'v0.1' */
  readonly version?: string
  /** @defaultValue 'linux-64' */
  readonly deviceId?: string
}

export type ClientLoginOutput =
  /** Send it over TLS and give the reply to `handleReply`. Headers are complete but for `Connection`. */
  | {
      readonly type: 'request'
      readonly host: string
      readonly port: number
      readonly method: 'GET' | 'POST'
      readonly path: string
      readonly headers: HeaderLines
      readonly body: Uint8Array
    }
  /** Answer with `answerForm`, or `abort`. */
  | { readonly type: 'form'; readonly form: LoginForm }
  | {
      readonly type: 'established'
      readonly cookie: string
      readonly banner?: string
      /** Where the login ended: CONNECT goes there. */
      readonly host: string
      readonly port: number
    }
  | { readonly type: 'failed'; readonly error: CoreError }

/** Stock gateways tell clients apart by the beginning of this name. */
export const DEFAULT_USER_AGENT = 'OpenConnect VPN Agent (Twinbore)'

const defaults = {
  userAgent: DEFAULT_USER_AGENT,
  hasCertificate: false,
  version: 'v0.1',
  deviceId: 'linux-64',
} as const

function parseUrl(text: string, base: URL | undefined): URL | undefined {
  if (text === '') return undefined
  try {
    const url = new URL(text, base)
    return url.protocol === 'https:' && url.hostname !== '' && url.username === '' && url.password === ''
      ? url
      : undefined
  } catch {
    return undefined
  }
}

/** Host without the brackets of IPv6, and the port. */
function endpointOf(url: URL): { host: string; port: number } {
  return { host: url.hostname.replace(/^\[(.*)\]$/, '$1'), port: url.port === '' ? 443 : Number(url.port) }
}

/** A session token from a document, if it can be the value of a cookie. */
function usableToken(text: string | undefined): string | undefined {
  return text !== undefined && isCookieValue(text) ? text : undefined
}

/** Some fields have another name in the answer, and repeated entries of a new password are only for the user. */
function sentName(name: string): string | undefined {
  if (name === 'answer' || name === 'whichpin' || name === 'new_password') return 'password'
  return name === 'verify_pin' || name === 'verify_password' ? undefined : name
}
