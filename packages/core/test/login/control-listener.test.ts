import { connect as connectTcp } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
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

/** A TLS connection that is written to and read from by hand. */
async function dial(): Promise<{
  socket: TLSSocket
  /** Waits until `mark` has come so many times; gives everything that has come. */
  until(mark: string, times?: number): Promise<string>
  closed: Promise<string>
}> {
  const socket = connectTls({ port: gateway.port, host: '127.0.0.1', rejectUnauthorized: false })
  sockets.push(socket)
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

const get = (path = '/', headers = '') => `GET ${path} HTTP/1.1\r\nHost: gw\r\n${headers}\r\n`
const post = (body: string, headers = '') =>
  `POST /auth HTTP/1.1\r\nHost: gw\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: ${Buffer.byteLength(body)}\r\n${headers}\r\n${body}`

describe('the login over HTTP', () => {
  test('answers a load balancer with a page, several times on one connection', async () => {
    await start()
    const { socket, until } = await dial()
    for (let i = 1; i <= 3; i++) {
      socket.write(get())
      await until('</html>', i)
    }
    expect(gateway.listener.stats()).toMatchObject({ connections: 1, openConnections: 1, malformedRequests: 0 })
  })

  test('our client logs in with a password', async () => {
    await start()
    const { cookie, port } = await client().login({ username: 'alice', password: 'correct horse' })
    expect(cookie).toMatch(/^[\w-]{43}$/)
    expect(port).toBe(gateway.port)
    expect(gateway.identities).toEqual([{ username: 'alice', method: 'password' }])
  })

  test('our client answers a second step from its secrets or by asking', async () => {
    await start()
    await client().login({ username: 'olga', password: 'first step', furtherSecrets: ['246810'] })
    const asked: (string | undefined)[] = []
    await client().login({
      username: 'olga',
      password: 'first step',
      answerForm: async form => {
        asked.push(form.error ?? form.message)
        return { password: asked.length === 1 ? '111111' : '246810' }
      },
    })
    expect(asked).toEqual(['Enter the code of your token.', 'Login failed.'])
  })

  test('our client says what is wrong', async () => {
    await start()
    await expect(client().login({ username: 'alice', password: 'wrong' })).rejects.toMatchObject({
      code: 'ERR_LOGIN_REJECTED',
      message: 'the gateway refused the login: Login failed.',
    })
    await expect(client().login({ username: 'olga', password: 'first step' })).rejects.toMatchObject({
      code: 'ERR_LOGIN_REJECTED',
    })
    await expect(client().login({ password: 'x' })).rejects.toMatchObject({ code: 'ERR_LOGIN_UNANSWERED' })
    await expect(client().login({ answerForm: async () => undefined })).rejects.toMatchObject({ code: 'ERR_ABORTED' })
    await expect(client({ serverPin: `pin-sha256:${'A'.repeat(43)}=` }).login({})).rejects.toMatchObject({
      code: 'ERR_GATEWAY_NOT_TRUSTED',
    })
    await expect(client({ serverPin: undefined }).login({})).rejects.toMatchObject({ code: 'ERR_GATEWAY_NOT_TRUSTED' })
    expect(gateway.registry.size).toBe(0)
  })

  test('a login can be called off', async () => {
    const controller = new AbortController()
    await start({
      checkCredentials: () => {
        controller.abort()
        return new Promise(() => {})
      },
    })
    const login = client().login({ username: 'alice', password: 'x', signal: controller.signal })
    await expect(login).rejects.toMatchObject({ code: 'ERR_ABORTED' })
    await expect(client().login({ signal: controller.signal })).rejects.toMatchObject({ code: 'ERR_ABORTED' })
  })

  test('a user store that fails is "not available", not a wrong password', async () => {
    await start({ checkCredentials: () => Promise.reject(new Error('no database')) })
    await expect(client().login({ username: 'alice', password: 'x' })).rejects.toMatchObject({
      code: 'ERR_LOGIN_REJECTED',
      message: expect.stringContaining('not available'),
    })
    expect(gateway.rejections).toEqual([])
    expect(gateway.listener.stats().checksFailed).toBe(1)
  })

  test('a gateway that takes no more sessions says so', async () => {
    await start({ openSession: () => ({ refused: 'The gateway is full' }) })
    await expect(client().login({ username: 'alice', password: 'correct horse' })).rejects.toMatchObject({
      message: expect.stringContaining('The gateway is full'),
    })
  })

  test.each([
    ['HEAD / HTTP/1.1', 404],
    ['PUT / HTTP/1.1', 404],
    ['GET /x HTTP/1.1', 404],
    ['OPTIONS * HTTP/1.1', 404],
    ['CONNECT /other HTTP/1.1', 404],
    ['CONNECT gw:443 HTTP/1.1', 404],
    ['CONNECT /CSCOSSLC/tunnel HTTP/1.1', 503],
    ['NONSENSE', 400],
    ['GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked', 400],
    ['POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5', 417],
  ])('%j is answered with %d', async (request, status) => {
    await start()
    const { socket, closed } = await dial()
    socket.write(`${request}\r\nHost: gw\r\n\r\n`)
    expect(await closed).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
  })
})

describe('limits of a connection', () => {
  test('a head beyond 16 KiB is 431', async () => {
    await start()
    const { socket, closed } = await dial()
    socket.write(get('/', `X-Long: ${'x'.repeat(17_000)}\r\n`))
    expect(await closed).toMatch(/^HTTP\/1.1 431 /)
    expect(gateway.listener.stats().malformedRequests).toBe(1)
  })

  test('a body beyond 64 KiB is 413, announced or not', async () => {
    await start()
    const announced = await dial()
    announced.socket.write(post('', 'X: y\r\n').replace('Content-Length: 0', 'Content-Length: 65537'))
    expect(await announced.closed).toMatch(/^HTTP\/1.1 413 /)
    const chunked = await dial()
    chunked.socket.write('POST / HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n')
    for (let i = 0; i < 5; i++) chunked.socket.write(`4000\r\n${'x'.repeat(0x4000)}\r\n`)
    expect(await chunked.closed).toMatch(/^HTTP\/1.1 413 /)
  })

  test('a body of 64 KiB is read', async () => {
    await start()
    const { socket, until } = await dial()
    socket.write(post(`username=alice&password=${'x'.repeat(10_000)}&pad=${'y'.repeat(16_000)}`))
    await until('Login failed.')
    expect(gateway.checks[0]!.secret).toHaveLength(10_000)
  })

  test('the seventeenth request is refused', async () => {
    await start()
    const { socket, until, closed } = await dial()
    for (let i = 1; i <= 16; i++) {
      socket.write(get())
      await until('</html>', i)
    }
    socket.write(get())
    expect(await closed).toMatch(/HTTP\/1.1 503 .*[\s\S]*Too many requests/)
  })

  test('a second request before the reply closes the connection', async () => {
    await start({ checkCredentials: () => new Promise(() => {}) })
    const inOne = await dial()
    inOne.socket.write(post('username=a&password=b') + get())
    expect(await inOne.closed).toBe('')
    const inTwo = await dial()
    inTwo.socket.write(post('username=a&password=b'), () => inTwo.socket.write(get()))
    expect(await inTwo.closed).toBe('')
    const connect = await dial()
    connect.socket.write(`${post('username=a&password=b')}CONNECT /CSCOSSLC/tunnel HTTP/1.1\r\n\r\n`)
    expect(await connect.closed).toBe('')
    expect(gateway.listener.stats()).toMatchObject({ pipelined: 3, openConnections: 0 })
  })

  test('a connection without a tunnel ends at its deadline', async () => {
    await start({ limits: { loginSeconds: 0.2 } })
    const { closed } = await dial()
    expect(await closed).toBe('')
    while (gateway.listener.stats().openConnections > 0) await new Promise(setImmediate)
  })

  test('one address has so many connections and no more', async () => {
    await start({ limits: { maxConnectionsPerAddress: 2 } })
    await dial()
    const second = await dial()
    const refused = connectTcp(gateway.port, '127.0.0.1')
    await new Promise(resolve => refused.on('close', resolve).on('error', () => {}))
    expect(gateway.listener.stats()).toMatchObject({ connectionsRefused: 1, openConnections: 2 })
    second.socket.destroy()
    await second.closed
    await client().login({ username: 'alice', password: 'correct horse' })
  })

  test('a probe is no failure, garbage is', async () => {
    await start()
    const finished = (bytes: string) =>
      new Promise<void>(resolve => {
        const socket = connectTcp(gateway.port, '127.0.0.1', () => socket.end(bytes))
        socket.on('close', () => resolve()).on('error', () => {})
        socket.resume()
      })
    await finished('')
    await finished('GET / HTTP/1.0\r\n\r\n')
    await client().login({ username: 'alice', password: 'correct horse' })
    expect(gateway.listener.stats()).toMatchObject({ probes: 1, handshakesFailed: 1 })
  })

  test('a client that goes away during the check leaves nothing behind', async () => {
    const waiting = deferred()
    const gone = deferred()
    await start({
      checkCredentials: async () => {
        waiting.resolve(undefined)
        await gone.promise
        return { verdict: 'accept' }
      },
    })
    const { socket, closed } = await dial()
    socket.write(post('username=alice&password=x'))
    await waiting.promise
    socket.destroy()
    await closed
    while (gateway.listener.stats().openConnections > 0) await new Promise(setImmediate)
    gone.resolve(undefined)
    while (gateway.listener.stats().unfinishedLogins > 0) await new Promise(setImmediate)
    expect(gateway.identities).toEqual([])
  })
})

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
})

