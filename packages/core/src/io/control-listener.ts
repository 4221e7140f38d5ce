import { constants } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https'
import { type AddressInfo, createServer as createNetServer, type Server as NetServer, type Socket } from 'node:net'
import type { SecureContextOptions, TLSSocket, TlsOptions } from 'node:tls'
import { EventEmitter } from 'eventemitter3'
import type { CredentialsAnswer, CredentialsCheck } from '../protocol/credentials.ts'
import { GatewayLogin, type GatewayLoginOutput } from '../protocol/gateway-login.ts'
import { type HttpReply, headerLines } from '../protocol/http-message.ts'
import {
  LOGIN_SECONDS,
  MAX_REQUEST_BODY_BYTES,
  MAX_REQUEST_HEAD_BYTES,
  MAX_REQUESTS_PER_CONNECTION,
  TLS_HANDSHAKE_SECONDS,
} from '../protocol/limits.ts'
import { refusalPage } from '../protocol/login-pages.ts'
import { TUNNEL_PATH } from '../protocol/tunnel-request.ts'
import { Counters } from '../runtime/counters.ts'
import type { Clock } from '../runtime/time.ts'
import type { TlsAeadMaker } from '../tls/tls-crypto.ts'
import { ConnectionLimits, type ControlConnection } from './connection-limits.ts'
import type {
  ControlListenerEvents,
  ControlListenerLimits,
  ControlListenerOptions,
  SessionGrant,
} from './control-listener-types.ts'
import { verifiedPeerCertificate } from './peer-certificate.ts'
import { systemClock } from './system-clock.ts'
import { systemRandom } from './system-random.ts'
import { TlsTap, taps } from './tls-tap.ts'
import { tunnelAttempt } from './tunnel-attempt.ts'

/**
 * The gateway's TCP port: TLS, the login dialogue over HTTP, and CONNECT.
 *
 *     TCP ──> ConnectionLimits ──> TLS ──> HTTP parser ──> GatewayLogin ──> checkCredentials, openSession
 *                                                    └──> CONNECT ──> event 'tunnel' ──> accept / refuse
 *
 * A plain TCP server stands in front, so that a connection beyond a limit costs no TLS state. One request at a time: a
 * second one before the reply closes the connection. After CONNECT the socket belongs to whoever accepts it, and this
 * listener neither counts nor closes it.
 */
export class ControlListener extends EventEmitter<ControlListenerEvents> {
  private readonly options: ControlListenerOptions
  private readonly clock: Clock
  private readonly login: GatewayLogin
  private readonly limits: ConnectionLimits
  private readonly front: NetServer
  private readonly server: HttpsServer
  private readonly counters: Counters<ControlListenerCounter> = new Counters(controlListenerCounters)
  private readonly exchanges = new Map<number, { response: ServerResponse; connection: ControlConnection }>()
  private readonly connectionOf = new WeakMap<Socket, ControlConnection>()
  private nextExchange = 1
  /** The connection whose records reach TLS at this moment: what TLS tells meanwhile is about it. */
  private arriving: { readonly connection: ControlConnection; readonly tap: TlsTap } | undefined
  private timer: NodeJS.Timeout | undefined
  private closing: Promise<void> | undefined
  private onEmpty: (() => void) | undefined

