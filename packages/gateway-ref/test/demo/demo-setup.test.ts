import { mkdtemp, readFile, rm, stat, unlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ConfiguredAuthenticator } from '../../src/auth/io/configured-authenticator.ts'
import { type DemoSetup, ensureDemoSetup } from '../../src/demo/io/demo-setup.ts'

let directory: string
beforeAll(async () => {
  directory = join(await mkdtemp(join(tmpdir(), 'twinbore-demo-')), '.twinbore')
})
afterAll(() => rm(join(directory, '..'), { recursive: true }))

test('a demonstration gets an identity and a user once, and finds both again', async () => {
  const first = await ensureDemoSetup(directory)
  expect(first.created).toBe(true)
  expect(await readFile(first.passwordFile, 'utf8')).toBe(`${first.password}\n`)
  expect((await stat(first.passwordFile)).mode & 0o777).toBe(0o600)
  expect(await verdict(first)).toBe('accept')
  expect(await ensureDemoSetup(directory)).toEqual({
    ...first,
    created: false,
    identity: { ...first.identity, created: false },
  })
})

test('a lost password is replaced by another that works', async () => {
  const before = await ensureDemoSetup(directory)
  await unlink(before.passwordFile)
  const after = await ensureDemoSetup(directory)
  expect(after.created).toBe(true)
  expect(after.password).not.toBe(before.password)
  expect(await verdict(after)).toBe('accept')
  expect(await verdict({ ...after, password: before.password })).toBe('reject')
})

async function verdict({ users, username, password }: DemoSetup): Promise<string> {
  const auth = { users, clientCa: undefined, certificateUser: 'cn', require: 'any' } as const
  const authenticator = await ConfiguredAuthenticator.open(auth)
  const check = { login: 1, step: 'password', username, secret: password, remoteAddress: '127.0.0.1' } as const
  return (await authenticator.check(check, new AbortController().signal)).verdict
}
