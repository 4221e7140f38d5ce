import { createHmac } from 'node:crypto'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { needs } from '../../../../tests/lab/needs.ts'
import { ControlClient, type TunnelConnection } from '../../src/io/index.ts'
import { encodeStreamFrame, FrameType } from '../../src/protocol/frame.ts'
import type { TunnelRequest } from '../../src/protocol/tunnel-request.ts'
import { type CertificateAuthority, type IssuedCertificate, makeAuthority } from './support/certificates.ts'
import { type Ocserv, startOcserv } from './support/ocserv.ts'

const request: TunnelRequest = {
  hostname: 'laptop',
  ipv4: true,
  ipv6: true,
  fullIpv6: true,
  addresses: [],
  baseMtu: 1500,
  streamEncodings: [],
  datagram: { cipherSuites: ['PSK-NEGOTIATE'], dtls12CipherSuites: [], encodings: [] },
  device: {},
}

needs(
  'root',
  'openssl',
  'ocserv',
  'ocpasswd',
)('ControlClient against ocserv', () => {
  let authority: CertificateAuthority
  let server: IssuedCertificate
  let ocserv: Ocserv
  const tunnels: TunnelConnection[] = []

  beforeAll(() => {
    authority = makeAuthority()
    server = authority.issue('server', { commonName: 'gateway', addresses: ['127.0.0.1'], usage: 'serverAuth' })
  })
  afterEach(async () => {
    for (const tunnel of tunnels.splice(0)) tunnel.socket.destroy()
    await ocserv.stop()
  })
  afterAll(() => authority.remove())

  const client = (options = {}) =>
    new ControlClient({ url: `https://127.0.0.1:${ocserv.port}`, serverPin: server.pin, ...options })
  const connect = async (cookie: string, extra: Partial<TunnelRequest> = {}) => {
    const tunnel = await client().connect({ cookie, request: { ...request, ...extra } })
    tunnels.push(tunnel)
    return tunnel
  }

  test('logs in with user name and password in two forms and gets its tunnel parameters', async () => {
    const routes = Array.from({ length: 600 }, (_, i) => `route = 10.${20 + (i >> 8)}.${i & 255}.0/24\n`).join('')
    ocserv = await startOcserv(
      server,
      { alice: 'secret & <one>' },
      `${routes}route = fd20::/32\nno-route = 10.20.9.0/25\nsplit-dns = intra.corp.example\nbanner = "hello there"\n`,
    )
    const { cookie, banner } = await client().login({ username: 'alice', password: 'secret & <one>' })
    expect(banner).toBe('hello there')
    const { parameters, pskKey } = await connect(cookie)
    expect(parameters.ipv4?.address.toString()).toMatch(/^10\.213\.77\./)
    expect(parameters.ipv4?.netmask.toString()).toBe('255.255.255.0')
    expect(parameters.ipv6?.address.toString()).toMatch(/^fd13:7777::/)
    expect(parameters.routes.include).toHaveLength(601)
    expect(parameters.routes.exclude.map(String)).toEqual(['10.20.9.0/25'])
    expect(parameters.dns).toMatchObject({ searchDomains: ['corp.example'], splitDomains: ['intra.corp.example'] })
    expect(parameters.dns.servers.map(String)).toEqual(['10.213.78.2'])
    expect(parameters.mtu).toBeGreaterThan(1200)
    expect(parameters.stream).toMatchObject({ dpdSeconds: 25, keepaliveSeconds: 300 })
    expect(parameters.datagram).toMatchObject({ port: ocserv.port })
    expect(parameters.datagram?.appId).toHaveLength(32)
    expect(pskKey).toHaveLength(32)
  })

  test('the tunnel carries frames: a DPD request is answered with its payload', async () => {
    ocserv = await startOcserv(server, { alice: 'secret' }, '')
    const { cookie } = await client().login({ username: 'alice', password: 'secret' })
    const { socket, head } = await connect(cookie)
    const answer = Buffer.from(encodeStreamFrame(FrameType.dpdResponse, Uint8Array.of(1, 2, 3, 4)))
    let received: Buffer = Buffer.from(head)
    const answered = new Promise<void>(resolve =>
      socket.on('data', (chunk: Buffer) => {
        // Packets of the gateway's own kernel may come in between.
        received = Buffer.concat([received, chunk])
        if (received.includes(answer)) resolve()
      }),
    )
    socket.resume()
    socket.write(encodeStreamFrame(FrameType.dpdRequest, Uint8Array.of(1, 2, 3, 4)))
    await answered
  })

  test('comes back with its cookie and keeps its addresses', async () => {
    ocserv = await startOcserv(server, { alice: 'secret' }, '')
    const { cookie } = await client().login({ username: 'alice', password: 'secret' })
    const first = await connect(cookie)
    const { ipv4 } = first.parameters
    const second = await connect(cookie, { addresses: ipv4 ? [ipv4.address] : [] })
    expect(second.parameters.ipv4?.address.toString()).toBe(ipv4?.address.toString())
    expect([...second.parameters.datagram!.appId]).not.toEqual([...first.parameters.datagram!.appId])
  })

  test('a wrong password and a wrong cookie have errors of their own', async () => {
    ocserv = await startOcserv(server, { alice: 'secret' }, '')
    await expect(client().login({ username: 'alice', password: 'wrong' })).rejects.toMatchObject({
      code: 'ERR_LOGIN_REJECTED',
      message: expect.stringContaining('Login failed.'),
    })
    await expect(client().login({ username: 'alice' })).rejects.toMatchObject({ code: 'ERR_LOGIN_UNANSWERED' })
    await expect(connect(`${'A'.repeat(43)}=`)).rejects.toMatchObject({ code: 'ERR_COOKIE_REJECTED' })
  })

  test('chooses a group by its label', async () => {
    ocserv = await startOcserv(server, { alice: 'secret' }, 'select-group = staff\nselect-group = ops[Operations]\n')
    const { cookie } = await client().login({ username: 'alice', password: 'secret', group: 'Operations' })
    await connect(cookie)
    await expect(client().login({ username: 'alice', password: 'secret', group: 'nobody' })).rejects.toMatchObject({
      code: 'ERR_LOGIN_UNANSWERED',
      message: expect.stringContaining('group_list'),
    })
  })

  test('answers a one-time password in a third form', async () => {
    const secret = '3132333435363738393031323334353637383930'
    ocserv = await startOcserv(server, { olga: 'secret' }, 'auth = "plain[passwd=PASSWD,otp=DIRECTORY/users.oath]"\n', {
      'users.oath': `HOTP olga - ${secret}\n`,
    })
    const { cookie } = await client().login({ username: 'olga', password: 'secret', furtherSecrets: [hotp(secret, 0)] })
    await connect(cookie)
    const forms: string[] = []
    await client().login({
      username: 'olga',
      answerForm: async (form, filled) => {
        forms.push(`${form.message} ${Object.keys(filled)}`)
        return { password: /OTP/.test(form.message ?? '') ? hotp(secret, 1) : 'secret' }
      },
    })
    expect(forms).toEqual(['Please enter your password. ', 'Please enter your OTP password. '])
  })

  test('logs in with a client certificate, and says so when it has none', async () => {
    const certificate = authority.issue('alice', { commonName: 'alice', userId: 'alice', usage: 'clientAuth' })
    ocserv = await startOcserv(
      server,
      {},
      `auth = "certificate"\nca-cert = ${authority.caFile}\ncert-user-oid = 0.9.2342.19200300.100.1.1\n`,
    )
    const { cookie } = await client({ certificate: { cert: certificate.cert, key: certificate.key } }).login({})
    expect(cookie).not.toBe('')
    // ocserv ends the TLS connection with an alert, which a reset may overtake.
    await expect(client().login({})).rejects.toMatchObject({
      code: expect.stringMatching(/^ERR_(LOGIN_CERTIFICATE_REQUIRED|CONNECTION_FAILED)$/),
    })
  })

  test('trusts by pin or by authority, and nobody else', async () => {
    ocserv = await startOcserv(server, { alice: 'secret' }, '')
    const login = (options: object) =>
      new ControlClient({ url: `127.0.0.1:${ocserv.port}`, ...options }).login({
        username: 'alice',
        password: 'secret',
      })
    await login({ ca: authority.ca })
    await login({ dangerouslySkipServerVerification: true })
    const untrusted = { code: 'ERR_GATEWAY_NOT_TRUSTED' }
    await expect(login({})).rejects.toMatchObject(untrusted)
    await expect(login({ serverPin: `pin-sha256:${'A'.repeat(43)}=`, ca: authority.ca })).rejects.toMatchObject(
      untrusted,
    )
    const named = new ControlClient({ url: `localhost:${ocserv.port}`, ca: authority.ca })
    await expect(named.login({ username: 'alice', password: 'secret' })).rejects.toMatchObject(untrusted)
  })
})

/** RFC 4226 §5.3. */
function hotp(secretHex: string, counter: number): string {
  const message = Buffer.alloc(8)
  message.writeBigUInt64BE(BigInt(counter))
  const digest = createHmac('sha1', Buffer.from(secretHex, 'hex')).update(message).digest()
  const value = digest.readUInt32BE(digest[19]! & 15) & 0x7fffffff
  return String(value % 1_000_000).padStart(6, '0')
}
