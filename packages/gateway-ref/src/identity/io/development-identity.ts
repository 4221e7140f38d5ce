import { createPrivateKey, X509Certificate } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { replaceFile } from '../../io/replace-file.ts'
import { type IssuedCertificate, issueAuthority, issueCertificate } from './issue-certificate.ts'
import { spkiPin } from './spki-pin.ts'

const day = 24 * 3600 * 1000
/** Browsers and some TLS libraries refuse server certificates that live longer. */
const certificateLifetimeMs = 397 * day
const authorityLifetimeMs = 3650 * day
/** Renewed when so much or less is left, so that a gateway started now doesn't run out soon. */
const renewBeforeMs = 30 * day

/** Files of a development identity, ready for `tls` and `auth.clientCa`, and for clients' `--ca`. */
export interface DevelopmentIdentity {
  readonly authority: string
  readonly certificate: string
  readonly key: string
  /** Pin of the gateway's key. */
  readonly pin: string
  /** Whether something was made, or renewed, by this call. */
  readonly created: boolean
}

/** What a development identity may be asked for. */
export interface DevelopmentIdentityOptions {
  /** Where the files live; made when missing, for this user only. */
  readonly directory: string
  /** Host names and addresses of the gateway beside localhost and this host's name. @defaultValue [] */
  readonly names?: readonly string[]
  /** The current wall-clock time. @defaultValue Date.now() */
  readonly now?: number
}

/**
 * Gives a gateway an identity of its own without any authority outside: a certificate authority and a certificate, made
 * on first use, kept in `directory`, and renewed when they run out. For development and trials; nobody else trusts it.
 */
export async function ensureDevelopmentIdentity(options: DevelopmentIdentityOptions): Promise<DevelopmentIdentity> {
  const { directory, now = Date.now() } = options
  const names = [...new Set(['localhost', hostname(), '127.0.0.1', '::1', ...(options.names ?? [])])]
  const authority = await ensureAuthority(directory, now)
  const files = { certificate: join(directory, 'gateway.crt'), key: join(directory, 'gateway.key') }

  const stored = authority.created ? undefined : await readPair(files.certificate, files.key)
  const usable = stored && isUsable(stored, authority.certificate, now) && names.every(name => isNamed(stored, name))
  if (!usable) {
    const validity = validityFrom(now, certificateLifetimeMs)
    const issued = await issueCertificate(authority, { commonName: 'twinbore', names, usage: 'server', ...validity })
    await writePair(files, { ...issued, certificate: issued.certificate + authority.certificate })
  }
  const pin = spkiPin(new X509Certificate(await readFile(files.certificate)))
  return { authority: join(directory, 'ca.crt'), ...files, pin, created: !usable }
}

/** Gives a user a certificate of the same authority: `NAME.crt` and `NAME.key` under `clients/`. */
export async function ensureDevelopmentClient(options: {
  readonly directory: string
  readonly user: string
  readonly email?: string
  readonly now?: number
}): Promise<{ readonly certificate: string; readonly key: string }> {
  const { directory, user, now = Date.now() } = options
  const authority = await ensureAuthority(directory, now)
  const folder = join(directory, 'clients')
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const files = { certificate: join(folder, `${user}.crt`), key: join(folder, `${user}.key`) }
  const stored = await readPair(files.certificate, files.key)
  if (!stored || !isUsable(stored, authority.certificate, now)) {
    const email = options.email === undefined ? {} : { email: options.email }
    const validity = validityFrom(now, certificateLifetimeMs)
    await writePair(
      files,
      await issueCertificate(authority, { commonName: user, usage: 'client', ...email, ...validity }),
    )
  }
  return files
}

async function ensureAuthority(directory: string, now: number): Promise<IssuedCertificate & { created: boolean }> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const files = { certificate: join(directory, 'ca.crt'), key: join(directory, 'ca.key') }
  const stored = await readPair(files.certificate, files.key)
  // Everything it signs must end before it does.
  if (stored && notAfter(stored) - now > certificateLifetimeMs) return { ...stored, created: false }
  const commonName = `Twinbore development authority of ${hostname()}`
  const issued = await issueAuthority({ commonName, ...validityFrom(now, authorityLifetimeMs) })
  await writePair(files, issued)
  return { ...issued, created: true }
}

/** Reads a certificate with its key; `undefined` when one is missing, damaged, or they don't belong together. */
async function readPair(certificateFile: string, keyFile: string): Promise<IssuedCertificate | undefined> {
  try {
    const [certificate, key] = await Promise.all([readFile(certificateFile, 'utf8'), readFile(keyFile, 'utf8')])
    return new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key)) ? { certificate, key } : undefined
  } catch {
    return undefined
  }
}

async function writePair(files: { certificate: string; key: string }, pair: IssuedCertificate): Promise<void> {
  await replaceFile(files.key, { mode: 0o600 }, () => pair.key)
  await replaceFile(files.certificate, { mode: 0o644 }, () => pair.certificate)
}

function isUsable(stored: IssuedCertificate, authority: string, now: number): boolean {
  const issuer = new X509Certificate(authority)
  const certificate = new X509Certificate(stored.certificate)
  return (
    notAfter(stored) - now > renewBeforeMs && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)
  )
}

function isNamed(stored: IssuedCertificate, name: string): boolean {
  const certificate = new X509Certificate(stored.certificate)
  return isIP(name) ? certificate.checkIP(name) !== undefined : certificate.checkHost(name) !== undefined
}

function notAfter({ certificate }: IssuedCertificate): number {
  return Date.parse(new X509Certificate(certificate).validTo)
}

/** Starts an hour early: clocks of clients may be behind. */
function validityFrom(now: number, lifetimeMs: number): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(now - 3600 * 1000), notAfter: new Date(now + lifetimeMs) }
}
