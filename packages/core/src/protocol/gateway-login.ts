import { Counters } from '../runtime/counters.ts'
import { type Machine, OutputQueue } from '../runtime/machine.ts'
import type { Random } from '../runtime/random.ts'
import { type Milliseconds, seconds } from '../runtime/time.ts'
import { LOGIN_COOKIE, requestCookie } from './cookies.ts'
import {
  type CredentialsAnswer,
  type CredentialsCheck,
  certificateUsername,
  isTokenText,
  isUsername,
  type LoginIdentity,
  type LoginMethod,
  type PeerCertificate,
} from './credentials.ts'
import { type GatewayLoginConfig, type GatewayLoginOptions, gatewayLoginConfig } from './gateway-login-options.ts'
import { type HttpReply, type HttpRequest, headerValue } from './http-message.ts'
import { MAX_FIELD_LENGTH, SESSION_COOKIE_BYTES, SESSION_COOKIE_LENGTH } from './limits.ts'
import { challengeForm, completeReply, formReply, frontPage, mainForm, refusalPage, tokenPage } from './login-pages.ts'
import { readFormBody, readLoginRequest } from './login-request.ts'
import { type PendingLogin, PendingLogins } from './pending-logins.ts'
import { base64url } from './text-codes.ts'

/**
 * The gateway's half of the login dialogue, for all clients of a gateway.
 *
 *     client                       GatewayLogin                              shell
 *     POST / init  ──────────────> form (nothing is remembered)
 *     POST /auth user, password ─> check-credentials ──────────────────────> user store
 *                                  <── answerCheck: accept ─────────────────
 *                                  established ────────────────────────────> SessionRegistry
 *     <── 200, cookie ───────────  <── grant(cookie) ───────────────────────
 *
 * `reject` gives the form again, with a login cookie that counts the tries; `challenge` gives a second form. A client
 * certificate that is enough goes to `check-credentials` on the very first request. Where tokens are taken, clients that know
 * how to send one are asked for it first, with 401; they may also send one in place of a password. The XML dialogue ("aggregate auth")
 * and the older one (`GET /`, form-encoded answer) lead through the same stages.
 *
 * A request is an `exchange`, a number of the caller; each gets exactly one `respond`, unless `abandonExchange` says that
 * its connection is gone. A client that has not answered anything costs no memory here.
 *
 * It refuses: paths other than `/` and `/auth`, methods other than GET and POST, documents beyond `limits.ts`, answers
 * while a check is under way, and more unfinished logins than configured. Every failure of credentials reads the same.
 */
export class GatewayLogin implements Machine<GatewayLoginOutput> {
  readonly counters: Counters<GatewayLoginCounter> = new Counters(gatewayLoginCounters)
  private readonly config: GatewayLoginConfig
  private readonly random: Random
  private readonly pending: PendingLogins
  private readonly outputs = new OutputQueue<GatewayLoginOutput>()

  /** @throws RangeError naming a wrong option */
  constructor(options: GatewayLoginOptions & { readonly random: Random }) {
    this.config = gatewayLoginConfig(options)
    this.random = options.random
    this.pending = new PendingLogins(this.config.maxPending, this.config.maxPendingPerAddress)
  }

  /** Unfinished logins. */
  get size(): number {
    return this.pending.size
  }

  /** Takes a whole request. */
  handleRequest(exchange: number, request: LoginHttpRequest, now: Milliseconds): void {
    this.handleDeadline(now)
    this.counters.add('requests')
    this.send(exchange, this.route(exchange, request, now))
  }

  /** The connection of an exchange is gone: nothing can be answered there. */
  abandonExchange(exchange: number): void {
    const login = this.pending.ofExchange(exchange)
    if (login) this.pending.setExchange(login, undefined)
  }

  /** The shell's answer to `check-credentials`. An answer that comes too late is ignored. */
  answerCheck(id: number, answer: CredentialsAnswer, now: Milliseconds): void {
    this.handleDeadline(now)
    const login = this.pending.get(id)
    if (login?.stage !== 'checking') return
    const { exchange } = login
    if (exchange === undefined) {
      // Nobody waits for the answer; a wrong password still counts for those who watch.
      if (answer.verdict === 'reject') this.rejected('credentials', login.remoteAddress, login.username)
      this.pending.remove(login)
    } else this.send(exchange, this.replyToCheck(login, answer))
  }

