import { loadPolicy } from '../../access/io/load-policy.ts'
import { readUsersFile } from '../../auth/io/users-file.ts'
import { GatewayError } from '../../errors.ts'
import {
  certificateBlocks,
  IdentityError,
  loadServerIdentity,
  parseCertificate,
  readPem,
} from '../../identity/io/server-identity.ts'
import { isReadableByOthers } from '../../io/file-permissions.ts'
import type { ConfigProblem } from '../config-problem.ts'
import type { AuthConfig, TlsConfig } from '../gateway-config.ts'
import type { FileSections } from '../resolve-options.ts'

const day = 24 * 3600 * 1000

/**
 * Opens what a configuration points to and finds what would fail later: files that can't be read, a key of another
 * certificate, certificates out of their time, mistakes in the users file.
 *
 * @param now wall-clock milliseconds
 */
export async function checkConfigFiles(config: FileSections, now: number = Date.now()): Promise<ConfigProblem[]> {
  const { tls, auth, access } = config
  const found = await Promise.all([
    tls ? checkIdentity(tls, now) : [],
    auth ? checkClientCa(auth, now) : [],
    auth ? checkUsers(auth) : [],
    access === undefined ? [] : checkPolicy(access),
  ])
  return found.flat()
}

async function checkIdentity(tls: TlsConfig, now: number): Promise<ConfigProblem[]> {
  try {
    const { notBefore, notAfter } = await loadServerIdentity(tls)
    const setting = tls.type === 'pem' ? 'certificate' : 'pkcs12'
    return [
      ...validity(['tls', setting], 'the certificate', notBefore, notAfter, now),
      ...(await checkKeyPermissions(tls)),
    ]
  } catch (error) {
    return [problemOf(error, 'tls')]
  }
}

/** A group may share a key; everybody may not. */
async function checkKeyPermissions(tls: TlsConfig): Promise<ConfigProblem[]> {
  const file = tls.type === 'pkcs12' ? tls.file : 'file' in tls.key ? tls.key.file : undefined
  if (file === undefined || !(await isReadableByOthers(file, 0o007))) return []
  const message = `'${file}' holds a key that every user of this host can read; run: chmod o= ${file}`
  return [{ severity: 'warning', path: ['tls', tls.type === 'pkcs12' ? 'pkcs12' : 'key'], message }]
}

async function checkClientCa(auth: AuthConfig, now: number): Promise<ConfigProblem[]> {
  if (auth.clientCa === undefined) return []
  const path = ['auth', 'clientCa']
  try {
    const name = 'file' in auth.clientCa ? `'${auth.clientCa.file}'` : 'the text given'
    const blocks = certificateBlocks(await readPem(auth.clientCa, 'certificate'))
    if (blocks.length === 0) return [{ severity: 'error', path, message: `${name} holds no PEM certificate` }]
    return blocks.flatMap(block => {
      const authority = parseCertificate(block, 'certificate', name)
      const subject = authority.subject.replace(/\n/g, ', ')
      if (!authority.ca) {
        const message = `${name} holds '${subject}', which is not a certificate authority; name the one that issued it`
        return [{ severity: 'error' as const, path, message }]
      }
      const [from, to] = [Date.parse(authority.validFrom), Date.parse(authority.validTo)]
      return validity(path, `the authority '${subject}'`, from, to, now)
    })
  } catch (error) {
    return [{ ...problemOf(error, 'auth'), path }]
  }
}

async function checkUsers(auth: AuthConfig): Promise<readonly ConfigProblem[]> {
  if (auth.users === undefined) return []
  const path = ['auth', 'users']
  try {
    const { users, problems } = await readUsersFile(auth.users)
    if (problems.length > 0) return problems
    if (await isReadableByOthers(auth.users)) {
      const message = `'${auth.users}' can be read by other users of this host; run: chmod 600 ${auth.users}`
      return [{ severity: 'warning', path, message }]
    }
    if (users.size > 0 || auth.clientCa) return []
    const message = `'${auth.users}' has no users; add one: twinbore user add NAME --users ${auth.users}`
    return [{ severity: 'warning', path, message }]
  } catch (error) {
    return [{ severity: 'error', path, message: error instanceof Error ? error.message : String(error) }]
  }
}

async function checkPolicy(file: string): Promise<readonly ConfigProblem[]> {
  try {
    return (await loadPolicy(file)).warnings
  } catch (error) {
    if (error instanceof GatewayError)
      return error.problems.map(problem => ({ ...problem, path: problem.source ? problem.path : ['access'] }))
    throw error
  }
}

function validity(path: string[], what: string, from: number, to: number, now: number): ConfigProblem[] {
  const date = (time: number) => new Date(time).toISOString().slice(0, 10)
  if (now > to) return [{ severity: 'error', path, message: `${what} expired on ${date(to)}; renew it` }]
  if (now < from) {
    return [{ severity: 'error', path, message: `${what} is valid from ${date(from)} only; check this host's clock` }]
  }
  if (to - now < 14 * day) {
    return [{ severity: 'warning', path, message: `${what} expires on ${date(to)}; renew it` }]
  }
  return []
}

function problemOf(error: unknown, section: string): ConfigProblem {
  if (error instanceof IdentityError)
    return { severity: 'error', path: [section, error.setting], message: error.message }
  throw error
}
