import { createHash, X509Certificate } from 'node:crypto'
import { connect as connectTcp, isIP } from 'node:net'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { CoreError } from '../protocol/errors.ts'
import type { TlsAeadMaker } from '../tls/tls-crypto.ts'
import type { ControlClientOptions } from './control-client-types.ts'
import { TlsTap, taps, transportOf } from './tls-tap.ts'

/** How a client connects and whom it trusts. */
export type TlsDialOptions = Pick<
  ControlClientOptions,
  'serverPin' | 'ca' | 'certificate' | 'dangerouslySkipServerVerification'
> & { readonly timeoutMs: number }

/**
 * Opens a TLS connection to a gateway and verifies it before a byte of ours is sent: by the pin alone if there is one,
 * else by certificate chain and name. With `recordCipher` there is a tap below it. Rejects with `CoreError`.
 */
export function dialTls(
  host: string,
  port: number,
  options: TlsDialOptions,
  signal?: AbortSignal,
  recordCipher?: TlsAeadMaker,
): Promise<TLSSocket> {
  const { serverPin, ca, certificate, dangerouslySkipServerVerification = false } = options
  const verifiedByNode = serverPin === undefined && !dangerouslySkipServerVerification
  const settings: ConnectionOptions = {
    host,
    port,
    minVersion: 'TLSv1.2',
    rejectUnauthorized: verifiedByNode,
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(ca === undefined ? {} : { ca: typeof ca === 'string' ? ca : [...ca] }),
    ...(certificate ?? {}),
  }
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(new CoreError('ERR_ABORTED', 'the caller gave up', { cause: signal.reason }))
    const socket = recordCipher ? connectTapped(settings, recordCipher) : connect(settings)
    const fail = (error: CoreError) => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
      socket.destroy()
      reject(error)
    }
    const onAbort = () => fail(new CoreError('ERR_ABORTED', 'the caller gave up', { cause: signal?.reason }))
    const timer = setTimeout(
      () => fail(new CoreError('ERR_CONNECTION_FAILED', `no TLS connection to ${host} port ${port} in time`)),
      options.timeoutMs,
    )
    signal?.addEventListener('abort', onAbort)
    // Stays on: an error after `secureConnect` is noticed by whoever owns the socket through its close.
    socket.on('error', error => {
      const untrusted = verifiedByNode && Boolean(socket.authorizationError)
      fail(
        untrusted
          ? new CoreError('ERR_GATEWAY_NOT_TRUSTED', `the certificate of ${host} is not trusted: ${error.message}`, {
              cause: error,
            })
          : new CoreError('ERR_CONNECTION_FAILED', `no connection to ${host} port ${port}: ${error.message}`, {
              cause: error,
            }),
      )
    })
    socket.on('close', () => fail(new CoreError('ERR_CONNECTION_FAILED', `${host} port ${port} closed the connection`)))
    socket.once('secureConnect', () => {
      if (serverPin !== undefined && publicKeyPin(socket) !== serverPin) {
        return fail(new CoreError('ERR_GATEWAY_NOT_TRUSTED', `the public key of ${host} is not the pinned one`))
      }
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
      transportOf(socket).setNoDelay(true)
      return resolve(socket)
    })
  })
}

/** The host stays among the settings: the certificate is verified against it. */
function connectTapped(settings: ConnectionOptions, aead: TlsAeadMaker): TLSSocket {
  const raw = connectTcp({ host: settings.host!, port: settings.port! })
  const tap = new TlsTap(raw, { role: 'client', aead })
  const socket = connect({ ...settings, socket: tap })
  socket.on('keylog', line => tap.secrets.take(line))
  taps.set(socket, tap)
  return socket
}

/** `pin-sha256:` and the base64 SHA-256 of the public key of a gateway's certificate. */
export function publicKeyPin(socket: TLSSocket): string | undefined {
  const certificate = socket.getPeerX509Certificate()
  return certificate && certificatePin(certificate)
}

/** The same of a certificate. Takes PEM, DER, or what is parsed already. */
export function certificatePin(certificate: X509Certificate | string | Uint8Array): string {
  const parsed = certificate instanceof X509Certificate ? certificate : new X509Certificate(certificate)
  const publicKey = parsed.publicKey.export({ type: 'spki', format: 'der' })
  return `pin-sha256:${createHash('sha256').update(publicKey).digest('base64')}`
}
