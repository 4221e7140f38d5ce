import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { CredentialsCheck, PeerCertificate } from '@twinbore/core'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { Identity } from '../../src/auth/authenticator.ts'
import { toBase32 } from '../../src/auth/base32.ts'
import { ConfiguredAuthenticator } from '../../src/auth/io/configured-authenticator.ts'
import { hmacSha1 } from '../../src/auth/io/hmac-sha1.ts'
import { hashPassword, PasswordHasher } from '../../src/auth/io/password-hasher.ts'
import { codeAt } from '../../src/auth/one-time-codes.ts'
import { formatPasswordRecord } from '../../src/auth/password-record.ts'
import type { AuthConfig } from '../../src/config/gateway-config.ts'

const cheap = { N: 1024, r: 8, p: 1 }
const otpSecret = new TextEncoder().encode('12345678901234567890')
const now = 1_700_000_010_000
const never = new AbortController().signal

let folder: string
let users: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'twinbore-auth-'))
  users = join(folder, 'users.yaml')
  const password = formatPasswordRecord(await hashPassword('right', cheap))
  await writeFile(
    users,
    `anna: { password: "${password}", groups: [staff], addresses: [10.0.0.3] }
otto: { password: "${password}", otp: { secret: ${toBase32(otpSecret)} } }
dora: { password: "${password}", disabled: true }
cert: { groups: [devices] }
`,
  )
})
afterAll(() => rm(folder, { recursive: true }))

const anna: Identity = {
  username: 'anna',
  authenticator: 'local',
  method: 'password',
  groups: ['staff'],
  addresses: ['10.0.0.3'],
  claims: {},
}

describe('passwords', () => {
  test('the right one is accepted, with what is known of the user', async () => {
    const authenticator = await open({ users })
    expect(authenticator.methods).toEqual(['password'])
    expect(await authenticator.check(password('anna', 'right'), never)).toEqual({
      verdict: 'accept',
      identity: anna,
    })
    expect(authenticator.recheck(anna)).toEqual(anna)
    expect(authenticator.recheck({ ...anna, groups: ['old'] })).toEqual(anna)
    expect(authenticator.recheck({ ...anna, username: 'dora' })).toBeUndefined()
    expect(authenticator.recheck({ ...anna, username: 'nobody' })).toBeUndefined()
  })

  test.each([
    ['anna', 'wrong', 'wrong-credentials'],
    ['anna', '', 'wrong-credentials'],
    ['Anna', 'right', 'wrong-credentials'],
    ['nobody', 'right', 'wrong-credentials'],
    ['cert', '', 'wrong-credentials'],
    ['dora', 'right', 'user-disabled'],
    ['dora', 'wrong', 'wrong-credentials'],
  ])('%s with %j: %s', async (username, secret, reason) => {
    const authenticator = await open({ users })
    expect(await authenticator.check(password(username, secret), never)).toEqual({ verdict: 'reject', reason })
  })

  test('an unknown user costs the same hash as a known one', async () => {
    const hasher = new PasswordHasher()
    const verify = vi.spyOn(hasher, 'verify')
    const authenticator = await open({ users }, hasher)
    await authenticator.check(password('anna', 'wrong'), never)
    await authenticator.check(password('nobody', 'wrong'), never)
    await authenticator.check(password('cert', 'wrong'), never)
    const costs = verify.mock.calls.map(([, { N, r, p, salt, hash }]) => ({
      N,
      r,
      p,
      salt: salt.length,
      hash: hash.length,
    }))
    expect(costs).toEqual(Array(3).fill({ ...cheap, salt: 16, hash: 32 }))
  })

  test('too much waiting work is told as unavailable', async () => {
    const authenticator = await open({ users }, new PasswordHasher({ concurrency: 1, maxWaiting: 0 }))
    const first = authenticator.check(password('anna', 'right'), never)
    expect(await authenticator.check(password('anna', 'right'), never)).toEqual({
      verdict: 'unavailable',
      reason: 'busy',
    })
    expect((await first).verdict).toBe('accept')
  })

  test('an aborted check rejects', async () => {
    const authenticator = await open({ users })
    await expect(authenticator.check(password('anna', 'right'), AbortSignal.abort())).rejects.toThrow()
  })
})

describe('one-time codes', () => {
  const code = codeAt(otpSecret, Math.floor(now / 30_000), hmacSha1)

  test('follow the password, and each works once', async () => {
    const authenticator = await open({ users })
    const first = await authenticator.check(password('otto', 'right'), never)
    expect(first).toMatchObject({ verdict: 'challenge', label: 'Code:' })
    const state = first.verdict === 'challenge' ? first.state : undefined
    const answer = (secret: string) =>
      authenticator.check({ ...password('otto', secret), step: 'challenge', state }, never)
    expect(await answer('000000')).toEqual({ verdict: 'reject', reason: 'wrong-code' })
    expect(await answer(code)).toMatchObject({ verdict: 'accept', identity: { username: 'otto' } })
    expect(await answer(code)).toEqual({ verdict: 'reject', reason: 'wrong-code' })
    for (let i = 0; i < 4; i++) await answer('000000')
    expect(await answer(code)).toEqual({ verdict: 'reject', reason: 'too-many-codes' })
  })

  test.each([
    ['no state', undefined, 'otto'],
    ['a made-up state', { username: 'otto' }, 'otto'],
  ])('count for nothing with %s', async (_, state, username) => {
    const authenticator = await open({ users })
    const check: CredentialsCheck = { ...password(username, code), step: 'challenge', state }
    expect(await authenticator.check(check, never)).toEqual({ verdict: 'reject', reason: 'wrong-code' })
  })

  test('the state of one user is worth nothing for another', async () => {
    const authenticator = await open({ users })
    const first = await authenticator.check(password('otto', 'right'), never)
    const state = first.verdict === 'challenge' ? first.state : undefined
    const check: CredentialsCheck = { ...password('anna', code), step: 'challenge', state }
    expect((await authenticator.check(check, never)).verdict).toBe('reject')
  })
})

