// Tokens in the login dialogue: asked for with 401, sent as bearer or in place of a password (RFC 6750).
import { describe, expect, test } from 'vitest'
import { headerValue, isTokenText } from '../../src/index.ts'
import { answers, init, LoginWorld, type TestReply, vpnClient } from './support/login-world.ts'

const token = `${'h'.repeat(30)}.${'p'.repeat(60)}.${'s'.repeat(43)}`
const offering = [...vpnClient, ['X-Support-HTTP-Auth', 'true']] as const
const header = (reply: TestReply, name: string) => headerValue(reply.headers, name)

function bearer(text: string, method = 'POST') {
  const request = { ...init(), method, headers: [...offering, ['Authorization', `Bearer ${text}`] as const] }
  return method === 'GET' ? { ...request, body: new Uint8Array(0) } : request
}

describe('a gateway that takes tokens and passwords', () => {
  const world = () => new LoginWorld({ methods: ['token', 'password'] })

  test.each(['POST', 'GET'])('asks clients that know how for a token, on %s, and leaves a way to the form', method => {
    const reply = world().ask({ ...init(), method, headers: offering })
    expect(reply.status).toBe(401)
    expect(reply.close).toBe(false)
    expect(header(reply, 'www-authenticate')).toBe('Bearer')
    expect(header(reply, 'x-http-auth-support')).toBe('fallback')
  })

  test('gives the form to clients that do not, or have fallen back', () => {
    expect(world().ask(init()).document).toMatchObject({ type: 'form' })
  })

  test.each(['POST', 'GET'])('takes a token on %s and grants the session of whoever it is', method => {
    const login = world()
    const exchange = login.send(bearer(token, method))
    expect(login.checks).toMatchObject([{ step: 'token', tokenVia: 'bearer', secret: token, username: '' }])
    login.answer({ verdict: 'accept', username: 'anna', details: { from: 'token' } })
    expect(login.established).toMatchObject([
      { identity: { username: 'anna', method: 'token', details: { from: 'token' } } },
    ])
    expect(login.reply(exchange)).toMatchObject({ status: 200, cookies: { webvpn: 'C'.repeat(43) } })
    expect(login.login.size).toBe(0)
  })

  test('says why it does not take a token, in a header that can hold it, and closes', () => {
    const login = world()
    const exchange = login.send(bearer(token))
    login.answer({ verdict: 'reject', text: 'The token "expired"\r\nSet-Cookie: x' })
    const reply = login.reply(exchange)
    expect(reply).toMatchObject({ status: 401, close: true })
    const challenge = header(reply, 'www-authenticate')
    expect(challenge).toMatch(/^Bearer error="invalid_token", error_description="The token 'expired'[^"\r\n]*"$/)
    expect(header(reply, 'x-reason')).toMatch(/^The token "expired"/)
    expect(reply.headers.map(([name]) => name.toLowerCase())).not.toContain('set-cookie')
    expect(login.rejections).toEqual([{ reason: 'token', remoteAddress: '192.0.2.1' }])
    expect(login.login.size).toBe(0)
  })

  test.each([
    ['x', 'malformed'],
    ['a.b.c', 'malformed'],
    [`${token}!`, 'malformed'],
    [`${token}${'s'.repeat(20_000)}`, 'too long'],
  ])('refuses what can be no token before anybody looks at it: %#', (text, word) => {
    const login = world()
    const reply = login.ask(bearer(text))
    expect(reply.status).toBe(401)
    expect(header(reply, 'x-reason')).toContain(word)
    expect(login.checks).toEqual([])
  })

  test('takes a token in place of a password, also without a user name', () => {
    for (const fields of [
      { username: 'anybody', password: token },
      { username: '', password: token },
    ]) {
      const login = world()
      const exchange = login.send(answers(fields))
      expect(login.checks).toMatchObject([{ step: 'token', tokenVia: 'password', secret: token }])
      login.answer({ verdict: 'accept', username: 'anna' })
      expect(login.reply(exchange).status).toBe(200)
    }
  })

  test('a refused token in place of a password is a try like others, and the form says why', () => {
    const login = world()
    const first = login.send(answers({ username: 'a', password: token }))
    login.answer({ verdict: 'reject', text: 'The token has expired' })
    expect(login.reply(first).document).toMatchObject({ type: 'form', form: { error: 'The token has expired' } })
    const second = login.send(answers({ username: 'a', password: 'secret' }, login.reply(first)))
    expect(login.checks.at(-1)).toMatchObject({ step: 'password', secret: 'secret' })
    expect(login.checks.at(-1)).not.toHaveProperty('tokenVia')
    login.answer({ verdict: 'reject' })
    expect(login.reply(second).document).toMatchObject({ type: 'form', form: { error: 'Login failed.' } })
  })

  test('a login without a token that is under way is not asked for one', () => {
    const login = world()
    const first = login.send(answers({ username: 'a', password: 'wrong' }))
    login.answer({ verdict: 'reject' })
    const handle = login.reply(first).cookies.webvpncontext
    const reply = login.ask({ ...init(), headers: [...offering, ['Cookie', `webvpncontext=${handle}`]] })
    expect(reply.document).toMatchObject({ type: 'form' })
  })
})

test('a gateway that takes nothing but tokens refuses passwords without asking anybody', () => {
  const login = new LoginWorld({ methods: ['token'] })
  expect(login.ask(init()).document).toMatchObject({ type: 'form' })
  const reply = login.ask(answers({ username: 'anna', password: 'secret' }))
  expect(reply.document).toMatchObject({ type: 'form', form: { error: 'Login failed.' } })
  expect(login.checks).toEqual([])
})

test('a gateway that takes none does not look at them', () => {
  const login = new LoginWorld({ methods: ['password'] })
  expect(login.ask(bearer(token)).document).toMatchObject({ type: 'form' })
  login.send(answers({ username: 'anna', password: token }))
  expect(login.checks).toMatchObject([{ step: 'password', secret: token }])
})

test('a certificate that is enough goes before a token that is not there', () => {
  const peerCertificate = { commonNames: ['anna'], userIds: [], emails: [], fingerprint: 'f' }
  const login = new LoginWorld({ methods: ['certificate', 'token'] })
  login.send({ ...init(), headers: offering, peerCertificate })
  expect(login.checks).toMatchObject([{ step: 'certificate', username: 'anna' }])
})

test.each([
  [token, true],
  [`${'a'.repeat(40)}.${'b'.repeat(40)}.`, true],
  ['short.but.three', false],
  [`${'a'.repeat(40)}.${'b'.repeat(40)}`, false],
  [`${'a'.repeat(40)}.${'b b'.repeat(40)}.c`, false],
])('%#: has the form of a token: %s', (text, expected) => {
  expect(isTokenText(text)).toBe(expected)
})