  /** The session exists: its cookie goes to the client. */
  grant(id: number, cookie: string, now: Milliseconds): void {
    this.handleDeadline(now)
    const login = this.pending.get(id)
    if (login?.stage !== 'granting') return
    this.counters.add('completed')
    this.finish(login, keep(completeReply(cookie, this.config.banner)))
  }

  /** No session for this login (a limit is reached, the gateway drains): 503 with the reason. */
  refuse(id: number, reason: string, now: Milliseconds): void {
    this.handleDeadline(now)
    const login = this.pending.get(id)
    if (login?.stage === 'granting') this.finish(login, close(refusalPage(503, reason)))
  }

  get deadline(): Milliseconds | undefined {
    return this.pending.oldest?.expiresAt
  }

  handleDeadline(now: Milliseconds): void {
    for (let login = this.pending.oldest; login && login.expiresAt <= now; login = this.pending.oldest) {
      this.counters.add('expired')
      this.finish(login, close(refusalPage(503, 'The login took too long')))
    }
  }

  poll(): GatewayLoginOutput | undefined {
    return this.outputs.take()
  }

  /** The reply to a request, or undefined when a check has to come first. */
  private route(exchange: number, request: LoginHttpRequest, now: Milliseconds): Reply | undefined {
    const path = request.path.split('?', 1)[0]
    if (path !== '/' && path !== '/auth') return this.refused(404, 'Not found')
    if (request.method === 'GET' || request.method === 'POST') {
      const token = bearerToken(request)
      if (token !== undefined && this.takesTokens) return this.takeToken(exchange, request, token, now)
    }
    if (request.method === 'GET') {
      return isVpnClient(request) ? this.begin(exchange, request, undefined, now) : keep(frontPage)
    }
    if (request.method !== 'POST') return this.refused(404, 'Not found')
    if (isFormEncoded(request)) {
      const fields = readFormBody(request.body)
      if (!fields) return this.refused(400, 'Malformed request')
      return this.takeAnswers(exchange, request, fields, undefined, now)
    }
    const document = readLoginRequest(request.body)
    if (!document) return this.refused(400, 'Malformed request')
    return document.type === 'init'
      ? this.begin(exchange, request, document.group, now)
      : this.takeAnswers(exchange, request, document.fields, document.group, now)
  }

  /** The first request of a dialogue, or one that chooses a group: a form, or a check of the certificate. */
  private begin(
    exchange: number,
    request: LoginHttpRequest,
    group: string | undefined,
    now: Milliseconds,
  ): Reply | undefined {
    const method = this.methodFor(request)
    if (!method) return this.withoutMethod(request)
    const earlier = this.earlierLogin(request)
    if (earlier?.stage === 'challenge') this.pending.remove(earlier)
    if (this.takesTokens && method !== 'certificate' && !earlier && offersTokens(request)) return keep(tokenPage(true))
    if (method !== 'certificate' || earlier?.stage === 'form') {
      return keep(formReply(mainForm(this.config, group === undefined ? {} : { group }), undefined))
    }
    const username = certificateUsername(request.peerCertificate!, this.config.certificateIdentity)!
    const login = this.open(exchange, request, { method, username, group }, now)
    return login ? this.check(login, undefined) : this.refused(503, 'Too many logins at the moment')
  }