describe('certificates', () => {
  const clientCa = { text: 'PEM' }
  const bare: Identity = {
    ...anna,
    method: 'certificate',
    groups: [],
    addresses: [],
    certificateFingerprint: 'ab'.repeat(32),
  }

  test.each([
    ['a user who is not in the file', 'eve', { verdict: 'accept', identity: { ...bare, username: 'eve' } }],
    ['a user of the file', 'cert', { verdict: 'accept', identity: { ...bare, username: 'cert', groups: ['devices'] } }],
    ['a disabled user', 'dora', { verdict: 'reject', reason: 'user-disabled' }],
  ])('%s', async (_, name, result) => {
    const authenticator = await open({ users, clientCa })
    expect(authenticator.methods).toEqual(['certificate', 'password'])
    expect(await authenticator.check(certificate({ commonNames: [name] }), never)).toEqual(result)
  })

  test('a user with one-time codes is asked for one', async () => {
    const authenticator = await open({ users, clientCa })
    expect((await authenticator.check(certificate({ commonNames: ['otto'] }), never)).verdict).toBe('challenge')
  })

  test.each([
    ['cn', { commonNames: [] }, 'reject'],
    ['cn', { commonNames: ['a', 'b'] }, 'reject'],
    ['cn', { userIds: ['u1'] }, 'reject'],
    ['uid', { userIds: ['u1'] }, 'accept'],
    ['email', { emails: ['a@corp.example'] }, 'accept'],
    ['email', { commonNames: ['a'] }, 'reject'],
  ] as const)('named by %s, %j: %s', async (certificateUser, values, verdict) => {
    const authenticator = await open({ clientCa, certificateUser })
    expect((await authenticator.check(certificate(values), never)).verdict).toBe(verdict)
  })

  test('both asked for: neither alone is enough, and they must name the same user', async () => {
    const authenticator = await open({ users, clientCa, require: 'all' })
    expect(authenticator.methods).toEqual(['certificate-and-password'])
    const own = certificate({ commonNames: ['anna'] }).certificate!
    const other = certificate({ commonNames: ['ben'] }).certificate!
    const check = (more: Partial<CredentialsCheck>) =>
      authenticator.check({ ...password('anna', 'right'), ...more }, never)
    expect(await check({ certificate: own })).toMatchObject({
      verdict: 'accept',
      identity: { username: 'anna', method: 'certificate-and-password' },
    })
    expect(await check({})).toEqual({ verdict: 'reject', reason: 'no-identity' })
    expect(await check({ certificate: other })).toEqual({ verdict: 'reject', reason: 'no-identity' })
    expect(await check({ certificate: own, secret: 'wrong' })).toEqual({
      verdict: 'reject',
      reason: 'wrong-credentials',
    })
    expect(await authenticator.check(certificate({ commonNames: ['anna'] }), never)).toEqual({
      verdict: 'reject',
      reason: 'no-identity',
    })
  })

  test('a password is worth nothing where only certificates count', async () => {
    const authenticator = await open({ clientCa })
    expect((await authenticator.check(password('anna', 'right'), never)).verdict).toBe('reject')
  })
})

test('reload takes the file anew; a file with a mistake changes nothing', async () => {
  const file = join(folder, 'changing.yaml')
  const entry = (secret: string) =>
    hashPassword(secret, cheap).then(record => `anna: { password: "${formatPasswordRecord(record)}" }\n`)
  await writeFile(file, await entry('first'))
  const authenticator = await open({ users: file })
  await writeFile(file, await entry('second'))
  expect((await authenticator.check(password('anna', 'first'), never)).verdict).toBe('accept')
  await authenticator.reload()
  expect((await authenticator.check(password('anna', 'first'), never)).verdict).toBe('reject')
  await writeFile(file, 'anna: { pasword: x }\n')
  await expect(authenticator.reload()).rejects.toThrow("did you mean 'password'?")
  expect((await authenticator.check(password('anna', 'second'), never)).verdict).toBe('accept')
  await writeFile(file, '')
  await authenticator.reload()
  expect((await authenticator.check(password('anna', 'second'), never)).verdict).toBe('reject')
})

function open(auth: Partial<AuthConfig>, hasher?: PasswordHasher): Promise<ConfiguredAuthenticator> {
  const config: AuthConfig = { users: undefined, clientCa: undefined, certificateUser: 'cn', require: 'any', ...auth }
  return ConfiguredAuthenticator.open(config, { wallClock: () => now, ...(hasher ? { hasher } : {}) })
}

function password(username: string, secret: string): CredentialsCheck {
  return { login: 1, step: 'password', username, secret, remoteAddress: '127.0.0.1' }
}

function certificate(values: Partial<PeerCertificate>): CredentialsCheck {
  const peer: PeerCertificate = { commonNames: [], userIds: [], emails: [], fingerprint: 'ab'.repeat(32), ...values }
  return { login: 1, step: 'certificate', username: 'x', certificate: peer, remoteAddress: '127.0.0.1' }
}