  /** @throws RangeError naming a wrong option, and whatever OpenSSL has to say about the certificate and key */
  constructor(options: ControlListenerOptions) {
    super()
    this.options = options
    this.clock = options.clock ?? systemClock
    this.login = new GatewayLogin({ ...options.login, random: options.random ?? systemRandom })
    const limits = { ...defaultControlListenerLimits, ...options.limits }
    this.limits = new ConnectionLimits({
      maxConnections: limits.maxConnections,
      maxPerAddress: limits.maxConnectionsPerAddress,
      seconds: limits.loginSeconds,
    })
    this.server = createHttpsServer({
      ...serverTlsOptions(options.tls, options.clientCa),
      requestCert: options.clientCa !== undefined,
      // The login dialogue answers for a missing or bad certificate, in words that the user gets to see.
      rejectUnauthorized: false,
      handshakeTimeout: limits.handshakeSeconds * 1000,
      maxHeaderSize: MAX_REQUEST_HEAD_BYTES,
      // People take their time between two forms; the connection's own deadline bounds it.
      keepAliveTimeout: limits.loginSeconds * 1000,
    })
    this.server.maxHeadersCount = 0
    // Only a tap needs the secrets of its connection; a listener that is not there costs nothing.
    if (options.recordCipher) this.server.on('keylog', line => this.arriving?.tap.secrets.take(line))
    this.server.on('secureConnection', socket => this.handleSecured(socket))
    this.server.on('tlsClientError', (_, socket) => socket.destroy())
    this.server.on('request', (request, response) => this.handleRequest(request, response))
    this.server.on('checkContinue', (_, response) => response.writeHead(417, { Connection: 'close' }).end())
    this.server.on('connect', (request, socket, head) => this.handleConnect(request, socket as TLSSocket, head))
    this.server.on('clientError', (error, socket) => this.handleParserError(error, socket))
    this.front = createNetServer({ noDelay: true }, socket => this.handleConnection(socket))
    // Errors of a listening socket are about single connections (no descriptor left for one); the port stays open.
    this.front.on('error', () => this.counters.add('acceptErrors'))
  }

  /** Binds the port; 0 takes a free one. Resolves with what was bound. */
  listen(endpoint: { readonly address: string; readonly port: number }): Promise<{ address: string; port: number }> {
    return new Promise((resolve, reject) => {
      this.front.once('error', reject)
      this.front.listen(endpoint.port, endpoint.address, () => {
        this.front.off('error', reject)
        const { address, port } = this.front.address() as AddressInfo
        resolve({ address, port })
      })
    })
  }

  /**
   * Takes a new certificate, and new client authorities, for connections from now on; those that stand keep theirs.
   * Whether clients are asked for a certificate at all stays as it was in the beginning.
   */
  setSecureContext(
    tls: SecureContextOptions,
    clientCa: string | readonly string[] | undefined = this.options.clientCa,
  ): void {
    this.server.setSecureContext(serverTlsOptions(tls, clientCa))
  }

  /** Counters since the start, connections without a tunnel, and unfinished logins. */
  stats(): Record<ControlListenerCounter, number> & { openConnections: number; unfinishedLogins: number } {
    return { ...this.counters.snapshot(), openConnections: this.limits.size, unfinishedLogins: this.login.size }
  }

  /**
   * Stops listening, lets requests that are being answered come to their reply for at most `graceSeconds`, and closes all
   * connections that have no tunnel. Repeated calls give the same promise.
   */
  close(graceSeconds = 5): Promise<void> {
    this.closing ??= new Promise<void>(resolve => {
      const grace = setTimeout(() => {
        for (const connection of this.limits.connections()) connection.raw.destroy()
      }, graceSeconds * 1000)
      // Its callback would wait for the tunnels too; the port itself is free at once.
      this.front.close()
      this.onEmpty = () => {
        clearTimeout(grace)
        clearTimeout(this.timer)
        resolve()
      }
      for (const connection of this.limits.connections()) if (connection.busy === 0) connection.raw.destroy()
      if (this.limits.size === 0) this.onEmpty()
    })
    return this.closing
  }

  private handleConnection(raw: Socket): void {
    this.counters.add('connections')
    const connection = this.closing ? undefined : this.limits.admit(raw)
    if (!connection) {
      this.counters.add('connectionsRefused')
      raw.destroy()
      return
    }
    // Without this listener a reset during the handshake would be an uncaught error.
    raw.on('error', () => raw.destroy())
    raw.on('close', () => {
      // A load balancer's probe opens and closes without a byte: not a failure.
      if (!connection.secured) this.counters.add(raw.bytesRead === 0 ? 'probes' : 'handshakesFailed')
      this.release(connection)
    })
    const { recordCipher } = this.options
    this.server.emit('connection', recordCipher ? this.tapped(raw, connection, recordCipher) : raw)
  }

  /** Apart from the listeners above, which live as long as the TCP connection: they would keep the tap, and TLS with it. */
  private tapped(raw: Socket, connection: ControlConnection, recordCipher: TlsAeadMaker): TlsTap {
    const tap = new TlsTap(raw, {
      role: 'server',
      aead: recordCipher,
      around: deliver => {
        const { arriving } = this
        this.arriving = { connection, tap }
        try {
          return deliver()
        } finally {
          this.arriving = arriving
        }
      },
    })
    return tap
  }

