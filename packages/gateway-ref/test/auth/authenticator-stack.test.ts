import type { CredentialsCheck, LoginMethod } from '@twinbore/core'
import { describe, expect, test } from 'vitest'
import type { AuthenticationResult, Authenticator, Identity } from '../../src/auth/authenticator.ts'
import { AuthenticatorStack, type AuthenticatorStackOptions } from '../../src/auth/io/authenticator-stack.ts'

const password: CredentialsCheck = {
  login: 1,
  step: 'password',
  username: 'anna',
  secret: 's',
  remoteAddress: '192.0.2.1',
}
const pass: AuthenticationResult = { verdict: 'pass' }
const refuse: AuthenticationResult = { verdict: 'reject', reason: 'wrong-credentials' }

function identity(authenticator: string, changed: Partial<Identity> = {}): Identity {
  return { username: 'anna', authenticator, method: 'password', groups: [], addresses: [], claims: {}, ...changed }
}

type Check = Authenticator['check']

function member(name: string, check: Check, methods: readonly LoginMethod[] = ['password']): Authenticator {
  return { name, methods, check }
}

function stack(members: readonly Authenticator[], options: AuthenticatorStackOptions = {}) {
  const faults: string[] = []
  const made = new AuthenticatorStack(members, {
    onFault: (name, fault) => faults.push(`${name}: ${fault}`),
    ...options,
  })
  return { stack: made, faults }
}

test('the first that does not pass decides', async () => {
  const asked: string[] = []
  const says = (name: string, result: AuthenticationResult) =>
    member(name, async () => {
      asked.push(name)
      return result
    })
  const accepted = { verdict: 'accept', identity: identity('b') } as const
  const { stack: made } = stack([says('a', pass), says('b', accepted), says('c', refuse)])
  expect(await made.check(password)).toEqual({ ...accepted, authenticator: 'b' })
  expect(asked).toEqual(['a', 'b'])
  expect(await stack([says('a', pass)]).stack.check(password)).toEqual({
    verdict: 'reject',
    reason: 'wrong-credentials',
  })
})

test('only those are asked that judge what was brought', async () => {
  const tokens = member('tokens', async () => ({ verdict: 'accept', identity: identity('tokens') }), ['token'])
  const { stack: made } = stack([tokens, member('users', async () => refuse)])
  expect(made.methods).toEqual(['token', 'password'])
  expect(await made.check(password)).toMatchObject({ verdict: 'reject', authenticator: 'users' })
  expect(await made.check({ ...password, step: 'token' })).toMatchObject({ verdict: 'accept', authenticator: 'tokens' })
  expect(await made.check({ ...password, step: 'certificate' })).toMatchObject({ verdict: 'reject' })
})

test('the answer to a challenge goes to whoever asked for it, with its state, and nobody can make one up', async () => {
  const asks: Check = async ({ step, state }) =>
    step === 'challenge'
      ? { verdict: state === 'mine' ? 'accept' : 'reject', identity: identity('b'), reason: 'wrong-code' }
      : { verdict: 'challenge', message: 'Code?', state: 'mine' }
  const { stack: made } = stack([member('a', async () => pass), member('b', asks)])
  const challenge = await made.check(password)
  expect(challenge).toMatchObject({ verdict: 'challenge', message: 'Code?' })
  const state = challenge.verdict === 'challenge' ? challenge.state : undefined
  expect(await made.check({ ...password, step: 'challenge', state })).toMatchObject({
    verdict: 'accept',
    authenticator: 'b',
  })
  for (const made_up of ['mine', { member: 'b', state: 'mine' }, undefined]) {
    const check = { ...password, step: 'challenge', state: made_up } as const
    expect(await made.check(check)).toEqual({ verdict: 'reject', reason: 'wrong-code' })
  }
})