describe('client certificates', () => {
  test('reach the login and the tunnel only when their authority is known', async () => {
    await start({ clientCa: authority.ca, login: { methods: ['certificate'] } })
    const alice = authority.issue('alice', {
      commonName: 'alice',
      userId: 'u1',
      emails: ['a@x.example'],
      usage: 'clientAuth',
    })
    const { cookie } = await client({ certificate: alice }).login({})
    expect(cookie).toHaveLength(43)
    expect(gateway.checks[0]!.certificate).toEqual({
      commonNames: ['alice'],
      userIds: ['u1'],
      emails: ['a@x.example'],
      fingerprint: expect.stringMatching(/^[0-9a-f]{64}$/),
    })
    await expect(client().login({})).rejects.toMatchObject({ code: 'ERR_LOGIN_CERTIFICATE_REQUIRED' })
    const foreign = makeAuthority()
    const stranger = foreign.issue('alice', { commonName: 'alice', usage: 'clientAuth' })
    foreign.remove()
    await expect(client({ certificate: stranger }).login({})).rejects.toMatchObject({ code: 'ERR_LOGIN_REJECTED' })

    const attempt = new Promise<TunnelAttempt>(resolve => gateway.listener.once('tunnel', resolve))
    const tunnel = client({ certificate: alice }).connect({
      cookie,
      request: { ipv4: true, ipv6: false, fullIpv6: false, addresses: [], streamEncodings: [], device: {} },
    })
    const { peerCertificate, refuse } = await attempt
    expect(peerCertificate?.commonNames).toEqual(['alice'])
    refuse(503, 'enough')
    await expect(tunnel).rejects.toMatchObject({ code: 'ERR_TUNNEL_REFUSED' })
  })
})

