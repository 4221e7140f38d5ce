// Against the tools of OpenSSL and GnuTLS, in both roles, over loopback: every suite, with and without cookies, data both
// ways, exporters, renegotiation refused, wrong keys.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { needs } from '../../../tests/lab/needs.ts'
import type { CipherSuiteName, CookiePolicy, Negotiated } from '../src/index.ts'
import { type ConnectOptions, connect, createServer, type DtlsServerShell, type DtlsSocket } from '../src/io/index.ts'
import { boundSocket, freePort, PeerProgram } from './peer-program.ts'

const keyText = '8c7e0f1a'.repeat(8)
const key = Uint8Array.from(Buffer.from(keyText, 'hex'))
const label = 'EXPORTER-twinbore-test'
const scratch = mkdtempSync(join(tmpdir(), 'dtls-interop-'))
const pskFile = join(scratch, 'psk.txt')
writeFileSync(pskFile, `psk:${keyText}\n`)

const suites: readonly { name: CipherSuiteName; openssl: string; gnutls: string }[] = [
  { name: 'TLS_PSK_WITH_AES_128_GCM_SHA256', openssl: 'PSK-AES128-GCM-SHA256', gnutls: '+AES-128-GCM' },
  { name: 'TLS_PSK_WITH_AES_256_GCM_SHA384', openssl: 'PSK-AES256-GCM-SHA384', gnutls: '+AES-256-GCM' },
  { name: 'TLS_PSK_WITH_CHACHA20_POLY1305_SHA256', openssl: 'PSK-CHACHA20-POLY1305', gnutls: '+CHACHA20-POLY1305' },
]

const programs: PeerProgram[] = []
const servers: DtlsServerShell[] = []

afterEach(async () => {
  for (const server of servers.splice(0)) server.close()
  for (const program of programs.splice(0)) await program.stop()
})
afterAll(() => rmSync(scratch, { recursive: true }))

