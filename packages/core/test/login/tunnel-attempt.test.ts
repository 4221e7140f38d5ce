import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { IpAddress, Prefix } from '../../src/address/index.ts'
import type { TunnelParameters, TunnelRequest } from '../../src/index.ts'
import {
  ControlClient,
  type ControlListenerOptions,
  type EstablishedStream,
  type TunnelAttempt,
} from '../../src/io/index.ts'
import { type CertificateAuthority, type IssuedCertificate, makeAuthority } from './support/certificates.ts'
import { startGateway, type TestGateway } from './support/gateway.ts'
import { dialGateway, post } from './support/raw-connection.ts'

let authority: CertificateAuthority
let server: IssuedCertificate
let gateway: TestGateway
const sockets: { destroy(): void }[] = []

beforeAll(() => {
  authority = makeAuthority()
  server = authority.issue('server', { commonName: 'gateway', addresses: ['127.0.0.1'], usage: 'serverAuth' })
})
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  await gateway.close()
})
afterAll(() => authority.remove())

const start = async (options: Partial<ControlListenerOptions> = {}) => {
  gateway = await startGateway({ tls: server, ...options })
}
const client = (options: object = {}) =>
  new ControlClient({ url: `127.0.0.1:${gateway.port}`, serverPin: server.pin, ...options })
const dial = async () => {
  const connection = await dialGateway(gateway.port)
  sockets.push(connection.socket)
  return connection
}