  /** An answered form: a check, or the form again. */
  private takeAnswers(
    exchange: number,
    request: LoginHttpRequest,
    fields: ReadonlyMap<string, string>,
    groupSelect: string | undefined,
    now: Milliseconds,
  ): Reply | undefined {
    const earlier = this.earlierLogin(request)
    if (earlier?.stage === 'checking' || earlier?.stage === 'granting') {
      return this.refused(400, 'Another answer is under way')
    }
    const secret = fields.get('password') ?? ''
    if (earlier?.stage === 'challenge') {
      this.pending.setExchange(earlier, exchange)
      earlier.step = 'challenge'
      return this.check(earlier, fields.get('answer') ?? fields.get('secondary_password') ?? secret)
    }

    const isToken = this.takesTokens && isTokenText(secret)
    const method = isToken ? 'token' : this.formMethodFor(request)
    if (!method) return this.withoutMethod(request)
    const username = fields.get('username')?.trim() ?? ''
    const group = fields.get('group_list') ?? groupSelect
    const groupKnown = group === undefined || this.config.groups.some(({ value }) => value === group)
    if ((username === '' && !isToken) || secret === '' || !groupKnown) {
      const error = groupKnown ? 'Please enter both.' : 'There is no such group.'
      const form = mainForm(this.config, { error, ...(username === '' ? {} : { username }) })
      return keep(formReply(form, earlier?.handle))
    }
    const login = earlier ?? this.open(exchange, request, { method, username, group }, now)
    if (!login) return this.refused(503, 'Too many logins at the moment')
    this.pending.setExchange(login, exchange)
    const step = isToken ? 'token' : 'password'
    const tokenVia = isToken ? 'password' : undefined
    Object.assign(login, { step, tokenVia, method, username, group, certificate: request.peerCertificate })
    if (isToken) return this.check(login, secret)
    const mayBeRight = method !== 'token' && isUsername(username) && this.fitsCertificate(login)
    return mayBeRight ? this.check(login, secret) : this.reject(login)
  }

  /** A token that came as one. */
  private takeToken(exchange: number, request: LoginHttpRequest, token: string, now: Milliseconds): Reply | undefined {
    if (token.length > MAX_FIELD_LENGTH || !isTokenText(token)) {
      this.rejected('token', request.remoteAddress, undefined)
      return close(
        tokenPage(false, token.length > MAX_FIELD_LENGTH ? 'The token is too long' : 'The token is malformed'),
      )
    }
    const login = this.open(exchange, request, { method: 'token', username: '', group: undefined }, now)
    return login ? this.check(login, token) : this.refused(503, 'Too many logins at the moment')
  }

  private get takesTokens(): boolean {
    return this.config.methods.includes('token')
  }

  /** What an answered form is judged by: a password where there are any, else only tokens in place of one. */
  private formMethodFor(request: LoginHttpRequest): LoginMethod | undefined {
    const others = (method: LoginMethod) => method !== 'certificate' && method !== 'token'
    return this.methodFor(request, others) ?? this.methodFor(request, method => method === 'token')
  }

  /** The first configured method that the connection allows, of those that count. */
  private methodFor(request: LoginHttpRequest, counts = (_: LoginMethod) => true): LoginMethod | undefined {
    const { peerCertificate } = request
    const hasIdentity =
      peerCertificate !== undefined &&
      certificateUsername(peerCertificate, this.config.certificateIdentity) !== undefined
    return this.config.methods.find(
      method => counts(method) && (method === 'password' || method === 'token' || hasIdentity),
    )
  }

  private withoutMethod(request: LoginHttpRequest): Reply {
    const reason = request.peerCertificate ? 'certificate-identity' : 'no-certificate'
    this.rejected(reason, request.remoteAddress, undefined)
    return close(refusalPage(401, request.peerCertificate ? 'The certificate names no user' : 'No certificate'))
  }

  /** With certificate and password, "no identity" was refused before; here the names must agree. */
  private fitsCertificate(login: PendingLogin): boolean {
    if (login.method !== 'certificate-and-password' || !this.config.certificateMustMatch) return true
    const named = login.certificate && certificateUsername(login.certificate, this.config.certificateIdentity)
    return named !== undefined && named === login.username
  }

  private earlierLogin(request: LoginHttpRequest): PendingLogin | undefined {
    const handle = requestCookie(request.headers, LOGIN_COOKIE, SESSION_COOKIE_LENGTH)
    return handle?.length === SESSION_COOKIE_LENGTH ? this.pending.withHandle(handle) : undefined
  }