needs(
  'openssl',
  'gnutls-cli',
  'gnutls-serv',
)('DTLS with foreign programs', () => {
  describe('our client with openssl s_server', () => {
    const cases = suites.flatMap(suite => [true, false].map(asksCookie => ({ ...suite, asksCookie })))
    test.each(cases)('$name, cookie: $asksCookie', async ({ name, openssl, asksCookie }) => {
      const { port, program } = await opensslServer(openssl, asksCookie ? ['-listen'] : [])
      const client = await established({ port, cipherSuites: [name] })
      expect(client.negotiated).toMatchObject({ cipherSuite: name, extendedMasterSecret: true })
      client.send(bytesOf('from us\n'))
      await program.printed(/^from us$/m)
      program.write('from them\n')
      expect(await nextMessage(client)).toBe('from them\n')
      const material = client.exportKeyingMaterial(24, label)
      const exported = await program.printed(/Keying material: ([0-9A-F]+)/)
      expect(Buffer.from(material).toString('hex').toUpperCase()).toBe(exported[1])
      client.close()
    })

    test('a wrong key fails by the alert of the server, or for lack of an answer', async () => {
      const { port } = await opensslServer('PSK', [])
      const client = started({
        port,
        psk: { identity: 'psk', key: key.map(byte => byte ^ 1) },
        handshakeTimeoutMs: 3000,
      })
      expect((await ended(client)).error?.code).toMatch(/^ERR_DTLS_(HANDSHAKE_TIMEOUT|PEER_ALERT)$/)
    })

    test('a server without a common suite fails by its alert', async () => {
      const { port } = await opensslServer('PSK-AES128-CBC-SHA256', [])
      expect((await ended(started({ port }))).error).toMatchObject({
        code: 'ERR_DTLS_PEER_ALERT',
        alert: 'handshake_failure',
      })
    })
  })

  describe('our client with gnutls-serv', () => {
    const cases = suites.flatMap(suite =>
      [true, false].map(extendedMasterSecret => ({ ...suite, extendedMasterSecret })),
    )
    test.each(cases)('$name, extended master secret: $extendedMasterSecret', async options => {
      const { name, gnutls, extendedMasterSecret } = options
      const { port } = await gnutlsServer(gnutls)
      const client = await established({ port, cipherSuites: [name], extendedMasterSecret, mtu: 256 })
      expect(client.negotiated).toMatchObject({ cipherSuite: name, extendedMasterSecret })
      client.send(bytesOf('there and back\n'))
      expect(await nextMessage(client)).toBe('there and back\n')
      client.close()
    })

    test('a server that does not know extended master secrets', async () => {
      const { port } = await gnutlsServer('+AES-128-GCM:%NO_SESSION_HASH')
      const client = await established({ port })
      expect(client.negotiated?.extendedMasterSecret).toBe(false)
      client.send(bytesOf('there and back\n'))
      expect(await nextMessage(client)).toBe('there and back\n')
      client.close()
    })
  })

  describe.each<CookiePolicy>(['always', 'never'])('our server with openssl s_client, cookies: %s', cookies => {
    test.each(suites)('$name', async ({ name, openssl }) => {
      const { server, port } = await ourServer({ cookies, cipherSuites: [name] })
      const connection = nextConnection(server)
      const program = start('openssl', [
        ...['s_client', '-dtls1_2', '-connect', `127.0.0.1:${port}`, '-psk', keyText, '-psk_identity', 'psk'],
        ...['-cipher', openssl, '-keymatexport', label, '-keymatexportlen', '24'],
      ])
      const socket = await connection
      expect(socket.negotiated).toMatchObject({ cipherSuite: name, extendedMasterSecret: true })
      const exported = await program.printed(/Keying material: ([0-9A-F]+)/)
      const material = socket.exportKeyingMaterial(24, label)
      expect(Buffer.from(material).toString('hex').toUpperCase()).toBe(exported[1])
      const message = nextMessage(socket)
      program.write('from them\n')
      expect(await message).toBe('from them\n')
      socket.send(bytesOf('from us\n'))
      await program.printed(/^from us$/m)
      const end = ended(socket)
      program.endInput()
      expect(await end).toEqual({ reason: 'peer' })
      expect(server.stats()['cookies-sent']).toBe(cookies === 'always' ? 1 : 0)
    })
  })

  describe.each<CookiePolicy>(['always', 'never'])('our server with gnutls-cli, cookies: %s', cookies => {
    test.each(suites)('$name', async ({ name, gnutls }) => {
      const { server, port } = await ourServer({ cookies, cipherSuites: [name] })
      const connection = nextConnection(server)
      const program = gnutlsClient(port, gnutls)
      const socket = await connection
      expect(socket.negotiated).toMatchObject({ cipherSuite: name, extendedMasterSecret: true })
      await program.printed(/Simple Client Mode/)
      const message = nextMessage(socket)
      program.write('from them\n')
      expect(await message).toBe('from them\n')
      socket.send(bytesOf('from us\n'))
      await program.printed(/^from us$/m)
      const end = ended(socket)
      socket.close()
      expect(await end).toEqual({ reason: 'local' })
      await program.printed(/Peer has closed the GnuTLS connection/)
    })
  })

  describe('our server', () => {
    test('serves a client that does not know extended master secrets', async () => {
      const { server, port } = await ourServer({})
      const connection = nextConnection(server)
      const program = gnutlsClient(port, '+AES-256-GCM:%NO_SESSION_HASH')
      const socket = await connection
      expect(socket.negotiated?.extendedMasterSecret).toBe(false)
      await program.printed(/Simple Client Mode/)
      const message = nextMessage(socket)
      program.write('from them\n')
      expect(await message).toBe('from them\n')
    })

    test('refuses to renegotiate, with an alert, and the association lives on', async () => {
      const { server, port } = await ourServer({})
      const connection = nextConnection(server)
      const program = gnutlsClient(port, '+AES-128-GCM', ['-e'])
      const socket = await connection
      await program.printed(/warning alert has been received/)
      expect(server.stats()['renegotiations-refused']).toBeGreaterThan(0)
      expect(socket.send(bytesOf('still here\n'))).toBe(true)
      expect(server.stats()['handshakes-started']).toBe(1)
    })

    test('a client with a wrong key gets no association, and the server says that keys differ', async () => {
      const { server, port } = await ourServer({ handshakeTimeoutMs: 2500 })
      const failed = new Promise<{ code: string }>(resolve =>
        server.on('handshake-failed', event => resolve(event.error)),
      )
      gnutlsClient(port, '+AES-128-GCM', [], keyText.replace('8', '9'))
      expect((await failed).code).toBe('ERR_DTLS_PSK_MISMATCH')
      const stats = server.stats()
      expect(stats['handshakes-completed']).toBe(0)
      expect(stats.retransmissions).toBeLessThan(8)
    })

    test('a client of DTLS 1.0 only gets the alert for it', async () => {
      const { server, port } = await ourServer({})
      const failed = new Promise<{ code: string }>(resolve =>
        server.on('handshake-failed', event => resolve(event.error)),
      )
      start('openssl', [
        ...['s_client', '-dtls1', '-connect', `127.0.0.1:${port}`, '-psk', keyText, '-psk_identity', 'psk'],
        ...['-cipher', 'PSK:@SECLEVEL=0'],
      ])
      expect(await failed).toMatchObject({ code: 'ERR_DTLS_NEGOTIATION_FAILED', alert: 'protocol_version' })
    })
  })
})

