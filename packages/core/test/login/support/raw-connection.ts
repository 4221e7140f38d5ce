import { connect, type TLSSocket } from 'node:tls'

export interface RawConnection {
  readonly socket: TLSSocket
  /** Waits until `mark` has come so many times; gives everything that has come. */
  until(mark: string, times?: number): Promise<string>
  /** Everything that has come until the end. */
  readonly closed: Promise<string>
}

/** A TLS connection that is written to and read from by hand. */
export async function dialGateway(port: number): Promise<RawConnection> {
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false })
  socket.on('error', () => {})
  let text = ''
  socket.on('data', chunk => (text += chunk))
  const closed = new Promise<string>(resolve => socket.on('close', () => resolve(text)))
  await new Promise<void>(resolve => socket.once('secureConnect', resolve))
  const until = (mark: string, times = 1) =>
    new Promise<string>((resolve, reject) => {
      const look = () => {
        if (text.split(mark).length <= times) return
        socket.off('data', look)
        resolve(text)
      }
      socket.on('data', look)
      closed.then(() => reject(new Error(`closed after: ${text}`)), reject)
      look()
    })
  return { socket, until, closed }
}

export const get = (path = '/', headers = '') => `GET ${path} HTTP/1.1\r\nHost: gw\r\n${headers}\r\n`
/** An old-style answer. */
export const post = (body: string, headers = '') =>
  `POST /auth HTTP/1.1\r\nHost: gw\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: ${Buffer.byteLength(body)}\r\n${headers}\r\n${body}`

export function deferred(): { promise: Promise<unknown>; resolve: (value: unknown) => void } {
  let resolve: (value: unknown) => void = () => {}
  const promise = new Promise(settle => {
    resolve = settle
  })
  return { promise, resolve }
}
