// Login and CONNECT over one TLS connection, as stock clients do it, with as little work on the client's side as it takes:
// the load generator shares the machine with the gateway that is measured. The gateway's certificate is not looked at.
import { once } from 'node:events'
import { connect as connectTls, createSecureContext, type TLSSocket } from 'node:tls'
import {
  ClientLogin,
  type LoginForm,
  PSK_NEGOTIATE,
  readTunnelReply,
  TUNNEL_PATH,
  type TunnelParameters,
  writeTunnelRequest,
} from '@twinbore/core'

export interface LoadAccount {
  /** `https://address:port`. */
  readonly url: string
  readonly username: string
  readonly password: string
}

export interface LoadTunnel {
  readonly stream: TLSSocket
  readonly parameters: TunnelParameters
  /** The key of the datagram channel. */
  readonly pskKey: Uint8Array
}

interface Reply {
  readonly status: number
  readonly headers: [string, string][]
  readonly body: Uint8Array
}

const patienceMs = 20_000
// One for all: making one costs as much as a handshake.
const secureContext = createSecureContext({ minVersion: 'TLSv1.2' })

export async function openLoadTunnel({ url, username, password }: LoadAccount): Promise<LoadTunnel> {
  const { hostname, port } = new URL(url)
  const stream = connectTls({ host: hostname, port: Number(port || 443), secureContext, rejectUnauthorized: false })
  // Nobody waits longer than this for anything: the load comes to its end, with an error.
  stream.setTimeout(patienceMs, () => stream.destroy(new Error('the gateway did not answer')))
  await once(stream, 'secureConnect')
  stream.setNoDelay(true)
  const login = new ClientLogin({ url })
  login.start(0)
  for (let output = login.poll(); output; output = login.poll()) {
    if (output.type === 'failed') throw output.error
    if (output.type === 'form') login.answerForm(answers(output.form, username, password), 0)
    else if (output.type === 'request') {
      const { method, path, headers, body } = output
      stream.write(Buffer.concat([Buffer.from(head(`${method} ${path}`, headers)), body]))
      login.handleReply(await readReply(stream), 0)
    } else return await openTunnel(stream, output.cookie, `${output.host}:${output.port}`)
  }
  throw new Error('the login came to no end')
}

async function openTunnel(stream: TLSSocket, cookie: string, host: string): Promise<LoadTunnel> {
  const request = {
    hostname: 'load',
    ipv4: true,
    ipv6: true,
    fullIpv6: true,
    addresses: [],
    baseMtu: 1500,
    streamEncodings: [],
    device: {},
    datagram: { cipherSuites: [PSK_NEGOTIATE], dtls12CipherSuites: [], encodings: [] },
  }
  stream.write(head(`CONNECT ${TUNNEL_PATH}`, writeTunnelRequest(request, { host, cookie })))
  const { status, headers } = await readReply(stream)
  stream.setTimeout(0)
  const parameters = status === 200 ? readTunnelReply(headers) : undefined
  if (!parameters) throw new Error(`no tunnel: status ${status}`)
  // The typings want a context; the key is exported without one.
  const exporter = stream as unknown as { exportKeyingMaterial(length: number, label: string): Uint8Array }
  return { stream, parameters, pskKey: exporter.exportKeyingMaterial(32, 'EXPORTER-openconnect-psk') }
}

function answers(form: LoginForm, username: string, password: string): Record<string, string> {
  return Object.fromEntries(
    form.fields.map(({ name, type }) => [name, type === 'password' ? password : type === 'text' ? username : '']),
  )
}

function head(start: string, headers: readonly (readonly [string, string])[]): string {
  return `${start} HTTP/1.1\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`
}

/** Head and, if it has a length, body. What follows the reply to CONNECT is the tunnel's, which nobody reads. */
function readReply(stream: TLSSocket): Promise<Reply> {
  return new Promise((resolve, reject) => {
    let bytes = Buffer.alloc(0)
    const onData = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk])
      const end = bytes.indexOf('\r\n\r\n')
      if (end === -1) return
      const [first = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n')
      const headers = lines.map(line => line.split(/:\s*(.*)/s, 2) as [string, string])
      const length = Number(headers.find(([name]) => name.toLowerCase() === 'content-length')?.[1] ?? 0)
      if (bytes.length < end + 4 + length) return
      stream.off('data', onData)
      stream.off('close', onClose)
      resolve({ status: Number(first.split(' ')[1]), headers, body: bytes.subarray(end + 4, end + 4 + length) })
    }
    const onClose = (): void => reject(stream.errored ?? new Error('the gateway closed the connection'))
    stream.on('data', onData)
    stream.on('close', onClose)
    stream.on('error', () => {})
  })
}
