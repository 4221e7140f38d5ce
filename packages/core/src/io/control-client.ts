import type { TLSSocket } from 'node:tls'
import { ClientLogin, type ClientLoginOutput, DEFAULT_USER_AGENT } from '../protocol/client-login.ts'
import { isCookieValue } from '../protocol/cookies.ts'
import { CoreError } from '../protocol/errors.ts'
import { FormFiller } from '../protocol/form-answers.ts'
import { headerText, headerValue } from '../protocol/http-message.ts'
import type { LoginForm } from '../protocol/login-form.ts'
import { type ReplyHead, ReplyHeadReader } from '../protocol/reply-head.ts'
import { readTunnelReply } from '../protocol/tunnel-reply.ts'
import { TUNNEL_PATH, writeTunnelRequest } from '../protocol/tunnel-request.ts'
import type {
  ConnectOptions,
  ControlClientOptions,
  LoginCredentials,
  LoginResult,
  TunnelConnection,
} from './control-client-types.ts'
import { exchange, VerifiedAgent } from './http-exchange.ts'
import { systemClock } from './system-clock.ts'
import { dialTls, type TlsDialOptions } from './tls-dial.ts'
import { transportOf } from './tls-tap.ts'
import { exportPskKey } from './tunnel-attempt.ts'

/**
 * The client's way to a tunnel: `login` once, then `connect` with the cookie, again and again as connections come and go.
 * Each call is on its own; nothing is kept between them but the options. Everything rejects with `CoreError`.
 */
export class ControlClient {
  private readonly options: ControlClientOptions
  private readonly url: string
  private readonly userAgent: string
  private readonly timeoutMs: number
  private readonly dial: TlsDialOptions

  /** @throws TypeError for a wrong URL or pin */
  constructor(options: ControlClientOptions) {
    this.options = options
    this.url = options.url.includes('://') ? options.url : `https://${options.url}`
    const parsed = URL.canParse(this.url) ? new URL(this.url) : undefined
    if (parsed?.protocol !== 'https:') throw new TypeError('url must be https://host[:port][/group]')
    if (options.serverPin !== undefined && !/^pin-sha256:[A-Za-z0-9+/]{43}=$/.test(options.serverPin)) {
      throw new TypeError('serverPin must be pin-sha256: and 44 characters of base64')
    }
    this.userAgent = options.userAgent ?? DEFAULT_USER_AGENT
    this.timeoutMs = (options.replySeconds ?? 30) * 1000
    this.dial = { ...options, timeoutMs: this.timeoutMs }
  }

  /** Goes through the login dialogue. */
  async login(credentials: LoginCredentials): Promise<LoginResult> {
    const { signal } = credentials
    const login = new ClientLogin({
      url: this.url,
      userAgent: this.userAgent,
      hasCertificate: this.options.certificate !== undefined,
    })
    const filler = new FormFiller({
      ...credentials,
      secrets: [
        ...(credentials.password === undefined ? [] : [credentials.password]),
        ...(credentials.furtherSecrets ?? []),
      ],
    })
    const agent = new VerifiedAgent(this.dial, signal)
    try {
      login.start(systemClock.now())
      for (let output = login.poll(); output; output = login.poll()) {
        if (output.type === 'established') return loginResult(output)
        if (output.type === 'failed') throw output.error
        if (output.type === 'form') {
          const answers = await answerForm(filler, output.form, credentials)
          login.answerForm(answers, systemClock.now())
        } else {
          const reply = await exchange(agent, output, this.timeoutMs, signal)
          login.handleReply(reply, systemClock.now())
        }
      }
      throw new CoreError('ERR_LOGIN_PROTOCOL', 'the login came to no end')
    } finally {
      agent.destroy()
    }
  }