  private handleSecured(socket: TLSSocket): void {
    const { arriving } = this
    if (arriving) taps.set(socket, arriving.tap)
    const connection = arriving?.connection ?? this.limits.find(socket)
    if (!connection) {
      socket.destroy()
      return
    }
    connection.secured = true
    this.connectionOf.set(socket, connection)
    socket.on('error', () => socket.destroy())
  }

  private handleRequest(request: IncomingMessage, response: ServerResponse): void {
    const connection = this.connectionOf.get(request.socket)
    if (!connection || connection.awaitsReply || this.closing) {
      if (connection?.awaitsReply) this.counters.add('pipelined')
      request.socket.destroy()
      return
    }
    connection.awaitsReply = true
    connection.busy++
    const exchange = this.nextExchange++
    this.exchanges.set(exchange, { response, connection })
    response.sendDate = false
    response.on('close', () => {
      connection.busy--
      if (!this.exchanges.delete(exchange)) return
      connection.awaitsReply = false
      this.login.abandonExchange(exchange)
    })
    if (++connection.requests > MAX_REQUESTS_PER_CONNECTION) {
      this.respond(exchange, refusalPage(503, 'Too many requests on one connection'), true)
    } else if (Number(request.headers['content-length'] ?? 0) > MAX_REQUEST_BODY_BYTES) {
      this.respond(exchange, refusalPage(413, 'The request is too long'), true)
    } else this.collectBody(exchange, request, connection)
  }

  private collectBody(exchange: number, request: IncomingMessage, connection: ControlConnection): void {
    const chunks: Buffer[] = []
    let length = 0
    request.on('data', (chunk: Buffer) => {
      length += chunk.length
      if (length <= MAX_REQUEST_BODY_BYTES) chunks.push(chunk)
      else if (this.exchanges.has(exchange)) {
        this.respond(exchange, refusalPage(413, 'The request is too long'), true)
      }
    })
    request.on('end', () => {
      if (!this.exchanges.has(exchange)) return
      const peerCertificate = verifiedPeerCertificate(request.socket as TLSSocket)
      const { method = '', url = '', rawHeaders } = request
      this.login.handleRequest(
        exchange,
        {
          method,
          path: url,
          headers: headerLines(rawHeaders),
          body: Buffer.concat(chunks),
          remoteAddress: connection.remoteAddress,
          ...(peerCertificate ? { peerCertificate } : {}),
        },
        this.clock.now(),
      )
      this.drain()
    })
  }

  private handleConnect(request: IncomingMessage, socket: TLSSocket, head: Uint8Array): void {
    const connection = this.connectionOf.get(socket)
    if (!connection || connection.awaitsReply || this.closing) {
      if (connection?.awaitsReply) this.counters.add('pipelined')
      socket.destroy()
      return
    }
    socket.pause()
    if (request.url !== TUNNEL_PATH || ++connection.requests > MAX_REQUESTS_PER_CONNECTION) {
      socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
      socket.resume()
      return
    }
    connection.awaitsReply = true
    connection.busy++
    this.counters.add('tunnelsAsked')
    const attempt = tunnelAttempt(socket, head, headerLines(request.rawHeaders), connection, accepted => {
      connection.awaitsReply = false
      connection.busy--
      if (!accepted) return
      this.counters.add('tunnelsAccepted')
      this.release(connection)
    })
    if (this.listenerCount('tunnel') === 0) attempt.refuse(503, 'No tunnels are served')
    else this.emit('tunnel', attempt)
  }

  /** What the HTTP parser can't take: too long a head, or no HTTP at all. */
  private handleParserError(
    error: NodeJS.ErrnoException,
    socket: { writable: boolean; end(text: string): void; destroy(): void },
  ): void {
    // Also when a connection ends that was taken over.
    if (!socket.writable || error.code === 'ECONNRESET') {
      socket.destroy()
      return
    }
    this.counters.add('malformedRequests')
    const status = error.code === 'HPE_HEADER_OVERFLOW' ? '431 Request Header Fields Too Large' : '400 Bad Request'
    socket.end(`HTTP/1.1 ${status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`)
  }