describe('whoever fails lets nobody in', () => {
  const faulty: [string, Check, string][] = [
    [
      'throws at once',
      () => {
        throw new Error('broken')
      },
      'broken',
    ],
    ['rejects', async () => Promise.reject(new Error('broken')), 'broken'],
    ['answers nothing', async () => undefined as never, 'its answer is none'],
    ['answers with a word', async () => 'accept' as never, 'its answer is none'],
    ['has a verdict of its own', async () => ({ verdict: 'maybe' }) as never, 'its answer is none'],
    ['accepts nobody', async () => ({ verdict: 'accept' }) as never, 'it accepted nobody'],
    [
      'accepts a name that is none',
      async () => ({ verdict: 'accept', identity: identity('x', { username: '../x' }) }),
      'whose name is none',
    ],
    [
      'accepts in the name of another',
      async () => ({ verdict: 'accept', identity: identity('y') }),
      'in the name of another',
    ],
    [
      'has odd groups',
      async () => ({ verdict: 'accept', identity: identity('x', { groups: 'staff' as never }) }),
      'groups',
    ],
    [
      'has odd addresses',
      async () => ({ verdict: 'accept', identity: identity('x', { addresses: ['here'] }) }),
      'addresses',
    ],
    [
      'has no claims',
      async () => ({ verdict: 'accept', identity: identity('x', { claims: undefined as never }) }),
      'claims',
    ],
    [
      'has a token without an end',
      async () => ({ verdict: 'accept', identity: identity('x', { token: {} as never }) }),
      'never ends',
    ],
  ]
  test.each(faulty)('%s', async (_, check, fault) => {
    const after = member('after', async () => ({ verdict: 'accept', identity: identity('after') }))
    const { stack: made, faults } = stack([member('x', check), after])
    expect(await made.check(password)).toEqual({ verdict: 'unavailable', reason: 'failure', authenticator: 'x' })
    expect(faults).toHaveLength(1)
    expect(faults[0]).toContain(fault)
  })
})

test('one that hangs is given up, told so, and holds up nobody else', async () => {
  const aborted: unknown[] = []
  let release = () => {}
  const hangs: Check = (_, signal) =>
    new Promise(resolve => {
      signal.addEventListener('abort', () => aborted.push((signal.reason as Error).name))
      release = () => resolve({ verdict: 'accept', identity: identity('hangs') })
    })
  const tokens = member('tokens', async () => ({ verdict: 'accept', identity: identity('tokens') }), ['token'])
  const { stack: made, faults } = stack([member('hangs', hangs), tokens], { seconds: 0.02, maxChecks: 2 })
  const late = [made.check(password), made.check(password)]
  // Its room is taken: whoever comes now is told at once.
  expect(await made.check(password)).toMatchObject({ verdict: 'unavailable', reason: 'busy' })
  expect(await made.check({ ...password, step: 'token' })).toMatchObject({ verdict: 'accept' })
  expect(await Promise.all(late)).toMatchObject([{ reason: 'timeout' }, { reason: 'timeout' }])
  expect(aborted).toEqual(['TimeoutError', 'TimeoutError'])
  expect(faults).toHaveLength(2)
  // An acceptance that comes too late lets nobody in, but makes room.
  expect(await made.check(password)).toMatchObject({ reason: 'busy' })
  release()
  await new Promise(resolve => setImmediate(resolve))
  expect(await Promise.race([made.check(password), new Promise(resolve => setImmediate(resolve, 'asked'))])).toBe(
    'asked',
  )
})

test('somebody of before stays who they are, becomes somebody else, or may not come in any more', async () => {
  const changes: Authenticator = {
    ...member('changes', async () => pass),
    recheck: ({ username, ...rest }) => {
      if (username === 'odd') throw new Error('broken')
      return username === 'gone' ? undefined : { ...rest, username, groups: ['new'] }
    },
  }
  const { stack: made, faults } = stack([member('keeps', async () => pass), changes])
  expect(made.recheck(identity('keeps'))).toEqual(identity('keeps'))
  expect(made.recheck(identity('changes'))).toEqual(identity('changes', { groups: ['new'] }))
  expect(made.recheck(identity('changes', { username: 'gone' }))).toBeUndefined()
  expect(made.recheck(identity('changes', { username: 'odd' }))).toBeUndefined()
  expect(made.recheck(identity('removed'))).toBeUndefined()
  expect(faults).toEqual(['changes: broken'])
})

test('names are unique, and there must be one', () => {
  const one = member('a', async () => pass)
  expect(() => new AuthenticatorStack([one, one])).toThrow("two authenticators are called 'a'")
  expect(() => new AuthenticatorStack([])).toThrow(RangeError)
})