  /** Opens a tunnel with a cookie: a fresh TLS connection, CONNECT, and the gateway's parameters. */
  async connect(options: ConnectOptions): Promise<TunnelConnection> {
    const { cookie, request, signal } = options
    if (!isCookieValue(cookie)) throw new TypeError('cookie must be the value of a cookie')
    const url = new URL(this.url)
    const host = options.host ?? url.hostname.replace(/^\[(.*)\]$/, '$1')
    const port = options.port ?? Number(url.port || 443)
    const { recordCipher } = this.options
    const socket = await dialTls(host, port, this.dial, signal, recordCipher)
    try {
      const authority = `${host.includes(':') ? `[${host}]` : host}:${port}`
      const headers = writeTunnelRequest({ userAgent: this.userAgent, ...request }, { host: authority, cookie })
      socket.write(
        `CONNECT ${TUNNEL_PATH} HTTP/1.1\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`,
      )
      const reply = await readReplyHead(socket, this.timeoutMs, signal)
      return tunnelConnection(socket, reply)
    } catch (error) {
      socket.destroy()
      throw error
    }
  }
}

function loginResult({ type: _, ...result }: Extract<ClientLoginOutput, { type: 'established' }>): LoginResult {
  return result
}

async function answerForm(
  filler: FormFiller,
  form: LoginForm,
  credentials: LoginCredentials,
): Promise<Readonly<Record<string, string>>> {
  const begun = filler.begun
  const { values, missing, repeated } = filler.fill(form)
  if (missing.length === 0) return values
  const said = headerText(form.error ?? form.message ?? '')
  if (credentials.answerForm) {
    const answers = await credentials.answerForm(form, values)
    if (answers) return { ...values, ...answers }
  }
  if (repeated || begun) throw new CoreError('ERR_LOGIN_REJECTED', `the gateway refused the login: ${said}`)
  if (credentials.answerForm) throw new CoreError('ERR_ABORTED', 'the caller gave up')
  const names = missing.map(field => `'${field.name}'`).join(', ')
  throw new CoreError('ERR_LOGIN_UNANSWERED', `the gateway asks for ${names}: ${said}`)
}

/** Leaves the socket paused, without listeners for data. */
function readReplyHead(socket: TLSSocket, timeoutMs: number, signal: AbortSignal | undefined): Promise<ReplyHead> {
  return new Promise((resolve, reject) => {
    const reader = new ReplyHeadReader()
    const settle = (result: ReplyHead | CoreError) => {
      clearTimeout(timer)
      socket.off('data', onData)
      socket.off('close', onClose)
      signal?.removeEventListener('abort', onAbort)
      socket.pause()
      if (result instanceof CoreError) reject(result)
      else resolve(result)
    }
    const onData = (chunk: Buffer) => {
      const result = reader.push(chunk)
      if (result === 'malformed')
        settle(new CoreError('ERR_TUNNEL_PROTOCOL', "the gateway's answer to CONNECT is malformed"))
      else if (result !== 'incomplete') settle(result)
    }
    const onClose = () => settle(new CoreError('ERR_CONNECTION_FAILED', 'the gateway closed the connection'))
    const onAbort = () => settle(new CoreError('ERR_ABORTED', 'the caller gave up', { cause: signal?.reason }))
    const timer = setTimeout(
      () => settle(new CoreError('ERR_CONNECTION_FAILED', 'the gateway did not answer CONNECT in time')),
      timeoutMs,
    )
    socket.on('data', onData)
    socket.on('close', onClose)
    signal?.addEventListener('abort', onAbort)
    if (signal?.aborted) onAbort()
  })
}

function tunnelConnection(socket: TLSSocket, reply: ReplyHead): TunnelConnection {
  if (reply.status !== 200) {
    const reason = headerText(headerValue(reply.headers, 'x-reason') ?? reply.reason).slice(0, 255)
    const code = reply.status === 401 ? 'ERR_COOKIE_REJECTED' : 'ERR_TUNNEL_REFUSED'
    throw new CoreError(code, `the gateway refused the tunnel: ${reply.status} ${reason}`)
  }
  const parameters = readTunnelReply(reply.headers)
  if (!parameters) throw new CoreError('ERR_TUNNEL_PROTOCOL', 'the gateway grants no usable address or no MTU')
  const transport = transportOf(socket)
  return {
    parameters,
    socket,
    head: reply.rest,
    pskKey: exportPskKey(socket),
    tlsVersion: socket.getProtocol() ?? '',
    cipher: socket.getCipher().standardName,
    remoteAddress: transport.remoteAddress ?? '',
    remotePort: transport.remotePort ?? 0,
    localAddress: transport.localAddress ?? '',
  }
}
