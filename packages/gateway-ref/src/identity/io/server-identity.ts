import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { PemSource, TlsConfig } from '../../config/gateway-config.ts'
import { GatewayError } from '../../errors.ts'
import { readPkcs12 } from './pkcs12.ts'
import { spkiPin } from './spki-pin.ts'

/** A certificate with its chain and key, checked to belong together. */
export interface ServerIdentity {
  readonly certificate: X509Certificate
  /** PEM, the own certificate first: `cert` of node:tls. */
  readonly chain: string
  /** PEM without passphrase: `key` of node:tls. */
  readonly key: string
  /** What clients may pin: `pin-sha256:...`. */
  readonly pin: string
  /** Wall-clock milliseconds. */
  readonly notBefore: number
  readonly notAfter: number
}

/** The setting at fault beside the message, so that a configuration error can name its line. */
export class IdentityError extends GatewayError {
  readonly setting: 'certificate' | 'key' | 'pkcs12' | 'passphraseFile'

  constructor(setting: IdentityError['setting'], message: string, options?: ErrorOptions) {
    super('ERR_GATEWAY_CERTIFICATE', message, options)
    this.setting = setting
  }
}

/**
 * Reads the gateway's certificate and key. Whether it is valid today is left to the caller.
 *
 * @throws IdentityError when a file can't be read or the parts don't belong together
 */
export async function loadServerIdentity(tls: TlsConfig): Promise<ServerIdentity> {
  const passphrase = tls.passphraseFile === undefined ? undefined : await readPassphrase(tls.passphraseFile)
  if (tls.type === 'pkcs12') return fromPkcs12(tls.file, passphrase ?? '')

  const chain = await readPem(tls.certificate, 'certificate')
  const blocks = certificateBlocks(chain)
  if (blocks.length === 0) throw new IdentityError('certificate', `${nameOf(tls.certificate)} holds no PEM certificate`)
  const certificate = parseCertificate(blocks[0]!, 'certificate', nameOf(tls.certificate))
  const key = parseKey(await readPem(tls.key, 'key'), passphrase, nameOf(tls.key))
  if (!certificate.checkPrivateKey(key)) {
    throw new IdentityError(
      'key',
      `${nameOf(tls.key)} doesn't belong to the certificate ${nameOf(tls.certificate)} (${subjectOf(certificate)})`,
    )
  }
  return identityOf(certificate, blocks, key)
}

/** The certificates of a PEM text, each with its own borders. */
export function certificateBlocks(pem: string): string[] {
  return pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? []
}

/** Reads a PEM that stands in a file or in the configuration itself. @throws IdentityError */
export async function readPem(source: PemSource, setting: IdentityError['setting']): Promise<string> {
  return 'text' in source ? source.text : (await readBytes(source.file, setting)).toString('utf8')
}

/** Reads one certificate. @throws IdentityError */
export function parseCertificate(pem: string, setting: IdentityError['setting'], name: string): X509Certificate {
  try {
    return new X509Certificate(pem)
  } catch (cause) {
    throw new IdentityError(setting, `${name} holds a damaged certificate`, { cause })
  }
}

async function fromPkcs12(file: string, passphrase: string): Promise<ServerIdentity> {
  const bytes = await readBytes(file, 'pkcs12')
  const content = await readPkcs12(bytes, passphrase).catch((cause: unknown) => {
    const reason = String(cause).includes('Invalid password')
      ? `can't be opened with ${passphrase === '' ? 'an empty passphrase' : 'the passphrase of passphraseFile'}`
      : 'is not a PKCS#12 file'
    throw new IdentityError('pkcs12', `'${file}' ${reason}`, { cause })
  })
  const certificates = content.certificates.map(pem => ({ pem, value: parseCertificate(pem, 'pkcs12', `'${file}'`) }))
  for (const pem of content.keys) {
    const key = parseKey(pem, undefined, `'${file}'`, 'pkcs12')
    const own = certificates.find(({ value }) => value.checkPrivateKey(key))
    if (own) {
      const rest = orderChain(own, certificates)
      return identityOf(own.value, [own.pem, ...rest], key)
    }
  }
  throw new IdentityError('pkcs12', `'${file}' holds no certificate with its key`)
}

/** Puts the issuers of `own` in order, each once; what doesn't belong to the chain is left out. */
function orderChain<Entry extends { pem: string; value: X509Certificate }>(
  own: Entry,
  all: readonly Entry[],
): string[] {
  const chain: string[] = []
  const left = new Map(all.map(entry => [entry.value.fingerprint256, entry]))
  left.delete(own.value.fingerprint256)
  for (let at = own; ; ) {
    const issuer = [...left.values()].find(({ value }) => at.value.checkIssued(value))
    if (!issuer) return chain
    left.delete(issuer.value.fingerprint256)
    chain.push(issuer.pem)
    at = issuer
  }
}

function identityOf(certificate: X509Certificate, chain: readonly string[], key: KeyObject): ServerIdentity {
  return {
    certificate,
    chain: `${chain.map(pem => pem.trim()).join('\n')}\n`,
    key: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
    pin: spkiPin(certificate),
    notBefore: Date.parse(certificate.validFrom),
    notAfter: Date.parse(certificate.validTo),
  }
}

function parseKey(
  pem: string,
  passphrase: string | undefined,
  name: string,
  setting: IdentityError['setting'] = 'key',
): KeyObject {
  try {
    return createPrivateKey(passphrase === undefined ? { key: pem } : { key: pem, passphrase })
  } catch (cause) {
    const encrypted = /ENCRYPTED/.test(pem)
    if (encrypted && passphrase === undefined) {
      throw new IdentityError(
        setting,
        `${name} is encrypted; write its passphrase into a file and name it in passphraseFile`,
      )
    }
    const reason = encrypted ? "can't be opened with the passphrase of passphraseFile" : 'holds no PEM private key'
    throw new IdentityError(setting, `${name} ${reason}`, { cause })
  }
}

async function readPassphrase(file: string): Promise<string> {
  const text = (await readBytes(file, 'passphraseFile')).toString('utf8')
  return text.split(/\r?\n/, 1)[0]!
}

async function readBytes(file: string, setting: IdentityError['setting']): Promise<Buffer> {
  try {
    return await readFile(file)
  } catch (cause) {
    throw new IdentityError(setting, `'${file}' can't be read: ${describeSystemError(cause)}`, { cause })
  }
}

/** Says in words what the system refused. */
export function describeSystemError(error: unknown): string {
  const code = (error as NodeJS.ErrnoException | undefined)?.code
  switch (code) {
    case 'ENOENT':
      return 'there is no such file'
    case 'EACCES':
    case 'EPERM':
      return 'this user may not'
    case 'EISDIR':
      return 'it is a directory'
    case 'ENOTDIR':
      return 'a part of its path is not a directory'
    default:
      return code ?? String(error)
  }
}

function nameOf(source: PemSource): string {
  return 'file' in source ? `'${source.file}'` : 'the text given'
}

function subjectOf(certificate: X509Certificate): string {
  return certificate.subject.replace(/\n/g, ', ') || 'no subject'
}