  private drain(): void {
    for (let output = this.login.poll(); output; output = this.login.poll()) this.handleOutput(output)
    clearTimeout(this.timer)
    const { deadline } = this.login
    if (deadline === undefined) return
    this.timer = setTimeout(
      () => {
        this.login.handleDeadline(this.clock.now())
        this.drain()
      },
      Math.max(0, deadline - this.clock.now()),
    )
    this.timer.unref()
  }

  private handleOutput(output: GatewayLoginOutput): void {
    switch (output.type) {
      case 'respond':
        this.respond(output.exchange, output.reply, output.close)
        break
      case 'check-credentials':
        void this.checkCredentials(output.check)
        break
      case 'established':
        void this.openSession(output)
        break
      case 'rejected': {
        const { type: _, ...event } = output
        this.emit('login-rejected', event)
        break
      }
    }
  }

  private async checkCredentials(check: CredentialsCheck): Promise<void> {
    let answer: CredentialsAnswer = { verdict: 'unavailable' }
    try {
      answer = await this.options.checkCredentials(check)
    } catch {
      this.counters.add('checksFailed')
    }
    this.login.answerCheck(check.login, answer, this.clock.now())
    this.drain()
  }

  private async openSession(output: Extract<GatewayLoginOutput, { type: 'established' }>): Promise<void> {
    const { login, identity, remoteAddress, userAgent } = output
    let grant: SessionGrant = { refused: 'Login is not available at the moment' }
    try {
      grant = await this.options.openSession(identity, {
        remoteAddress,
        ...(userAgent === undefined ? {} : { userAgent }),
      })
    } catch {
      this.counters.add('checksFailed')
    }
    if ('cookie' in grant) {
      this.login.grant(login, grant.cookie, this.clock.now())
      this.emit('login-established', { identity, remoteAddress })
    } else this.login.refuse(login, grant.refused, this.clock.now())
    this.drain()
  }

  private respond(exchange: number, reply: HttpReply, close: boolean): void {
    const entry = this.exchanges.get(exchange)
    if (!entry) return
    this.exchanges.delete(exchange)
    const headers = reply.headers.flatMap(line => [...line])
    headers.push('Content-Length', String(reply.body.length))
    headers.push('Connection', close || this.closing ? 'close' : 'Keep-Alive')
    // The peer may have the reply, and ask on, before its end is told here.
    entry.connection.awaitsReply = false
    entry.response.writeHead(reply.status, headers).end(reply.body)
  }

  private release(connection: ControlConnection): void {
    this.limits.release(connection)
    if (this.closing && this.limits.size === 0) this.onEmpty?.()
  }
}

export const defaultControlListenerLimits: Required<ControlListenerLimits> = Object.freeze({
  maxConnections: 2048,
  maxConnectionsPerAddress: 128,
  handshakeSeconds: TLS_HANDSHAKE_SECONDS,
  loginSeconds: LOGIN_SECONDS,
})

export type ControlListenerCounter = (typeof controlListenerCounters)[number]

/** The names of all counters of `ControlListener`. */
export const controlListenerCounters = [
  'connections',
  'connectionsRefused',
  'acceptErrors',
  'probes',
  'handshakesFailed',
  'malformedRequests',
  'pipelined',
  'checksFailed',
  'tunnelsAsked',
  'tunnelsAccepted',
] as const

/** AEAD suites only, TLS 1.2 or later; what the user says in `tls` has precedence. */
function serverTlsOptions(tls: SecureContextOptions, clientCa: string | readonly string[] | undefined): TlsOptions {
  return {
    minVersion: 'TLSv1.2',
    ciphers: 'TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:ECDHE+AESGCM:ECDHE+CHACHA20',
    honorCipherOrder: true,
    ...tls,
    ...(clientCa === undefined
      ? {}
      : {
          ca: typeof clientCa === 'string' ? clientCa : [...clientCa],
          // A resumed session would carry the verdict on a certificate over from before a change of authorities.
          secureOptions: (tls.secureOptions ?? 0) | constants.SSL_OP_NO_TICKET,
        }),
  }
}
