import { describe, expect, test } from 'vitest'
import { ClientLogin, type ClientLoginOptions, type ClientLoginOutput } from '../../src/protocol/client-login.ts'
import { FormFiller } from '../../src/protocol/form-answers.ts'
import { type HeaderLines, headerValue } from '../../src/protocol/http-message.ts'
import type { LoginForm } from '../../src/protocol/login-form.ts'
import { type LoginReplyDocument, writeLoginReply } from '../../src/protocol/login-reply.ts'
import { readFormBody, readLoginRequest } from '../../src/protocol/login-request.ts'
import { LoginWorld } from './support/login-world.ts'

const url = 'https://gw.example:4443/'
const main: LoginForm = {
  id: 'main',
  action: '/auth',
  fields: [
    { type: 'text', name: 'username', label: 'User:' },
    { type: 'password', name: 'password', label: 'Password:' },
  ],
}

function start(options: Partial<ClientLoginOptions> = {}) {
  const login = new ClientLogin({ url, ...options })
  login.start(0)
  const next = <Type extends ClientLoginOutput['type']>(type: Type) => {
    const output = login.poll()
    expect(output?.type).toBe(type)
    expect(login.poll()).toBeUndefined()
    return output as Extract<ClientLoginOutput, { type: Type }>
  }
  const reply = (
    status: number,
    headers: HeaderLines = [],
    body: Uint8Array | LoginReplyDocument = new Uint8Array(0),
  ) => login.handleReply({ status, headers, body: body instanceof Uint8Array ? body : writeLoginReply(body) }, 0)
  const fails = (code: string) => expect(next('failed').error).toMatchObject({ name: 'CoreError', code })
  return { login, next, reply, fails }
}

describe('against our gateway', () => {
  /** Runs both machines to the end. */
  function dialogue(world: LoginWorld, secrets: string[], group?: string, judge = (_secret?: string) => true) {
    const login = new ClientLogin({ url })
    const filler = new FormFiller({ username: 'alice', secrets, ...(group === undefined ? {} : { group }) })
    login.start(0)
    for (let output = login.poll(); output; output = login.poll()) {
      if (output.type === 'form') {
        const { values, missing } = filler.fill(output.form)
        if (missing.length > 0) return { type: 'unanswered', form: output.form } as const
        login.answerForm(values, 0)
      } else if (output.type === 'request') {
        const checked = world.checks.length
        const exchange = world.send({ ...output, remoteAddress: '192.0.2.1' })
        const check = world.checks[checked]
        if (check?.step === 'password' && secrets.length > 1) world.answer({ verdict: 'challenge', message: 'Code' })
        else if (check) world.answer(judge(check.secret) ? { verdict: 'accept' } : { verdict: 'reject' })
        login.handleReply(world.reply(exchange), 0)
      } else return output
    }
    throw new Error('the dialogue came to no end')
  }

  test('a password', () => {
    const world = new LoginWorld({ banner: 'Be welcome' })
    expect(dialogue(world, ['secret'])).toEqual({
      type: 'established',
      cookie: 'C'.repeat(43),
      banner: 'Be welcome',
      host: 'gw.example',
      port: 4443,
    })
    expect(world.checks).toMatchObject([{ username: 'alice', secret: 'secret' }])
  })

  test('a password and a code', () => {
    const world = new LoginWorld()
    expect(dialogue(world, ['secret', '246810']).type).toBe('established')
    expect(world.checks.map(({ step, secret }) => [step, secret])).toEqual([
      ['password', 'secret'],
      ['challenge', '246810'],
    ])
  })

  test('a group by value or label', () => {
    for (const group of ['ops', 'Operations']) {
      const world = new LoginWorld({ groups: [{ value: 'staff' }, { value: 'ops', label: 'Operations' }] })
      expect(dialogue(world, ['secret'], group).type).toBe('established')
      expect(world.checks[0]!.group).toBe('ops')
    }
  })

  test('a wrong password is sent once', () => {
    const world = new LoginWorld()
    expect(dialogue(world, ['wrong'], undefined, secret => secret !== 'wrong')).toMatchObject({
      type: 'unanswered',
      form: { error: 'Login failed.' },
    })
    expect(world.checks).toHaveLength(1)
  })
})

