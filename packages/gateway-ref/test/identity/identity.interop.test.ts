// Our certificates in the hands of OpenSSL, and OpenSSL's files in ours.
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { needs } from '../../../../tests/lab/needs.ts'
import type { TlsConfig } from '../../src/config/gateway-config.ts'
import {
  type DevelopmentIdentity,
  ensureDevelopmentClient,
  ensureDevelopmentIdentity,
} from '../../src/identity/io/development-identity.ts'
import { loadServerIdentity } from '../../src/identity/io/server-identity.ts'

const run = promisify(execFile)
let folder: string
let identity: DevelopmentIdentity

needs('openssl')('beside OpenSSL', () => {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'twinbore-openssl-'))
    identity = await ensureDevelopmentIdentity({ directory: join(folder, 'own'), names: ['vpn.example'] })
    await writeFile(join(folder, 'passphrase'), 'correct horse\n')
    await openssl('genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048', '-out', 'rsa.key')
    await openssl('req', '-new', '-key', 'rsa.key', '-subj', '/CN=rsa.example', '-out', 'rsa.csr')
    const authority = ['-CA', identity.authority, '-CAkey', join(folder, 'own', 'ca.key')]
    await openssl('x509', '-req', '-in', 'rsa.csr', ...authority, '-days', '30', '-out', 'rsa.crt')
  })
  afterAll(() => rm(folder, { recursive: true }))

  describe('openssl accepts', () => {
    test('the chain of the gateway, for its name and its purpose', async () => {
      const purpose = ['-purpose', 'sslserver', '-verify_hostname', 'vpn.example', '-x509_strict']
      const { stdout } = await openssl('verify', '-CAfile', identity.authority, ...purpose, identity.certificate)
      expect(stdout).toContain(': OK')
    })

    test('the certificate of a client, for its purpose only', async () => {
      const { certificate } = await ensureDevelopmentClient({ directory: join(folder, 'own'), user: 'anna' })
      const verify = (purpose: string) =>
        openssl('verify', '-x509_strict', '-CAfile', identity.authority, '-purpose', purpose, certificate)
      expect((await verify('sslclient')).stdout).toContain(': OK')
      await expect(verify('sslserver')).rejects.toThrow()
    })

    test('and computes the same pin', async () => {
      const script = `openssl x509 -in '${identity.certificate}' -noout -pubkey | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64`
      const { stdout } = await run('sh', ['-c', script])
      expect(identity.pin).toBe(`pin-sha256:${stdout.trim()}`)
    })
  })

  describe('we read', () => {
    test.each([
      ['EC, the defaults of OpenSSL 3', 'ec', []],
      ['RSA, the defaults of OpenSSL 3', 'rsa', []],
      ['EC, old algorithms', 'ec', ['-legacy']],
      ['RSA, old algorithms', 'rsa', ['-keypbe', 'PBE-SHA1-3DES', '-certpbe', 'PBE-SHA1-3DES', '-macalg', 'sha1']],
    ])('a PKCS#12 file: %s', async (_, type, options) => {
      const [certificate, key] = type === 'ec' ? [identity.certificate, identity.key] : ['rsa.crt', 'rsa.key']
      const own = ['-in', certificate, '-inkey', key, '-certfile', identity.authority]
      await openssl('pkcs12', '-export', ...own, ...options, '-passout', 'pass:correct horse', '-out', 'site.pfx')
      const tls: TlsConfig = {
        type: 'pkcs12',
        file: join(folder, 'site.pfx'),
        passphraseFile: join(folder, 'passphrase'),
      }
      const read = await loadServerIdentity(tls)
      const pem = await loadServerIdentity(pemOf(certificate, key))
      expect(read.pin).toBe(pem.pin)
      expect(read.key).toBe(pem.key)
      // The own certificate first, then the authority, each once.
      expect(read.chain.match(/BEGIN CERTIFICATE/g)).toHaveLength(2)
      await writeFile(join(folder, 'chain.pem'), read.chain)
      expect((await openssl('verify', '-CAfile', identity.authority, 'chain.pem')).stdout).toContain(': OK')

      await expect(loadServerIdentity({ ...tls, passphraseFile: undefined })).rejects.toMatchObject({
        code: 'ERR_GATEWAY_CERTIFICATE',
        setting: 'pkcs12',
        message: expect.stringContaining("can't be opened with an empty passphrase") as string,
      })
    })

    test('an encrypted key', async () => {
      const cipher = ['-aes256', '-passout', 'pass:correct horse']
      await openssl('pkey', '-in', 'rsa.key', ...cipher, '-out', 'encrypted.key')
      const tls = pemOf('rsa.crt', 'encrypted.key')
      await expect(loadServerIdentity(tls)).rejects.toThrow('is encrypted; write its passphrase into a file')
      const read = await loadServerIdentity({ ...tls, passphraseFile: join(folder, 'passphrase') })
      expect(read.key).toBe((await loadServerIdentity(pemOf('rsa.crt', 'rsa.key'))).key)
      await writeFile(join(folder, 'wrong'), 'CANARY\n')
      const wrong = loadServerIdentity({ ...tls, passphraseFile: join(folder, 'wrong') })
      await expect(wrong).rejects.toThrow("can't be opened with the passphrase of passphraseFile")
      await expect(wrong).rejects.not.toThrow('CANARY')
    })

    test('no PKCS#12 file where there is none', async () => {
      const tls: TlsConfig = { type: 'pkcs12', file: join(folder, 'rsa.crt'), passphraseFile: undefined }
      await expect(loadServerIdentity(tls)).rejects.toThrow('is not a PKCS#12 file')
    })
  })
})

function pemOf(certificate: string, key: string): TlsConfig {
  const at = (file: string) => ({ file: file.startsWith('/') ? file : join(folder, file) })
  return { type: 'pem', certificate: at(certificate), key: at(key), passphraseFile: undefined }
}

function openssl(...args: string[]): Promise<{ stdout: string; stderr: string }> {
  return run('openssl', args, { cwd: folder, timeout: 30_000 })
}
