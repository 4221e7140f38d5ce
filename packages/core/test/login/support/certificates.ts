import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface IssuedCertificate {
  readonly cert: string
  readonly key: string
  readonly certFile: string
  readonly keyFile: string
  /** `pin-sha256:` of the public key. */
  readonly pin: string
}

export interface CertificateAuthority {
  readonly directory: string
  readonly caFile: string
  readonly ca: string
  issue(name: string, subject: string, alternativeNames: string, usage: 'serverAuth' | 'clientAuth'): IssuedCertificate
  remove(): void
}

/** A certificate authority in a directory of its own, made with the openssl program. */
export function makeAuthority(): CertificateAuthority {
  const directory = mkdtempSync(join(tmpdir(), 'twinbore-login-'))
  const file = (name: string) => join(directory, name)
  const openssl = (...args: string[]) =>
    execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 30_000 })
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-batch']
  openssl(
    'req',
    '-x509',
    ...newKey,
    '-days',
    '2',
    '-subj',
    '/CN=Test authority',
    '-keyout',
    file('ca.key'),
    '-out',
    file('ca.crt'),
  )
  return {
    directory,
    caFile: file('ca.crt'),
    ca: readFileSync(file('ca.crt'), 'utf8'),
    issue(name, subject, alternativeNames, usage) {
      const [keyFile, certFile] = [file(`${name}.key`), file(`${name}.crt`)]
      openssl('req', ...newKey, '-subj', subject, '-keyout', keyFile, '-out', file(`${name}.csr`))
      const names = alternativeNames === '' ? '' : `subjectAltName=${alternativeNames}\n`
      writeFileSync(file(`${name}.ext`), `${names}extendedKeyUsage=${usage}\nkeyUsage=digitalSignature\n`)
      const authority = ['-CA', file('ca.crt'), '-CAkey', file('ca.key'), '-CAcreateserial']
      openssl(
        'x509',
        '-req',
        '-in',
        file(`${name}.csr`),
        ...authority,
        '-days',
        '2',
        '-extfile',
        file(`${name}.ext`),
        '-out',
        certFile,
      )
      const spki = openssl('pkey', '-in', keyFile, '-pubout', '-outform', 'DER')
      const digest = execFileSync('openssl', ['dgst', '-sha256', '-binary'], { input: spki })
      return {
        cert: readFileSync(certFile, 'utf8'),
        key: readFileSync(keyFile, 'utf8'),
        certFile,
        keyFile,
        pin: `pin-sha256:${digest.toString('base64')}`,
      }
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  }
}