describe('CONNECT', () => {
  const parameters: TunnelParameters = {
    ipv4: { address: IpAddress.of('192.168.77.10'), netmask: IpAddress.of('255.255.255.0') },
    dns: { servers: [IpAddress.of('10.2.0.2')], searchDomains: [], splitDomains: [], tunnelAll: false },
    routes: {
      include: Array.from({ length: 3000 }, (_, i) => Prefix.parse(`10.${i >> 8}.${i & 255}.0/24`)!),
      exclude: [],
    },
    mtu: 1400,
    baseMtu: 1500,
    stream: { dpdSeconds: 30, keepaliveSeconds: 20, rekeySeconds: 0, rekeyMethod: 'none' },
    idleSeconds: 0,
    sessionSeconds: 3600,
    sessionRemainingSeconds: 3600,
    disconnectedSeconds: 300,
    clientBypass: false,
  }
  const request: TunnelRequest = {
    hostname: 'laptop',
    ipv4: true,
    ipv6: false,
    fullIpv6: true,
    addresses: [],
    streamEncodings: [],
    device: {},
  }
  /** Accepts every tunnel; gives the attempts and the streams. */
  const acceptAll = () => {
    const attempts: TunnelAttempt[] = []
    const streams: EstablishedStream[] = []
    gateway.listener.on('tunnel', attempt => {
      attempts.push(attempt)
      const stream = attempt.accept(parameters, [['X-Twinbore-Test', 'yes']])
      if (stream) {
        streams.push(stream)
        sockets.push(stream.socket)
      }
    })
    return { attempts, streams }
  }
  const connect = async (cookie = 'c'.repeat(43)) => {
    const tunnel = await client().connect({ cookie, request })
    sockets.push(tunnel.socket)
    return tunnel
  }

  test.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'gives both sides parameters, stream and the same key over %s',
    async version => {
      await start({ tls: { ...server, minVersion: version, maxVersion: version } })
      const { attempts, streams } = acceptAll()
      const tunnel = await connect()
      expect(attempts[0]).toMatchObject({
        cookie: 'c'.repeat(43),
        request: { hostname: 'laptop', ipv4: true, ipv6: false },
        remoteAddress: '127.0.0.1',
        localAddress: '127.0.0.1',
        localPort: gateway.port,
        tlsVersion: version,
      })
      expect(attempts[0]!.remotePort).toBe(tunnel.socket.localPort)
      expect(tunnel.parameters.routes.include).toHaveLength(3000)
      expect(tunnel.parameters.ipv4?.address.toString()).toBe('192.168.77.10')
      expect([...tunnel.pskKey]).toEqual([...attempts[0]!.pskKey])
      expect(tunnel.pskKey).toHaveLength(32)

      const [stream] = streams
      const received = new Promise(resolve => tunnel.socket.once('data', chunk => resolve(String(chunk))))
      tunnel.socket.resume()
      stream!.socket.write('from the gateway')
      expect(await received).toBe('from the gateway')
      const back = new Promise(resolve => stream!.socket.once('data', chunk => resolve(String(chunk))))
      stream!.socket.resume()
      tunnel.socket.write('from the client')
      expect(await back).toBe('from the client')
      expect(gateway.listener.stats()).toMatchObject({ openConnections: 0, tunnelsAsked: 1, tunnelsAccepted: 1 })
    },
  )

  test('bytes right behind the request are the beginning of the tunnel', async () => {
    await start()
    const { streams } = acceptAll()
    const { socket, until } = await dial()
    socket.write('CONNECT /CSCOSSLC/tunnel HTTP/1.1\r\nHost: gw\r\nCookie: webvpn=abc\r\n\r\nSTF')
    const head = await until('\r\n\r\n')
    expect(head.startsWith('HTTP/1.1 200 CONNECTED\r\nX-CSTP-Version: 1\r\n')).toBe(true)
    expect(head).toContain('X-Twinbore-Test: yes\r\n')
    expect(new TextDecoder().decode(streams[0]!.head)).toBe('STF')
  })

  test('a login and its tunnel may use one connection', async () => {
    await start()
    const { attempts } = acceptAll()
    const { socket, until } = await dial()
    socket.write(post('username=alice&password=correct%20horse'))
    const cookie = /webvpn=([\w-]{43})/.exec(await until('</config-auth>'))?.[1]
    socket.write(`CONNECT /CSCOSSLC/tunnel HTTP/1.1\r\nHost: gw\r\nCookie: webvpn=${cookie}\r\n\r\n`)
    await until('HTTP/1.1 200 CONNECTED')
    expect(attempts[0]!.cookie).toBe(cookie)
  })

  test('refusals have errors of their own', async () => {
    await start()
    const attempts: TunnelAttempt[] = []
    gateway.listener.on('tunnel', attempt => {
      attempts.push(attempt)
      if (attempts.length === 1) attempt.refuse(401, 'Cookie is not acceptable')
      else attempt.refuse(503, 'No addresses left')
    })
    await expect(connect()).rejects.toMatchObject({ code: 'ERR_COOKIE_REJECTED' })
    await expect(connect()).rejects.toMatchObject({
      code: 'ERR_TUNNEL_REFUSED',
      message: expect.stringContaining('No addresses left'),
    })
    expect(() => attempts[0]!.accept(parameters)).toThrow(TypeError)
    expect(() => attempts[0]!.refuse(503, 'x')).toThrow(TypeError)
  })

  test('headers that break out of their line are a mistake of the caller, and the attempt stays open', async () => {
    await start()
    gateway.listener.on('tunnel', attempt => {
      expect(() => attempt.accept(parameters, [['X-A', 'b\r\nX-C: d']])).toThrow(TypeError)
      expect(() => attempt.accept(parameters, [['X A', 'b']])).toThrow(TypeError)
      expect(() => attempt.refuse(503, 'a\nb')).toThrow(TypeError)
      attempt.refuse(503, 'enough')
    })
    await expect(connect()).rejects.toMatchObject({ message: expect.stringContaining('enough') })
  })

  test('a client that has gone meanwhile is not accepted', async () => {
    await start()
    const attempt = new Promise<TunnelAttempt>(resolve => gateway.listener.once('tunnel', resolve))
    const { socket, closed } = await dial()
    socket.write('CONNECT /CSCOSSLC/tunnel HTTP/1.1\r\nHost: gw\r\n\r\n')
    const waiting = await attempt
    socket.destroy()
    await closed
    while (gateway.listener.stats().openConnections > 0) await new Promise(setImmediate)
    expect(waiting.accept(parameters)).toBeUndefined()
  })

  test('an answer that is no HTTP, or none at all, has an error', async () => {
    await start()
    gateway.listener.on('tunnel', attempt => attempt.accept({ ...parameters, ipv4: undefined as never }))
    await expect(connect()).rejects.toMatchObject({ code: 'ERR_TUNNEL_PROTOCOL' })
    gateway.listener.removeAllListeners('tunnel')
    gateway.listener.on('tunnel', () => {})
    await expect(client({ replySeconds: 0.2 }).connect({ cookie: 'c', request })).rejects.toMatchObject({
      code: 'ERR_CONNECTION_FAILED',
    })
  })

  test('offers a datagram channel only to a client that can make its key', async () => {
    await start()
    const timers = { dpdSeconds: 10, keepaliveSeconds: 20, rekeySeconds: 0, rekeyMethod: 'none' } as const
    const datagram = { ...timers, port: 4443, appId: new Uint8Array(32).fill(7) }
    gateway.listener.on('tunnel', attempt => attempt.accept({ ...parameters, datagram }))
    const offered = async (cipherSuites: string[] | undefined) => {
      const wish = cipherSuites && { datagram: { cipherSuites, dtls12CipherSuites: [], encodings: [] } }
      const tunnel = await client().connect({ cookie: 'c', request: { ...request, ...wish } })
      sockets.push(tunnel.socket)
      return tunnel.parameters.datagram
    }
    expect(await offered(['AES128-SHA', 'PSK-NEGOTIATE'])).toEqual(datagram)
    expect(await offered(['AES128-SHA'])).toBeUndefined()
    expect(await offered(undefined)).toBeUndefined()
  })
})
