import { once } from 'node:events'
import { type AddressInfo, connect as connectTcp, createServer as createTcpServer, type Socket } from 'node:net'
import { connect as connectTls, createServer as createTlsServer, type SecureVersion, type TLSSocket } from 'node:tls'
import { nodeTlsCrypto } from '../../../src/io/index.ts'
import { TlsTap, taps } from '../../../src/io/tls-tap.ts'
import type { CertificateAuthority, IssuedCertificate } from '../../login/support/certificates.ts'

/** The lengths of the TLS records with application data that pass, from client to server. */
export class RecordCounter {
  readonly lengths: number[] = []
  private pending = Buffer.alloc(0)

  read(chunk: Buffer): void {
    this.pending = Buffer.concat([this.pending, chunk])
    while (this.pending.length >= 5) {
      const length = this.pending.readUInt16BE(3)
      if (this.pending.length < 5 + length) return
      if (this.pending[0] === 23) this.lengths.push(length)
      this.pending = this.pending.subarray(5 + length)
    }
  }
}

export interface Pair {
  readonly client: TLSSocket
  readonly server: TLSSocket
  readonly records: RecordCounter
  /** The wire between the two: paused, nothing gets through. */
  readonly wire: Socket
}

export interface PairOptions {
  readonly authority: CertificateAuthority
  readonly identity: IssuedCertificate
  readonly version?: SecureVersion
  readonly ciphers?: string
  /** Who has a tap below it. */
  readonly tapped?: readonly ('client' | 'server')[]
  /** Called in the reverse order of what is to be cleaned up. */
  readonly cleanups: (() => void)[]
}

const aead = nodeTlsCrypto.aead

/** A connected pair over loopback; both ends have exchanged a word, as HTTP does, and are paused. */
export async function connectPair(options: PairOptions): Promise<Pair> {
  const { authority, identity, version = 'TLSv1.3', ciphers, tapped = [], cleanups } = options
  const tlsServer = createTlsServer({
    cert: identity.cert,
    key: identity.key,
    minVersion: version,
    maxVersion: version,
    ...(ciphers === undefined ? {} : { ciphers }),
  })
  const serverTaps = new Map<TLSSocket, TlsTap>()
  let arriving: TlsTap | undefined
  tlsServer.on('keylog', line => arriving?.secrets.take(line))
  tlsServer.on('secureConnection', socket => {
    if (arriving) serverTaps.set(socket, arriving)
  })
  const front = createTcpServer(raw => {
    if (!tapped.includes('server')) {
      tlsServer.emit('connection', raw)
      return
    }
    const tap: TlsTap = new TlsTap(raw, {
      role: 'server',
      aead,
      around: deliver => {
        arriving = tap
        try {
          return deliver()
        } finally {
          arriving = undefined
        }
      },
    })
    tlsServer.emit('connection', tap)
  })
  const records = new RecordCounter()
  let wire: Socket | undefined
  const proxy = createTcpServer(inner => {
    wire = inner
    const outer = connectTcp((front.address() as AddressInfo).port, '127.0.0.1')
    inner.on('data', (chunk: Buffer) => records.read(chunk))
    inner.pipe(outer).pipe(inner)
    for (const socket of [inner, outer]) {
      socket.on('error', () => {})
      cleanups.push(() => socket.destroy())
    }
  })
  for (const server of [front, proxy]) {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    cleanups.push(() => server.close())
  }
  const connected = once(tlsServer, 'secureConnection') as Promise<[TLSSocket]>
  const { port } = proxy.address() as AddressInfo
  const settings = { host: '127.0.0.1', servername: 'localhost', ca: authority.ca }
  let client: TLSSocket
  if (tapped.includes('client')) {
    const tap = new TlsTap(connectTcp({ port, host: '127.0.0.1' }), { role: 'client', aead })
    client = connectTls({ ...settings, socket: tap })
    client.on('keylog', line => tap.secrets.take(line))
    taps.set(client, tap)
  } else client = connectTls({ ...settings, port })
  await once(client, 'secureConnect')
  const [server] = await connected
  const tap = serverTaps.get(server)
  if (tap) taps.set(server, tap)
  cleanups.push(() => client.destroy())
  cleanups.push(() => server.destroy())
  await say(client, server)
  await say(server, client)
  return { client, server, records, wire: wire! }
}

async function say(from: TLSSocket, to: TLSSocket): Promise<void> {
  from.write('hello')
  await once(to, 'data')
  to.pause()
}
