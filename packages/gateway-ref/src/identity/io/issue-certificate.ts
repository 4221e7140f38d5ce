import { webcrypto } from 'node:crypto'
import { isIP } from 'node:net'

// Certificates for development and tests: ECDSA P-256, SHA-256. The library that makes them is loaded on first use.

/** A certificate with its key, both PEM. */
export interface IssuedCertificate {
  readonly certificate: string
  readonly key: string
}

/** Who a certificate is for, and how long. */
export interface CertificateRequest {
  readonly commonName: string
  readonly notBefore: Date
  readonly notAfter: Date
}

type Library = typeof import('@peculiar/x509')
const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const

/** Makes a self-signed certificate authority that signs end certificates only. */
export async function issueAuthority(request: CertificateRequest): Promise<IssuedCertificate> {
  const x509 = await library()
  const keys = await generateKeys()
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    ...common(x509, request),
    keys,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
    ],
  })
  return { certificate: `${certificate.toString('pem')}\n`, key: await exportKey(keys.privateKey) }
}

/** Makes a certificate for a server (with `names`: host names and addresses) or for a client (with an e-mail address). */
export async function issueCertificate(
  authority: IssuedCertificate,
  request: CertificateRequest &
    (
      | { readonly usage: 'server'; readonly names: readonly string[] }
      | { readonly usage: 'client'; readonly email?: string }
    ),
): Promise<IssuedCertificate> {
  const x509 = await library()
  const keys = await generateKeys()
  const issuer = new x509.X509Certificate(authority.certificate)
  const names =
    request.usage === 'server'
      ? request.names.map(value => ({ type: isIP(value) ? ('ip' as const) : ('dns' as const), value }))
      : request.email === undefined
        ? []
        : [{ type: 'email' as const, value: request.email }]
  const usage = request.usage === 'server' ? x509.ExtendedKeyUsage.serverAuth : x509.ExtendedKeyUsage.clientAuth
  const certificate = await x509.X509CertificateGenerator.create({
    subject: common(x509, request).name,
    issuer: issuer.subjectName,
    serialNumber: common(x509, request).serialNumber,
    notBefore: request.notBefore,
    notAfter: request.notAfter,
    publicKey: keys.publicKey,
    signingKey: await importKey(authority.key),
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([usage]),
      ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey, false, webcrypto),
    ],
  })
  return { certificate: `${certificate.toString('pem')}\n`, key: await exportKey(keys.privateKey) }
}

function common(x509: Library, request: CertificateRequest) {
  // RFC 5280 §4.1.2.2: positive, at most 20 octets, unpredictable.
  const serial = webcrypto.getRandomValues(new Uint8Array(16))
  serial[0] = (serial[0]! & 0x7f) | 0x40
  return {
    serialNumber: Buffer.from(serial).toString('hex'),
    name: new x509.Name([{ CN: [request.commonName] }]),
    notBefore: request.notBefore,
    notAfter: request.notAfter,
  }
}

async function library(): Promise<Library> {
  // @peculiar/x509 registers its parts through decorator metadata, which has to be there before it.
  await import('reflect-metadata')
  const x509 = await import('@peculiar/x509')
  x509.cryptoProvider.set(webcrypto)
  return x509
}

async function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']) as Promise<webcrypto.CryptoKeyPair>
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key)).toString('base64')
  return `-----BEGIN PRIVATE KEY-----\n${der.replace(/(.{64})(?=.)/g, '$1\n')}\n-----END PRIVATE KEY-----\n`
}

async function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  const der = Buffer.from(pem.replace(/-----[A-Z ]+-----|\s/g, ''), 'base64')
  return webcrypto.subtle.importKey('pkcs8', der, algorithm, false, ['sign'])
}