describe('operation', () => {
  test('takes a new certificate for new connections', async () => {
    await start()
    const renewed = authority.issue('renewed', { commonName: 'gateway', addresses: ['127.0.0.1'], usage: 'serverAuth' })
    const { socket, until } = await dial()
    gateway.listener.setSecureContext(renewed)
    socket.write(get())
    await until('It works.')
    const credentials = { username: 'alice', password: 'correct horse' }
    await client({ serverPin: renewed.pin }).login(credentials)
    await expect(client().login(credentials)).rejects.toMatchObject({ code: 'ERR_GATEWAY_NOT_TRUSTED' })
  })

  test('closing lets an answer finish, cuts idle connections and spares tunnels', async () => {
    const check = deferred()
    await start({
      checkCredentials: async () => {
        await check.promise
        return { verdict: 'accept' }
      },
    })
    gateway.listener.on('tunnel', attempt => {
      const stream = attempt.accept({
        ipv4: { address: IpAddress.of('10.0.0.1'), netmask: IpAddress.of('255.255.255.255') },
        dns: { servers: [], searchDomains: [], splitDomains: [], tunnelAll: false },
        routes: { include: [], exclude: [] },
        mtu: 1400,
        baseMtu: 1500,
        stream: { dpdSeconds: 0, keepaliveSeconds: 0, rekeySeconds: 0, rekeyMethod: 'none' },
        idleSeconds: 0,
        sessionSeconds: 0,
        sessionRemainingSeconds: 0,
        disconnectedSeconds: 0,
        clientBypass: false,
      })
      if (stream) sockets.push(stream.socket)
    })
    const request = { ipv4: true, ipv6: false, fullIpv6: false, addresses: [], streamEncodings: [], device: {} }
    const tunnel = await client().connect({ cookie: 'c', request })
    sockets.push(tunnel.socket)
    const idle = await dial()
    const busy = await dial()
    busy.socket.write(post('username=alice&password=x'))
    while (gateway.checks.length === 0) await new Promise(setImmediate)
    const closed = gateway.listener.close(30)
    expect(await idle.closed).toBe('')
    check.resolve(undefined)
    expect(await busy.closed).toMatch(
      /^HTTP\/1.1 200 OK[\s\S]*Connection: close[\s\S]*webvpn=|webvpn=[\s\S]*Connection: close/,
    )
    await closed
    expect(tunnel.socket.destroyed).toBe(false)
    await expect(client().login({})).rejects.toMatchObject({ code: 'ERR_CONNECTION_FAILED' })
  })

  test('a port that is taken is an error', async () => {
    await start()
    await expect(gateway.listener.listen({ address: '127.0.0.1', port: gateway.port })).rejects.toThrow()
  })

  test('wrong options of the client are mistakes of the caller', async () => {
    await start()
    expect(() => new ControlClient({ url: 'http://gw/' })).toThrow(TypeError)
    expect(() => new ControlClient({ url: 'gw', serverPin: 'pin-sha256:short' })).toThrow(TypeError)
    await expect(client().connect({ cookie: 'a b', request: {} as TunnelRequest })).rejects.toThrow(TypeError)
  })
})

function deferred(): { promise: Promise<unknown>; resolve: (value: unknown) => void } {
  let resolve: (value: unknown) => void = () => {}
  const promise = new Promise(settle => {
    resolve = settle
  })
  return { promise, resolve }
}
