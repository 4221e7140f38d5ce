import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { needs } from '../../../../tests/lab/needs.ts'
import { IpAddress, Prefix } from '../../src/address/index.ts'
import { encodeStreamFrame, FrameType, type TunnelParameters } from '../../src/index.ts'
import type { TunnelAttempt } from '../../src/io/index.ts'
import { systemClock } from '../../src/io/index.ts'
import { type CertificateAuthority, type IssuedCertificate, makeAuthority } from './support/certificates.ts'
import { startGateway, type TestGateway } from './support/gateway.ts'
import { type FinishedProgram, run } from './support/programs.ts'

needs('openssl', 'openconnect')('the stock openconnect client against ControlListener', () => {
  let authority: CertificateAuthority
  let server: IssuedCertificate
  let gateway: TestGateway

  beforeAll(() => {
    authority = makeAuthority()
    server = authority.issue('server', {
      commonName: 'localhost',
      dnsNames: ['localhost'],
      addresses: ['127.0.0.1'],
      usage: 'serverAuth',
    })
  })
  afterEach(() => gateway.close())
  afterAll(() => authority.remove())

  const start = async (options: Partial<Parameters<typeof startGateway>[0]> = {}) => {
    gateway = await startGateway({ tls: server, ...options })
  }
  const authenticate = (args: readonly string[], input: string): Promise<FinishedProgram> =>
    run('openconnect', ['--authenticate', '--passwd-on-stdin', ...args, `https://127.0.0.1:${gateway.port}`], input)
  const pinned = () => ['--servercert', server.pin]

  /** The cookie that openconnect prints must open a session of the registry. */
  const expectSession = (result: FinishedProgram, username: string) => {
    expect(result.stderr).not.toContain('fgets')
    expect(result.code).toBe(0)
    const cookie = /webvpn=([\w-]+)/.exec(result.stdout)?.[1]
    const connected = gateway.registry.connect(cookie, systemClock.now())
    expect('session' in connected && connected.session.identity.username).toBe(username)
  }

  test('logs in with a password, the certificate pinned', async () => {
    await start()
    expectSession(await authenticate([...pinned(), '--user', 'alice'], 'correct horse\n'), 'alice')
    expect(gateway.checks).toMatchObject([{ step: 'password', username: 'alice', remoteAddress: '127.0.0.1' }])
    expect(gateway.checks[0]!.userAgent).toMatch(/AnyConnect/)
  })

  test('logs in with a password, the authority trusted', async () => {
    await start()
    expectSession(await authenticate(['--cafile', authority.caFile, '--user', 'alice'], 'correct horse\n'), 'alice')
  })

  test.each([[[]], [['--no-xmlpost']]])('carries names and passwords beyond ASCII and XML (%j)', async args => {
    await start()
    expectSession(await authenticate([...pinned(), ...args, '--user', 'Zoë'], 'pässwörd & <more>\n'), 'Zoë')
  })

  test('shows why a wrong password fails, and opens no session', async () => {
    await start()
    const result = await authenticate([...pinned(), '--user', 'alice'], 'wrong\n')
    expect(result.code).not.toBe(0)
    expect(result.stderr).toContain('Login failed.')
    expect(result.stdout).not.toContain('COOKIE')
    expect(gateway.rejections).toEqual([{ reason: 'credentials', username: 'alice', remoteAddress: '127.0.0.1' }])
    expect(gateway.registry.size).toBe(0)
  })

  test.each([[[]], [['--no-xmlpost']]])('asks for a second step on a form of its own (%j)', async args => {
    await start()
    const result = await authenticate([...pinned(), ...args, '--user', 'olga'], 'first step\n246810\n')
    expect(result.stderr).toContain('Enter the code of your token.')
    expectSession(result, 'olga')
    expect(gateway.checks.map(({ step, secret }) => [step, secret])).toEqual([
      ['password', 'first step'],
      ['challenge', '246810'],
    ])
  })

  test('lets a token generator fill in the second step', async () => {
    const codes: (string | undefined)[] = []
    await start({
      checkCredentials: async check => {
        if (check.step === 'password') return { verdict: 'challenge', message: 'Code, please.' }
        codes.push(check.secret)
        return { verdict: 'accept' }
      },
    })
    const token = ['--token-mode=hotp', '--token-secret=0x3132333435363738393031323334353637383930,0']
    expectSession(await authenticate([...pinned(), ...token, '--user', 'olga'], 'first step\n'), 'olga')
    // RFC 4226 appendix D.
    expect(codes).toEqual(['755224'])
  })

  test('logs in with a wrong code first and the right one then', async () => {
    await start()
    const result = await authenticate([...pinned(), '--user', 'olga'], 'first step\n111111\n246810\n')
    expect(result.stderr).toContain('Login failed.')
    expectSession(result, 'olga')
  })

  test('speaks the older dialogue', async () => {
    await start()
    expectSession(await authenticate([...pinned(), '--no-xmlpost', '--user', 'alice'], 'correct horse\n'), 'alice')
  })

  test('lets the user choose a group by its label', async () => {
    await start({
      login: { methods: ['password'], groups: [{ value: 'staff' }, { value: 'ops', label: 'Operations' }] },
    })
    const result = await authenticate([...pinned(), '--user', 'alice', '--authgroup=Operations'], 'correct horse\n')
    expectSession(result, 'alice')
    expect(gateway.identities[0]!.group).toBe('ops')
  })

  describe('with client certificates', () => {
    const certificate = (name: string, commonName: string | string[]) => {
      const issued = authority.issue(name, {
        commonName,
        userId: 'u-alice',
        emails: ['a@example.com'],
        usage: 'clientAuth',
      })
      return ['--certificate', issued.certFile, '--sslkey', issued.keyFile]
    }

    test('a certificate alone is enough where it is configured so', async () => {
      await start({ clientCa: authority.ca, login: { methods: ['certificate'] } })
      expectSession(await authenticate([...pinned(), ...certificate('alice', 'alice')], 'unused\n'), 'alice')
      expect(gateway.identities).toMatchObject([{ method: 'certificate', certificateFingerprint: /^[0-9a-f]{64}$/ }])
    })

    test.each(['user-id', 'email'] as const)('the user name can come from %s', async certificateIdentity => {
      await start({ clientCa: authority.ca, login: { methods: ['certificate'], certificateIdentity } })
      const username = certificateIdentity === 'email' ? 'a@example.com' : 'u-alice'
      expectSession(await authenticate([...pinned(), ...certificate('alice', 'alice')], 'unused\n'), username)
    })

    test('no certificate, or one of a foreign authority, or one with two names is refused', async () => {
      await start({ clientCa: authority.ca, login: { methods: ['certificate'] } })
      const foreign = makeAuthority()
      const stranger = foreign.issue('alice', { commonName: 'alice', usage: 'clientAuth' })
      const attempts = [
        [],
        ['--certificate', stranger.certFile, '--sslkey', stranger.keyFile],
        certificate('two', ['alice', 'root']),
      ]
      for (const args of attempts) {
        const result = await authenticate([...pinned(), ...args], 'unused\n')
        expect(result.code).not.toBe(0)
        expect(result.stdout).not.toContain('COOKIE')
      }
      foreign.remove()
      expect(gateway.checks).toEqual([])
      expect(new Set(gateway.rejections.map(({ reason }) => reason))).toEqual(
        new Set(['no-certificate', 'certificate-identity']),
      )
    })

    test('certificate and password must name the same user', async () => {
      await start({ clientCa: authority.ca, login: { methods: ['certificate-and-password'] } })
      const alice = certificate('alice', 'alice')
      expectSession(await authenticate([...pinned(), ...alice, '--user', 'alice'], 'correct horse\n'), 'alice')
      const result = await authenticate([...pinned(), ...alice, '--user', 'olga'], 'first step\n')
      expect(result.code).not.toBe(0)
      expect(result.stderr).toContain('Login failed.')
      expect(gateway.checks).toHaveLength(1)
    })
  })

  test('brings CONNECT with every header to the tunnel event, and shows why it is refused', async () => {
    await start()
    const attempts: TunnelAttempt[] = []
    gateway.listener.on('tunnel', attempt => {
      attempts.push(attempt)
      attempt.refuse(attempts.length === 1 ? 503 : 401, 'No tunnels today')
    })
    const url = `https://127.0.0.1:${gateway.port}`
    const connect = ['--cookie', 'webvpn=abc', '--script', '/bin/true', '--non-inter', ...pinned()]
    const refused = await run('openconnect', [...connect, url])
    expect(refused.code).not.toBe(0)
    expect(refused.stderr).toContain('No tunnels today')
    expect((await run('openconnect', [...connect, url])).code).toBe(2)
    expect(attempts[0]).toMatchObject({
      cookie: 'abc',
      remoteAddress: '127.0.0.1',
      tlsVersion: 'TLSv1.3',
      request: { ipv4: true, ipv6: true, fullIpv6: true, addresses: [], streamEncodings: ['oc-lz4', 'lzs'] },
    })
    expect(attempts[0]!.pskKey).toHaveLength(32)
    expect(attempts[0]!.request.datagram!.cipherSuites).toContain('PSK-NEGOTIATE')
    expect(attempts[0]!.request.mtu).toBeGreaterThan(1200)
  })

  test('takes every parameter of the reply: addresses, 600 routes, names, texts', async () => {
    await start()
    const parameters: TunnelParameters = {
      ipv4: { address: IpAddress.of('192.168.77.7'), netmask: IpAddress.of('255.255.255.0') },
      ipv6: { address: IpAddress.of('fd77:77::7'), prefixLength: 64 },
      dns: {
        servers: [IpAddress.of('10.2.0.2'), IpAddress.of('fd02::2')],
        winsServers: [IpAddress.of('10.2.0.9')],
        searchDomains: ['corp.example', 'example.org'],
        splitDomains: ['intra.example'],
        tunnelAll: false,
      },
      routes: {
        include: Array.from({ length: 600 }, (_, i) => Prefix.parse(`10.${i >> 8}.${i & 255}.0/24`)!),
        exclude: [Prefix.parse('10.0.0.128/25')!],
      },
      mtu: 1340,
      baseMtu: 1500,
      stream: { dpdSeconds: 31, keepaliveSeconds: 19, rekeySeconds: 0, rekeyMethod: 'none' },
      idleSeconds: 1200,
      sessionSeconds: 3600,
      sessionRemainingSeconds: 1800,
      disconnectedSeconds: 300,
      clientBypass: false,
      banner: 'Grüße: 100%\nof it',
      proxy: { pacUrl: 'http://proxy.example/p.pac' },
    }
    gateway.listener.on('tunnel', attempt => {
      const stream = attempt.accept(parameters, [['X-CSTP-Custom', 'yes']])
      // The script sends one packet when it has printed its environment; then the gateway says goodbye.
      stream?.socket.once('data', () => {
        stream.socket.write(encodeStreamFrame(FrameType.disconnect, Uint8Array.of(1, ...Buffer.from('enough'))))
      })
      stream?.socket.resume()
    })
    const script = `bash -c 'env; printf E%099d 0 >&$VPNFD; cat <&$VPNFD >/dev/null'`
    const args = ['--passwd-on-stdin', '--user', 'alice', '--script-tun', '--script', script, ...pinned()]
    // The banner is handed to the script in the encoding of the client's locale, which may be none at all.
    const command = ['LC_ALL=C.UTF-8', 'openconnect', ...args, `https://127.0.0.1:${gateway.port}`]
    const result = await run('env', command, 'correct horse\n')
    expect(result.stderr + result.stdout).toContain('CSTP connected. DPD 31, Keepalive 19')
    expect(result.stderr + result.stdout).toContain("Received server disconnect: 01 'enough'")
    const environment = result.stdout.split('\n')
    for (const line of [
      'INTERNAL_IP4_ADDRESS=192.168.77.7',
      'INTERNAL_IP4_NETMASK=255.255.255.0',
      'INTERNAL_IP4_MTU=1340',
      'INTERNAL_IP4_DNS=10.2.0.2 fd02::2',
      'INTERNAL_IP4_NBNS=10.2.0.9',
      'INTERNAL_IP6_ADDRESS=fd77:77::7',
      'INTERNAL_IP6_NETMASK=fd77:77::7/64',
      'CISCO_DEF_DOMAIN=corp.example example.org',
      'CISCO_SPLIT_DNS=intra.example',
      'CISCO_SPLIT_INC=600',
      'CISCO_SPLIT_EXC=1',
      'CISCO_SPLIT_EXC_0_MASKLEN=25',
      // IPv6 stays outside: without a route of its own all of it would go through the tunnel.
      'CISCO_IPV6_SPLIT_INC=1',
      'CISCO_IPV6_SPLIT_INC_0_ADDR=fd77:77::7',
      'CISCO_PROXY_PAC=http://proxy.example/p.pac',
      'CISCO_BANNER=Grüße: 100%',
      'IDLE_TIMEOUT=1200',
      'X-CSTP-Custom=yes',
    ]) {
      expect(environment).toContain(line)
    }
    const routes = new Set(environment.flatMap(line => /^CISCO_SPLIT_INC_\d+_ADDR=(.*)$/.exec(line)?.[1] ?? []))
    expect(routes).toEqual(new Set(parameters.routes.include.map(({ address }) => address.toString())))
  })
})