describe('requests', () => {
  test('the first is a document with the headers of a stock client, padded', () => {
    const { next } = start()
    const request = next('request')
    expect(request).toMatchObject({ method: 'POST', host: 'gw.example', port: 4443, path: '/' })
    expect(Object.fromEntries(request.headers)).toMatchObject({
      Host: 'gw.example:4443',
      'User-Agent': 'OpenConnect VPN Agent (Twinbore)',
      Accept: '*/*',
      'X-Transcend-Version': '1',
      'X-Aggregate-Auth': '1',
      'Content-Type': 'application/xml; charset=utf-8',
      'Content-Length': String(request.body.length),
    })
    expect((request.body.length + headerValue(request.headers, 'x-pad')!.length) % 64).toBe(0)
    expect(readLoginRequest(request.body)).toEqual({ type: 'init', certificateFailed: false })
  })

  test("answers go to the form's path with the cookies, the opaque note and every field", () => {
    const { login, next, reply } = start()
    next('request')
    reply(200, [['Set-Cookie', 'webvpncontext=abc; Secure']], { type: 'form', form: main })
    next('form')
    login.answerForm({ username: 'alice', password: ' s&<> ' }, 0)
    const request = next('request')
    expect(request.path).toBe('/auth')
    expect(headerValue(request.headers, 'cookie')).toBe('webvpncontext=abc')
    expect(readLoginRequest(request.body)).toEqual({
      type: 'auth-reply',
      fields: new Map([
        ['username', 'alice'],
        ['password', ' s&<> '],
      ]),
    })
  })

  test('some fields have another name in the answer', () => {
    const { login, next, reply } = start()
    next('request')
    const field = (name: string) => ({ type: 'password', name, label: '' }) as const
    reply(200, [], {
      type: 'form',
      form: { id: 'main', action: '', fields: [field('new_password'), field('verify_password')] },
    })
    next('form')
    login.answerForm({ new_password: 'n', verify_password: 'n' }, 0)
    expect(readLoginRequest(next('request').body)).toMatchObject({ fields: new Map([['password', 'n']]) })
  })

  test('an error on the first document leads to the older dialogue', () => {
    const { login, next, reply } = start()
    next('request')
    reply(400)
    const get = next('request')
    expect(get).toMatchObject({ method: 'GET', path: '/' })
    expect(headerValue(get.headers, 'x-aggregate-auth')).toBeUndefined()
    reply(200, [], { type: 'form', form: main })
    next('form')
    login.answerForm({ username: 'a', password: 'b&c' }, 0)
    const post = next('request')
    expect(headerValue(post.headers, 'content-type')).toBe('application/x-www-form-urlencoded')
    expect(readFormBody(post.body)).toEqual(
      new Map([
        ['username', 'a'],
        ['password', 'b&c'],
      ]),
    )
    reply(200, [['Set-Cookie', 'webvpn=xyz']], new TextEncoder().encode('<html>whatever</html>'))
    expect(next('established').cookie).toBe('xyz')
  })

  test('only once', () => {
    const { next, reply, fails } = start()
    next('request')
    reply(500)
    next('request')
    reply(500)
    fails('ERR_LOGIN_PROTOCOL')
  })
})

describe('redirects', () => {
  test('are followed to paths and to other hosts, without the cookies of the first', () => {
    const { next, reply } = start()
    next('request')
    reply(302, [
      ['Location', '/vpn/'],
      ['Set-Cookie', 'a=1'],
    ])
    expect(next('request')).toMatchObject({
      host: 'gw.example',
      path: '/vpn/',
      headers: expect.arrayContaining([['Cookie', 'a=1']]),
    })
    reply(302, [['Location', 'https://[2001:db8::1]/x?y=1']])
    const request = next('request')
    expect(request).toMatchObject({ host: '2001:db8::1', port: 443, path: '/x?y=1' })
    expect(headerValue(request.headers, 'host')).toBe('[2001:db8::1]')
    expect(headerValue(request.headers, 'cookie')).toBeUndefined()
    reply(200, [], { type: 'complete', sessionToken: 'token' })
    expect(next('established')).toEqual({ type: 'established', cookie: 'token', host: '2001:db8::1', port: 443 })
  })

  test.each(['http://gw.example/', 'ftp://x/', 'https://user:pw@evil.example/', 'https://', ''])(
    '%j is refused',
    location => {
      const { next, reply, fails } = start()
      next('request')
      reply(302, [['Location', location]])
      fails('ERR_LOGIN_PROTOCOL')
    },
  )

  test('end after ten', () => {
    const { next, reply, fails } = start()
    for (let i = 0; i < 10; i++) {
      next('request')
      reply(302, [['Location', `/${i}`]])
    }
    next('request')
    reply(302, [['Location', '/again']])
    fails('ERR_LOGIN_PROTOCOL')
  })

  test('no answer goes to another host', () => {
    const byForm = start()
    byForm.next('request')
    byForm.reply(200, [], { type: 'form', form: { ...main, action: 'https://evil.example/auth' } })
    byForm.next('form')
    byForm.login.answerForm({ username: 'a', password: 'b' }, 0)
    byForm.fails('ERR_LOGIN_PROTOCOL')

    const byRedirect = start()
    byRedirect.next('request')
    byRedirect.reply(200, [], { type: 'form', form: main })
    byRedirect.next('form')
    byRedirect.login.answerForm({ username: 'a', password: 'b' }, 0)
    byRedirect.next('request')
    byRedirect.reply(307, [['Location', 'https://evil.example/auth']])
    byRedirect.fails('ERR_LOGIN_PROTOCOL')
  })
})