function start(command: string, args: readonly string[]): PeerProgram {
  const program = new PeerProgram(command, args)
  programs.push(program)
  return program
}

async function opensslServer(cipher: string, more: readonly string[]): Promise<{ port: number; program: PeerProgram }> {
  const port = await freePort()
  const program = start('openssl', [
    ...['s_server', '-dtls1_2', '-accept', `127.0.0.1:${port}`, '-psk', keyText, '-psk_identity', 'psk', '-nocert'],
    ...['-cipher', cipher, '-keymatexport', label, '-keymatexportlen', '24', ...more],
  ])
  await program.printed(/ACCEPT/)
  return { port, program }
}

async function gnutlsServer(ciphers: string): Promise<{ port: number; program: PeerProgram }> {
  const port = await freePort()
  const program = start('gnutls-serv', [
    ...['--udp', '--echo', '-p', String(port), '--pskpasswd', pskFile],
    ...['--priority', priority(ciphers)],
  ])
  await program.printed(/listening on IPv4/)
  return { port, program }
}

function gnutlsClient(port: number, ciphers: string, more: readonly string[] = [], psk = keyText): PeerProgram {
  return start('gnutls-cli', [
    ...['--udp', '-p', String(port), '127.0.0.1', '--pskusername', 'psk', '--pskkey', psk],
    ...['--priority', priority(ciphers), ...more],
  ])
}

function priority(ciphers: string): string {
  return `NONE:+VERS-DTLS1.2:+PSK:+AEAD:+SHA256:+COMP-ALL:+SIGN-ALL:${ciphers}`
}

async function ourServer(
  options: Partial<Parameters<typeof createServer>[1]>,
): Promise<{ server: DtlsServerShell; port: number }> {
  const socket = await boundSocket()
  const findPsk = (_session: Uint8Array, identity: Uint8Array) =>
    Buffer.from(identity).toString() === 'psk' ? key : undefined
  const server = createServer(socket, { findPsk, ...options })
  servers.push(server)
  return { server, port: socket.address().port }
}

function started(options: Partial<ConnectOptions> & { readonly port: number }): DtlsSocket {
  return connect({
    address: '127.0.0.1',
    psk: { identity: 'psk', key },
    sessionId: new Uint8Array(32).fill(9),
    ...options,
  })
}

function established(options: Partial<ConnectOptions> & { readonly port: number }): Promise<DtlsSocket> {
  const client = started(options)
  return new Promise((resolve, reject) => {
    client.once('established', (_: Negotiated) => resolve(client))
    client.once('closed', ({ reason, error }) => reject(error ?? new Error(reason)))
  })
}

function nextConnection(server: DtlsServerShell): Promise<DtlsSocket> {
  return new Promise((resolve, reject) => {
    server.once('connection', resolve)
    server.once('handshake-failed', ({ error }) => reject(error))
  })
}

function nextMessage(socket: DtlsSocket): Promise<string> {
  return new Promise(resolve => socket.once('message', bytes => resolve(Buffer.from(bytes).toString())))
}

function ended(socket: DtlsSocket): Promise<{ reason: string; error?: { code: string } }> {
  return new Promise(resolve => socket.once('closed', resolve))
}

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}
