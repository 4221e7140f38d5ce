import { headerValues } from '../../../src/index.ts'
import type { CredentialsCheck } from '../../../src/protocol/credentials.ts'
import { GatewayLogin, type GatewayLoginOutput, type LoginHttpRequest } from '../../../src/protocol/gateway-login.ts'
import type { GatewayLoginOptions } from '../../../src/protocol/gateway-login-options.ts'
import type { HeaderLines, HttpReply } from '../../../src/protocol/http-message.ts'
import { type LoginReplyDocument, readLoginReply } from '../../../src/protocol/login-reply.ts'
import { writeLoginRequest } from '../../../src/protocol/login-request.ts'
import { seededRandom } from '../../../src/runtime/index.ts'

export interface TestReply extends HttpReply {
  readonly close: boolean
  readonly document: LoginReplyDocument | undefined
  /** Cookies that it sets, by name. */
  readonly cookies: Readonly<Record<string, string>>
}

/** A `GatewayLogin` with a time of its own, whose checks and sessions the test answers. */
export class LoginWorld {
  readonly login: GatewayLogin
  now = 0
  readonly checks: CredentialsCheck[] = []
  readonly rejections: { reason: string; username?: string; remoteAddress: string }[] = []
  readonly established: Extract<GatewayLoginOutput, { type: 'established' }>[] = []
  readonly replies = new Map<number, TestReply>()
  private nextExchange = 1

  constructor(options: Partial<GatewayLoginOptions> = {}) {
    this.login = new GatewayLogin({ methods: ['password'], ...options, random: seededRandom(11) })
  }

  /** Sends a request; gives its exchange. */
  send(request: Partial<LoginHttpRequest>): number {
    const exchange = this.nextExchange++
    const empty = { method: 'POST', path: '/', headers: [], body: new Uint8Array(0), remoteAddress: '192.0.2.1' }
    this.login.handleRequest(exchange, { ...empty, ...request }, this.now)
    this.drain()
    return exchange
  }

  /** Sends a request that is answered at once. */
  ask(request: Partial<LoginHttpRequest>): TestReply {
    return this.reply(this.send(request))
  }

  reply(exchange: number): TestReply {
    const reply = this.replies.get(exchange)
    if (!reply) throw new Error(`no reply on exchange ${exchange}`)
    return reply
  }

  /** Answers the last check, and grants the session if it comes to one. */
  answer(answer: Parameters<GatewayLogin['answerCheck']>[1], cookie = 'C'.repeat(43)): void {
    this.login.answerCheck(this.checks.at(-1)!.login, answer, this.now)
    this.drain()
    const granted = this.established.at(-1)
    if (answer.verdict === 'accept' && granted) this.login.grant(granted.login, cookie, this.now)
    this.drain()
  }

  advance(ms: number): void {
    this.now += ms
    this.login.handleDeadline(this.now)
    this.drain()
  }

  drain(): void {
    for (let output = this.login.poll(); output; output = this.login.poll()) {
      if (output.type === 'check-credentials') this.checks.push(output.check)
      else if (output.type === 'established') this.established.push(output)
      else if (output.type === 'rejected') {
        const { type: _, ...rejection } = output
        this.rejections.push(rejection)
      } else {
        if (this.replies.has(output.exchange)) throw new Error(`two replies on exchange ${output.exchange}`)
        const cookies = headerValues(output.reply.headers, 'set-cookie').map(line => /^([^=]+)=([^;]*)/.exec(line)!)
        this.replies.set(output.exchange, {
          ...output.reply,
          close: output.close,
          document: readLoginReply(output.reply.body),
          cookies: Object.fromEntries(cookies.map(([, name, value]) => [name, value])),
        })
      }
    }
  }
}

export const vpnClient: HeaderLines = [
  ['User-Agent', 'Open AnyConnect VPN Agent v9.01-3'],
  ['X-Aggregate-Auth', '1'],
]

const client = { version: 'v9.01', deviceId: 'linux-64' }

/** The first document of a client. */
export function init(group?: string): Partial<LoginHttpRequest> {
  const body = writeLoginRequest(
    { type: 'init', certificateFailed: false, ...(group === undefined ? {} : { group }) },
    client,
  )
  return { headers: vpnClient, body }
}

/** An answered form, with the cookie of an earlier reply. */
export function answers(fields: Readonly<Record<string, string>>, earlier?: TestReply): Partial<LoginHttpRequest> {
  const handle = earlier?.cookies.webvpncontext
  return {
    path: '/auth',
    headers: [...vpnClient, ...(handle ? [['Cookie', `webvpncontext=${handle}`] as const] : [])],
    body: writeLoginRequest({ type: 'auth-reply', fields: new Map(Object.entries(fields)) }, client),
  }
}