describe('refusals', () => {
  test("401 after an answer is a rejected login, with the gateway's reason", () => {
    const { login, next, reply } = start()
    next('request')
    reply(200, [], { type: 'form', form: main })
    next('form')
    login.answerForm({ username: 'a', password: 'b' }, 0)
    next('request')
    reply(401, [['X-Reason', 'Authentication\tfailed']])
    expect(next('failed').error).toMatchObject({
      code: 'ERR_LOGIN_REJECTED',
      message: 'the gateway refused the login: 401 Authentication failed',
    })
  })

  test('401 on the first request asks for a certificate, unless there is one', () => {
    const without = start()
    without.next('request')
    without.reply(401)
    without.fails('ERR_LOGIN_CERTIFICATE_REQUIRED')
    const withOne = start({ hasCertificate: true })
    withOne.next('request')
    withOne.reply(401)
    withOne.fails('ERR_LOGIN_REJECTED')
  })

  test('a certificate request is answered once', () => {
    const { next, reply, fails } = start()
    next('request')
    reply(200, [], { type: 'certificate-request' })
    expect(readLoginRequest(next('request').body)).toEqual({ type: 'init', certificateFailed: true })
    reply(200, [], { type: 'certificate-request' })
    fails('ERR_LOGIN_CERTIFICATE_REQUIRED')
  })

  test('an end without a cookie, and an answer without a meaning', () => {
    for (const body of [writeLoginReply({ type: 'complete' }), new TextEncoder().encode('<html/>')]) {
      const { next, reply, fails } = start()
      next('request')
      reply(200, [], body)
      fails('ERR_LOGIN_PROTOCOL')
    }
  })

  test('a gateway that asks for ever is left', () => {
    const { login, next, reply, fails } = start()
    let requests = 0
    for (; requests < 32; requests++) {
      next('request')
      reply(200, [], { type: 'form', form: main })
      next('form')
      login.answerForm({ username: 'a', password: 'b' }, 0)
    }
    fails('ERR_LOGIN_PROTOCOL')
  })

  test('a login ends after four minutes', () => {
    const { login, next, fails } = start()
    next('request')
    expect(login.deadline).toBe(240_000)
    login.handleDeadline(239_999)
    expect(login.poll()).toBeUndefined()
    login.handleDeadline(240_000)
    fails('ERR_LOGIN_TIMEOUT')
    expect(login.deadline).toBeUndefined()
    login.handleReply({ status: 200, headers: [], body: new Uint8Array(0) }, 240_001)
    expect(login.poll()).toBeUndefined()
  })

  test.each(['http://gw/', 'gw.example', '', 'https://u:p@gw/'])('the URL %j is a mistake of the caller', text => {
    expect(() => new ClientLogin({ url: text })).toThrow(TypeError)
  })
})

describe('FormFiller', () => {
  const fill = (form: LoginForm, known: Partial<ConstructorParameters<typeof FormFiller>[0]> = {}) =>
    new FormFiller({ secrets: [], ...known }).fill(form)

  test('knows user name, secrets in order, and values that came along', () => {
    const form: LoginForm = {
      ...main,
      fields: [
        ...main.fields,
        { type: 'password', name: 'secondary_password', label: '' },
        { type: 'hidden', name: 'h', label: '', value: 'v' },
      ],
    }
    expect(fill(form, { username: 'alice', secrets: ['one', 'two'] })).toEqual({
      values: { username: 'alice', password: 'one', secondary_password: 'two', h: 'v' },
      missing: [],
      repeated: false,
    })
  })

  test('names what is missing', () => {
    expect(fill(main).missing.map(({ name }) => name)).toEqual(['username', 'password'])
  })

  test('gives no second secret to a form that calls the first one wrong', () => {
    const filler = new FormFiller({ username: 'a', secrets: ['password', 'code'] })
    filler.fill(main)
    const again = filler.fill({ ...main, error: 'Login failed.' })
    expect(again).toMatchObject({ repeated: true, missing: [{ name: 'password' }] })
  })

  test('an unknown group is missing, and without a wish the first one counts', () => {
    const list = {
      type: 'select',
      name: 'group_list',
      label: '',
      options: [
        { value: 'a', label: 'A' },
        { value: 'b', label: 'B' },
      ],
    } as const
    const form = { id: 'main', action: '', fields: [list] }
    expect(fill(form).values).toEqual({ group_list: 'a' })
    expect(fill(form, { group: 'B' }).values).toEqual({ group_list: 'b' })
    expect(fill(form, { group: 'c' }).missing).toEqual([list])
  })
})