  private open(
    exchange: number,
    request: LoginHttpRequest,
    claim: Pick<PendingLogin, 'method' | 'username' | 'group'>,
    now: Milliseconds,
  ): PendingLogin | undefined {
    return this.pending.add({
      ...claim,
      remoteAddress: request.remoteAddress,
      userAgent: headerValue(request.headers, 'user-agent')?.slice(0, 256),
      expiresAt: now + seconds(this.config.loginSeconds),
      stage: 'checking',
      step: claim.method === 'certificate' ? 'certificate' : claim.method === 'token' ? 'token' : 'password',
      tokenVia: claim.method === 'token' ? 'bearer' : undefined,
      exchange,
      certificate: request.peerCertificate,
    })
  }

  private check(login: PendingLogin, secret: string | undefined): undefined {
    login.stage = 'checking'
    const { id, step, tokenVia, username, group, certificate, remoteAddress, userAgent, challenge } = login
    this.outputs.push({
      type: 'check-credentials',
      check: {
        login: id,
        step,
        username,
        remoteAddress,
        ...(secret === undefined ? {} : { secret }),
        ...(tokenVia === undefined ? {} : { tokenVia }),
        ...(group === undefined ? {} : { group }),
        ...(challenge === undefined ? {} : { state: challenge.state }),
        ...(certificate === undefined ? {} : { certificate }),
        ...(userAgent === undefined ? {} : { userAgent }),
      },
    })
    return undefined
  }

  private replyToCheck(login: PendingLogin, answer: CredentialsAnswer): Reply | undefined {
    switch (answer.verdict) {
      case 'accept':
        return this.accept(login, answer)
      case 'challenge':
        login.stage = 'challenge'
        login.challenge = { message: answer.message, label: answer.label ?? 'Code:', state: answer.state }
        return this.form(login, undefined)
      case 'reject':
        return login.step === 'token' ? this.rejectToken(login, answer.text) : this.reject(login)
      case 'unavailable':
        this.counters.add('unavailable')
        return this.ended(login, 503, 'Login is not available at the moment')
    }
  }

  private accept(login: PendingLogin, answer: CredentialsAnswer & { readonly verdict: 'accept' }): undefined {
    login.stage = 'granting'
    const { id, method, certificate, remoteAddress, userAgent } = login
    const { username = login.username, group = login.group, details } = answer
    const identity: LoginIdentity = {
      username,
      method,
      ...(group === undefined ? {} : { group }),
      ...(certificate === undefined ? {} : { certificateFingerprint: certificate.fingerprint }),
      ...(details === undefined ? {} : { details }),
    }
    this.outputs.push({
      type: 'established',
      login: id,
      identity,
      remoteAddress,
      ...(userAgent === undefined ? {} : { userAgent }),
    })
    return undefined
  }

  private reject(login: PendingLogin, text = 'Login failed.'): Reply {
    login.tries++
    this.rejected('credentials', login.remoteAddress, login.username)
    if (login.tries >= this.config.maxTries) {
      this.rejected('too-many-tries', login.remoteAddress, login.username)
      return this.ended(login, 401, 'Authentication failed')
    }
    const byCertificate = login.step === 'certificate'
    if (byCertificate && this.config.methods.every(method => method === 'certificate')) {
      return this.ended(login, 401, 'Authentication failed')
    }
    login.stage = login.step === 'challenge' ? 'challenge' : 'form'
    return this.form(login, byCertificate ? undefined : text)
  }

  /** A token that is not taken is not tried twice; one in place of a password is a try like others. */
  private rejectToken(login: PendingLogin, text = 'The token is not accepted'): Reply {
    if (login.tokenVia !== 'bearer') return this.reject(login, text)
    this.rejected('token', login.remoteAddress, undefined)
    this.pending.remove(login)
    return close(tokenPage(false, text))
  }

