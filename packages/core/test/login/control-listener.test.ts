import { connect as connectTcp } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { IpAddress } from '../../src/address/index.ts'
import type { TunnelRequest } from '../../src/index.ts'
import { ControlClient, type ControlListenerOptions, type TunnelAttempt } from '../../src/io/index.ts'
import { type CertificateAuthority, type IssuedCertificate, makeAuthority } from './support/certificates.ts'
import { startGateway, type TestGateway } from './support/gateway.ts'
import { deferred, dialGateway, get, post } from './support/raw-connection.ts'

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

  test('a connection that the system can not hand over is counted, and the others go on', async () => {
    await start()
    const port = Reflect.get(gateway.listener, 'front') as NodeJS.EventEmitter
    port.emit('error', Object.assign(new Error('accept EMFILE'), { code: 'EMFILE' }))
    expect(gateway.listener.stats()).toMatchObject({ acceptErrors: 1 })
    await client().login({ username: 'alice', password: 'correct horse' })
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
