import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { LoginForm } from '@twinbore/core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ConnectCommandOptions, connectCommand } from '../../src/cli/io/connect-command.ts'
import type { TunnelSettings } from '../../src/client/tunnel-settings.ts'
import type { RunnableTunnel } from '../../src/gateway.ts'
import { TestContext } from './run-main.ts'

const defaults: ConnectCommandOptions = { datagram: true, routes: true, log: 'silent' }
const form: LoginForm = {
  id: 'main',
  action: '/auth',
  message: 'Hello.',
  fields: [
    { type: 'text', name: 'username', label: 'Username:' },
    { type: 'password', name: 'password', label: 'Password:' },
    { type: 'hidden', name: 'token', label: '', value: 'x' },
  ],
}

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'twinbore-connect-'))
  for (const name of ['ca', 'cert', 'key', 'password']) await writeFile(join(folder, name), `text of ${name}\n`)
})
afterAll(() => rm(folder, { recursive: true }))

test('says when it is connected, and on which interface', async () => {
  const { context } = await run({ user: 'anna' }, 'secret\n')
  expect(context.out).toBe('ready: connected to https://vpn.example on tun7\n')
})

describe('what it is told', () => {
  test('becomes the settings of the tunnel', async () => {
    const { settings } = await run({
      user: 'anna',
      passwordFile: join(folder, 'password'),
      serverPin: 'pin-sha256:x',
      ca: join(folder, 'ca'),
      cert: join(folder, 'cert'),
      key: join(folder, 'key'),
      interface: 'vpn0',
      datagram: false,
      routes: false,
    })
    expect(settings).toMatchObject({
      url: 'https://vpn.example',
      credentials: { username: 'anna', password: 'text of password' },
      serverPin: 'pin-sha256:x',
      ca: 'text of ca\n',
      certificate: { cert: 'text of cert\n', key: 'text of key\n' },
      interfaceName: 'vpn0',
      datagram: false,
      routes: false,
    })
  })

  test('a certificate may hold its key; no password is asked for then', async () => {
    const { settings } = await run({ user: 'anna', cert: join(folder, 'cert') }, 'unused\n')
    expect(settings.certificate).toEqual({ cert: 'text of cert\n', key: 'text of cert\n' })
    expect(settings.credentials.password).toBeUndefined()
  })

  test('a file that is missing is told', async () => {
    await expect(run({ ca: join(folder, 'none') })).rejects.toThrow('there is no such file')
  })
})

describe('without a terminal', () => {
  test('lines of standard input answer the questions in their order', async () => {
    const { settings } = await run({ user: 'anna' }, 'secret\n123456\n')
    expect(settings.credentials).toMatchObject({ username: 'anna', password: 'secret' })
    const challenge: LoginForm = { ...form, fields: [{ type: 'password', name: 'secondary_password', label: 'Code:' }] }
    expect(await settings.credentials.answerForm!(challenge, {})).toEqual({ secondary_password: '123456' })
  })

  test('what is filled in already, and what is hidden, is not asked for', async () => {
    const { settings } = await run({ user: 'anna' }, 'secret\nmore\n')
    expect(await settings.credentials.answerForm!(form, { username: 'anna', password: 'secret' })).toEqual({})
  })

  test('a wrong answer is final', async () => {
    const { settings } = await run({ user: 'anna' }, 'secret\nmore\n')
    expect(await settings.credentials.answerForm!({ ...form, error: 'Login failed.' }, {})).toBeUndefined()
  })

  test('a password that is missing is told before anything is opened', async () => {
    await expect(run({ user: 'anna' }, '')).rejects.toThrow('standard input ended before the password')
  })
})

async function run(options: Partial<ConnectCommandOptions>, input = '') {
  const context = new TestContext({ input })
  let settings: TunnelSettings | undefined
  await connectCommand('https://vpn.example', { ...defaults, ...options }, context, given => {
    settings = given
    return endedTunnel
  })
  return { context, settings: settings! }
}

// A tunnel that comes up and ends at once.
const endedTunnel: RunnableTunnel = {
  start: () => Promise.resolve({} as never),
  stop: () => Promise.resolve(),
  stopped: Promise.resolve(undefined),
  interfaceName: 'tun7',
}
