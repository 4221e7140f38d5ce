import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import forge from 'node-forge'
import { certificatePin } from '../../../src/io/index.ts'

export interface IssuedCertificate {
  readonly cert: string
  readonly key: string
  readonly certFile: string
  readonly keyFile: string
  /** `pin-sha256:` of the public key. */
  readonly pin: string
}

export interface CertificateRequest {
  readonly commonName?: string | readonly string[]
  readonly userId?: string
  readonly dnsNames?: readonly string[]
  readonly addresses?: readonly string[]
  readonly emails?: readonly string[]
  readonly usage: 'serverAuth' | 'clientAuth'
}

export interface CertificateAuthority {
  readonly caFile: string
  readonly ca: string
  issue(name: string, request: CertificateRequest): IssuedCertificate
  remove(): void
}

/** A certificate authority with a temporary directory for the files that programs want. */
export function makeAuthority(): CertificateAuthority {
  const directory = mkdtempSync(join(tmpdir(), 'twinbore-login-'))
  const authority = newKeys()
  const name = [{ name: 'commonName', value: 'Test authority' }]
  const root = draft(authority.publicKey, 1, name, name)
  root.setExtensions([
    { name: 'basicConstraints', cA: true, critical: true },
    { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    { name: 'subjectKeyIdentifier' },
  ])
  root.sign(authority.privateKey, forge.md.sha256.create())
  const ca = forge.pki.certificateToPem(root)
  writeFileSync(join(directory, 'ca.crt'), ca)
  let serial = 2
  return {
    caFile: join(directory, 'ca.crt'),
    ca,
    issue(fileName, request) {
      const keys = newKeys()
      const commonNames = [request.commonName ?? []].flat().map(value => ({ name: 'commonName', value }))
      const userId = request.userId === undefined ? [] : [{ type: '0.9.2342.19200300.100.1.1', value: request.userId }]
      const certificate = draft(keys.publicKey, serial++, [...commonNames, ...userId], name)
      certificate.setExtensions([
        { name: 'keyUsage', digitalSignature: true, keyEncipherment: true, critical: true },
        { name: 'extKeyUsage', [request.usage]: true },
        {
          name: 'subjectAltName',
          altNames: [
            ...(request.dnsNames ?? []).map(value => ({ type: 2, value })),
            ...(request.addresses ?? []).map(ip => ({ type: 7, ip })),
            ...(request.emails ?? []).map(value => ({ type: 1, value })),
          ],
        },
      ])
      certificate.sign(authority.privateKey, forge.md.sha256.create())
      const cert = forge.pki.certificateToPem(certificate)
      const [certFile, keyFile] = [join(directory, `${fileName}.crt`), join(directory, `${fileName}.key`)]
      writeFileSync(certFile, cert)
      writeFileSync(keyFile, keys.pem, { mode: 0o600 })
      return { cert, key: keys.pem, certFile, keyFile, pin: certificatePin(cert) }
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  }
}

function newKeys(): { publicKey: forge.pki.rsa.PublicKey; privateKey: forge.pki.rsa.PrivateKey; pem: string } {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  })
  return {
    publicKey: forge.pki.publicKeyFromPem(publicKey),
    privateKey: forge.pki.privateKeyFromPem(privateKey),
    pem: privateKey,
  }
}

function draft(
  publicKey: forge.pki.rsa.PublicKey,
  serial: number,
  subject: forge.pki.CertificateField[],
  issuer: forge.pki.CertificateField[],
): forge.pki.Certificate {
  const certificate = forge.pki.createCertificate()
  certificate.publicKey = publicKey
  certificate.serialNumber = serial.toString(16).padStart(2, '0')
  certificate.validity.notBefore = new Date(Date.now() - 3_600_000)
  certificate.validity.notAfter = new Date(Date.now() + 86_400_000)
  certificate.setSubject(subject)
  certificate.setIssuer(issuer)
  return certificate
}