  /** The form that belongs to the stage; the login waits for its client from now on. */
  private form(login: PendingLogin, error: string | undefined): Reply {
    if (login.handle === undefined) {
      this.pending.setHandle(login, base64url(this.random.fill(new Uint8Array(SESSION_COOKIE_BYTES))))
    }
    this.pending.setExchange(login, undefined)
    if (login.stage === 'challenge' && login.challenge) {
      return keep(
        formReply(challengeForm(this.config, login.challenge.message, login.challenge.label, error), login.handle),
      )
    }
    const { group } = login
    const state = { ...(group === undefined ? {} : { group }), ...(error === undefined ? {} : { error }) }
    return keep(formReply(mainForm(this.config, state), login.handle))
  }

  private ended(login: PendingLogin, status: number, reason: string): Reply {
    this.pending.remove(login)
    return close(refusalPage(status, reason))
  }

  private finish(login: PendingLogin, reply: Reply): void {
    const { exchange } = login
    this.pending.remove(login)
    if (exchange !== undefined) this.send(exchange, reply)
  }

  private refused(status: number, reason: string): Reply {
    this.counters.add('refusedRequests')
    return close(refusalPage(status, reason))
  }

  private rejected(reason: LoginRejection, remoteAddress: string, username: string | undefined): void {
    this.counters.add('rejected')
    this.outputs.push({ type: 'rejected', reason, remoteAddress, ...(username === undefined ? {} : { username }) })
  }

  private send(exchange: number, answer: Reply | undefined): void {
    if (answer) this.outputs.push({ type: 'respond', exchange, ...answer })
  }
}

/** A reply, and whether the connection ends behind it. */
interface Reply {
  readonly reply: HttpReply
  readonly close: boolean
}

function keep(reply: HttpReply): Reply {
  return { reply, close: false }
}

function close(reply: HttpReply): Reply {
  return { reply, close: true }
}

/** A request as the machine takes it. */
export interface LoginHttpRequest extends HttpRequest {
  readonly remoteAddress: string
  /** Only if TLS has verified it against the client authorities. */
  readonly peerCertificate?: PeerCertificate
}

export type GatewayLoginOutput =
  /** `close`: the connection is to be closed behind the reply. */
  | { readonly type: 'respond'; readonly exchange: number; readonly reply: HttpReply; readonly close: boolean }
  /** Answer with `answerCheck`. */
  | { readonly type: 'check-credentials'; readonly check: CredentialsCheck }
  /** Answer with `grant` or `refuse`. */
  | {
      readonly type: 'established'
      readonly login: number
      readonly identity: LoginIdentity
      readonly remoteAddress: string
      readonly userAgent?: string
    }
  /** For logs, and for whoever counts failures of an address or a user. */
  | {
      readonly type: 'rejected'
      readonly reason: LoginRejection
      readonly remoteAddress: string
      readonly username?: string
    }

export type LoginRejection = 'credentials' | 'no-certificate' | 'certificate-identity' | 'too-many-tries' | 'token'

export type GatewayLoginCounter = (typeof gatewayLoginCounters)[number]

/** The names of all counters of `GatewayLogin`. */
export const gatewayLoginCounters = [
  'requests',
  'refusedRequests',
  'rejected',
  'unavailable',
  'expired',
  'completed',
] as const

/** VPN clients say so in one way or another; browsers and probes don't. */
function isVpnClient(request: HttpRequest): boolean {
  return (
    headerValue(request.headers, 'x-transcend-version') !== undefined ||
    headerValue(request.headers, 'x-aggregate-auth') !== undefined ||
    /anyconnect|openconnect/i.test(headerValue(request.headers, 'user-agent') ?? '')
  )
}

/** The token of a request (RFC 6750 §2.1); of some clients the word and the token are joined by `=`. */
function bearerToken(request: HttpRequest): string | undefined {
  return /^bearer[ =] *(\S+) *$/i.exec(headerValue(request.headers, 'authorization') ?? '')?.[1]
}

/** Clients say so, until they are told to fall back on forms. */
function offersTokens(request: HttpRequest): boolean {
  return headerValue(request.headers, 'x-support-http-auth') === 'true'
}

function isFormEncoded(request: HttpRequest): boolean {
  return /^application\/x-www-form-urlencoded\b/i.test(headerValue(request.headers, 'content-type') ?? '')
}
