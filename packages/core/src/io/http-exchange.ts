import { Agent, type ClientRequestArgs, request as httpRequest } from 'node:http'
import type { Duplex } from 'node:stream'
import { CoreError } from '../protocol/errors.ts'
import { type HeaderLines, type HttpReply, headerLines } from '../protocol/http-message.ts'
import { MAX_REPLY_BODY_BYTES } from '../protocol/limits.ts'
import { dialTls, type TlsDialOptions } from './tls-dial.ts'

/** One request of the login dialogue. */
export interface OutgoingRequest {
  readonly host: string
  readonly port: number
  readonly method: string
  readonly path: string
  readonly headers: HeaderLines
  readonly body: Uint8Array
}

/** Keeps one verified TLS connection per gateway over the requests of a login. */
export class VerifiedAgent extends Agent {
  private readonly dial: TlsDialOptions
  private readonly signal: AbortSignal | undefined

  constructor(dial: TlsDialOptions, signal: AbortSignal | undefined) {
    super({ keepAlive: true, maxSockets: 1 })
    this.dial = dial
    this.signal = signal
  }

  override createConnection(
    options: ClientRequestArgs,
    done: (error: Error | null, socket?: Duplex) => void,
  ): undefined {
    dialTls(options.host ?? '', Number(options.port), this.dial, this.signal).then(
      socket => done(null, socket),
      (error: Error) => done(error),
    )
  }
}

/** Sends a request and reads the whole reply, of at most 256 KiB. Rejects with `CoreError`. */
export function exchange(
  agent: VerifiedAgent,
  outgoing: OutgoingRequest,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<HttpReply> {
  return new Promise((resolve, reject) => {
    const { host, port, method, path, headers, body } = outgoing
    const request = httpRequest({
      agent,
      host,
      port,
      method,
      path,
      headers: headers.flatMap(line => [...line]),
      maxHeaderSize: 65_536,
    })
    const settle = (result: HttpReply | CoreError) => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
      if (result instanceof CoreError) {
        request.destroy()
        reject(result)
      } else resolve(result)
    }
    const onAbort = () => settle(new CoreError('ERR_ABORTED', 'the caller gave up', { cause: signal?.reason }))
    const timer = setTimeout(
      () => settle(new CoreError('ERR_CONNECTION_FAILED', `${host} did not answer in time`)),
      timeoutMs,
    )
    signal?.addEventListener('abort', onAbort)
    if (signal?.aborted) onAbort()
    request.on('error', (error: NodeJS.ErrnoException) => {
      const wantsCertificate = error.code === 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'
      const code = wantsCertificate ? 'ERR_LOGIN_CERTIFICATE_REQUIRED' : 'ERR_CONNECTION_FAILED'
      const failure = new CoreError(code, `${host} port ${port}: ${error.message}`, { cause: error })
      settle(error instanceof CoreError ? error : failure)
    })
    request.on('response', response => {
      const chunks: Buffer[] = []
      let length = 0
      response.on('data', (chunk: Buffer) => {
        length += chunk.length
        if (length <= MAX_REPLY_BODY_BYTES) chunks.push(chunk)
        else settle(new CoreError('ERR_LOGIN_PROTOCOL', `the reply of ${host} is too long`))
      })
      response.on('error', error =>
        settle(new CoreError('ERR_CONNECTION_FAILED', `${host}: ${error.message}`, { cause: error })),
      )
      response.on('end', () =>
        settle({
          status: response.statusCode ?? 0,
          reason: response.statusMessage ?? '',
          headers: headerLines(response.rawHeaders),
          body: Buffer.concat(chunks),
        }),
      )
    })
    request.end(body)
  })
}
