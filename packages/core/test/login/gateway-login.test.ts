import { describe, expect, test } from 'vitest'
import { headerValue } from '../../src/index.ts'
import type { PeerCertificate } from '../../src/protocol/credentials.ts'
import { gatewayLoginConfig } from '../../src/protocol/gateway-login-options.ts'
import { answers, init, LoginWorld, type TestReply, vpnClient } from './support/login-world.ts'

const password = { username: 'alice', password: 'secret' }
const cookie = 'C'.repeat(43)
const certificate: PeerCertificate = {
  commonNames: ['alice'],
  userIds: ['u1'],
  emails: [],
  fingerprint: 'ab'.repeat(32),
}
const errorOf = (reply: TestReply) => (reply.document?.type === 'form' ? reply.document.form.error : undefined)
const formOf = (reply: TestReply) => (reply.document?.type === 'form' ? reply.document.form : undefined)

describe('a password login', () => {
  test('leads from the form to the cookie', () => {
    const world = new LoginWorld({ banner: 'Authorised use only' })
    const form = world.ask(init())
    expect(form).toMatchObject({ status: 200, close: false, cookies: {} })
    expect(headerValue(form.headers, 'content-type')).toBe('text/xml')
    expect(formOf(form)).toMatchObject({
      id: 'main',
      action: '/auth',
      banner: 'Authorised use only',
      fields: [
        { type: 'text', name: 'username' },
        { type: 'password', name: 'password' },
      ],
    })

    const exchange = world.send(answers(password))
    expect(world.checks).toEqual([
      {
        login: 1,
        step: 'password',
        username: 'alice',
        secret: 'secret',
        remoteAddress: '192.0.2.1',
        userAgent: vpnClient[0]![1],
      },
    ])
    expect(world.replies.has(exchange)).toBe(false)
    world.answer({ verdict: 'accept', group: 'staff' }, cookie)
    expect(world.established).toMatchObject([{ identity: { username: 'alice', method: 'password', group: 'staff' } }])
    expect(world.reply(exchange)).toMatchObject({
      status: 200,
      cookies: { webvpn: cookie, webvpncontext: '' },
      document: { type: 'complete', banner: 'Authorised use only' },
    })
    expect(world.login.size).toBe(0)
  })

  test('a form that nobody answers costs no memory', () => {
    const world = new LoginWorld()
    for (let i = 0; i < 1000; i++) world.ask(init())
    expect(world.login.size).toBe(0)
    expect(world.login.deadline).toBeUndefined()
  })

  test('the user name of the session is the one that the checker gives', () => {
    const world = new LoginWorld()
    world.send(answers({ username: ' Alice ', password: 'secret' }))
    expect(world.checks[0]!.username).toBe('Alice')
    world.answer({ verdict: 'accept', username: 'alice@corp.example' })
    expect(world.established[0]!.identity.username).toBe('alice@corp.example')
  })

  test('unknown user and wrong password read the same', () => {
    const world = new LoginWorld()
    const replies = [
      answers(password),
      answers({ username: 'nobody', password: 'x' }),
      answers({ username: '../etc', password: 'x' }),
    ].map(request => {
      const exchange = world.send(request)
      if (!world.replies.has(exchange)) world.answer({ verdict: 'reject' })
      const { body, status, close } = world.reply(exchange)
      return { body: new TextDecoder().decode(body), status, close }
    })
    expect(replies[0]).toMatchObject({ status: 200, close: false })
    expect(replies[1]).toEqual(replies[0])
    expect(replies[2]).toEqual(replies[0])
  })

  test('a wrong password gives the form again, twice, and then 401', () => {
    const world = new LoginWorld()
    let reply: TestReply | undefined
    for (let i = 1; i <= 3; i++) {
      const exchange = world.send(answers(password, reply))
      world.answer({ verdict: 'reject' })
      reply = world.reply(exchange)
      if (i < 3) expect(errorOf(reply)).toBe('Login failed.')
    }
    expect(reply).toMatchObject({ status: 401, close: true })
    expect(headerValue(reply!.headers, 'x-reason')).toBe('Authentication failed')
    expect(world.rejections.map(({ reason }) => reason)).toEqual([
      'credentials',
      'credentials',
      'credentials',
      'too-many-tries',
    ])
    expect(world.login.size).toBe(0)
  })

  test('the right password after a wrong one in the same dialogue', () => {
    const world = new LoginWorld()
    const wrong = world.send(answers({ username: 'alice', password: 'wrong' }))
    world.answer({ verdict: 'reject' })
    const right = world.send(answers(password, world.reply(wrong)))
    expect(world.checks[1]).toMatchObject({ login: 1, secret: 'secret' })
    world.answer({ verdict: 'accept' }, cookie)
    expect(world.reply(right).cookies.webvpn).toBe(cookie)
  })

  test('tries count over several user names in one dialogue', () => {
    const world = new LoginWorld({ maxTries: 2 })
    const first = world.send(answers(password))
    world.answer({ verdict: 'reject' })
    const second = world.send(answers({ username: 'bob', password: 'x' }, world.reply(first)))
    world.answer({ verdict: 'reject' })
    expect(world.reply(second).status).toBe(401)
    expect(world.rejections.map(({ username }) => username)).toEqual(['alice', 'bob', 'bob'])
  })

  test.each([{ username: 'alice', password: '' }, { username: ' ', password: 'x' }, { username: 'alice' }, {}])(
    'an incomplete answer %j gives the form again and is no try',
    fields => {
      const world = new LoginWorld()
      expect(errorOf(world.ask(answers(fields as Record<string, string>)))).toBe('Please enter both.')
      expect(world.checks).toEqual([])
      expect(world.rejections).toEqual([])
      expect(world.login.size).toBe(0)
    },
  )

  test('the older dialogue leads to the same end', () => {
    const world = new LoginWorld()
    const form = world.ask({ method: 'GET', headers: [['User-Agent', 'Open AnyConnect VPN Agent v9.01-3']] })
    expect(formOf(form)?.id).toBe('main')
    const exchange = world.send({
      path: '/auth',
      headers: [['Content-Type', 'application/x-www-form-urlencoded']],
      body: new TextEncoder().encode('username=Zo%C3%AB&password=p%26w+1'),
    })
    expect(world.checks[0]).toMatchObject({ username: 'Zoë', secret: 'p&w 1' })
    world.answer({ verdict: 'accept' }, cookie)
    expect(world.reply(exchange).cookies.webvpn).toBe(cookie)
  })

  test('a store out of reach is 503 and no try', () => {
    const world = new LoginWorld()
    const exchange = world.send(answers(password))
    world.answer({ verdict: 'unavailable' })
    expect(world.reply(exchange)).toMatchObject({ status: 503, close: true })
    expect(world.rejections).toEqual([])
    expect(world.login.size).toBe(0)
  })

  test('no session for an accepted user is 503 with the reason', () => {
    const world = new LoginWorld()
    const exchange = world.send(answers(password))
    world.login.answerCheck(1, { verdict: 'accept' }, 0)
    world.drain()
    world.login.refuse(1, 'The gateway is full', 0)
    world.drain()
    expect(world.reply(exchange).status).toBe(503)
    expect(headerValue(world.reply(exchange).headers, 'x-reason')).toBe('The gateway is full')
    expect(world.login.size).toBe(0)
  })
})

describe('groups', () => {
  const groups = [{ value: 'staff' }, { value: 'ops', label: 'Operations' }]

  test('are listed, the chosen one first', () => {
    const world = new LoginWorld({ groups })
    const list = (reply: TestReply) => formOf(reply)?.fields.find(field => field.type === 'select')
    expect(list(world.ask(init()))).toMatchObject({ name: 'group_list', value: 'staff' })
    expect(list(world.ask(init('ops')))).toMatchObject({
      value: 'ops',
      options: [
        { value: 'ops', label: 'Operations' },
        { value: 'staff', label: 'staff' },
      ],
    })
  })

  test('come to the checker; one that is not listed does not', () => {
    const world = new LoginWorld({ groups })
    world.send(answers({ ...password, group_list: 'ops' }))
    expect(world.checks[0]).toMatchObject({ group: 'ops' })
    expect(errorOf(world.ask(answers({ ...password, group_list: '../../etc' })))).toBe('There is no such group.')
    expect(world.checks).toHaveLength(1)
  })

  test('can be chosen anew in mid-dialogue without losing count of the tries', () => {
    const world = new LoginWorld({ groups, maxTries: 2 })
    const first = world.send(answers(password))
    world.answer({ verdict: 'reject' })
    const { cookies } = world.reply(first)
    const again = world.ask({
      ...init('ops'),
      headers: [...vpnClient, ['Cookie', `webvpncontext=${cookies.webvpncontext}`]],
    })
    expect(formOf(again)).toBeDefined()
    const second = world.send(answers(password, world.reply(first)))
    world.answer({ verdict: 'reject' })
    expect(world.reply(second).status).toBe(401)
  })
})

describe('a second step', () => {
  const challenge = (world: LoginWorld) => {
    const exchange = world.send(answers(password))
    world.answer({ verdict: 'challenge', message: 'Enter the code.', label: 'Token:', state: { seed: 1 } })
    return world.reply(exchange)
  }

  test('is a form of its own, and its answer comes with the state of the first', () => {
    const world = new LoginWorld()
    const form = challenge(world)
    expect(formOf(form)).toMatchObject({
      id: 'challenge',
      message: 'Enter the code.',
      fields: [{ type: 'password', name: 'password', label: 'Token:' }],
    })
    expect(form.cookies.webvpncontext).toHaveLength(43)
    const exchange = world.send(answers({ password: '246810' }, form))
    expect(world.checks[1]).toMatchObject({
      step: 'challenge',
      username: 'alice',
      secret: '246810',
      state: { seed: 1 },
    })
    world.answer({ verdict: 'accept' }, cookie)
    expect(world.reply(exchange).cookies).toEqual({ webvpn: cookie, webvpncontext: '' })
  })

  test('can be answered wrongly, and counts as a try', () => {
    const world = new LoginWorld({ maxTries: 2 })
    const form = challenge(world)
    const first = world.send(answers({ password: '1' }, form))
    world.answer({ verdict: 'reject' })
    expect(formOf(world.reply(first))).toMatchObject({
      id: 'challenge',
      error: 'Login failed.',
      message: 'Enter the code.',
    })
    const second = world.send(answers({ password: '2' }, form))
    world.answer({ verdict: 'reject' })
    expect(world.reply(second).status).toBe(401)
  })

  test('is bound to its cookie: without it, or with another, there is no challenge', () => {
    const world = new LoginWorld()
    const form = challenge(world)
    expect(errorOf(world.ask(answers({ password: '246810' })))).toBe('Please enter both.')
    const forged = { ...form, cookies: { webvpncontext: 'A'.repeat(43) } }
    expect(errorOf(world.ask(answers({ password: '246810' }, forged)))).toBe('Please enter both.')
    expect(world.checks).toHaveLength(1)
  })

  test('is given up by beginning anew', () => {
    const world = new LoginWorld()
    const form = challenge(world)
    world.ask({ ...init(), headers: [...vpnClient, ['Cookie', `webvpncontext=${form.cookies.webvpncontext}`]] })
    expect(world.login.size).toBe(0)
    expect(errorOf(world.ask(answers({ password: '246810' }, form)))).toBe('Please enter both.')
  })

  test('a second answer while the first is being checked is refused', () => {
    const world = new LoginWorld()
    const form = challenge(world)
    const first = world.send(answers({ password: '246810' }, form))
    expect(world.ask(answers({ password: '246810' }, form))).toMatchObject({ status: 400, close: true })
    world.answer({ verdict: 'accept' }, cookie)
    expect(world.reply(first).status).toBe(200)
  })
})

describe('client certificates', () => {
  test('one that is enough completes the login in the first reply', () => {
    const world = new LoginWorld({ methods: ['certificate'] })
    const exchange = world.send({ ...init(), peerCertificate: certificate })
    expect(world.checks).toMatchObject([{ step: 'certificate', username: 'alice', certificate }])
    expect(world.checks[0]).not.toHaveProperty('secret')
    world.answer({ verdict: 'accept' }, cookie)
    expect(world.reply(exchange)).toMatchObject({ status: 200, cookies: { webvpn: cookie } })
    expect(world.established[0]!.identity).toEqual({
      username: 'alice',
      method: 'certificate',
      certificateFingerprint: certificate.fingerprint,
    })
  })

  test('can be followed by a second step', () => {
    const world = new LoginWorld({ methods: ['certificate'] })
    const exchange = world.send({ ...init(), peerCertificate: certificate })
    world.answer({ verdict: 'challenge', message: 'Code' })
    world.send({ ...answers({ password: '1' }, world.reply(exchange)), peerCertificate: certificate })
    expect(world.checks[1]).toMatchObject({ step: 'challenge', username: 'alice', secret: '1' })
  })

  test.each([
    ['none', undefined, 'no-certificate'],
    ['one without a name', { ...certificate, commonNames: [] }, 'certificate-identity'],
    ['one with two names', { ...certificate, commonNames: ['alice', 'root'] }, 'certificate-identity'],
    ['one with a name like a path', { ...certificate, commonNames: ['../alice'] }, 'certificate-identity'],
  ])('%s is refused where one is required', (_, peerCertificate, reason) => {
    for (const methods of [['certificate'], ['certificate-and-password']] as const) {
      const world = new LoginWorld({ methods })
      for (const request of [init(), answers(password)]) {
        const reply = world.ask({ ...request, ...(peerCertificate ? { peerCertificate } : {}) })
        expect(reply).toMatchObject({ status: 401, close: true })
      }
      expect(world.rejections.map(rejection => rejection.reason)).toEqual([reason, reason])
      expect(world.checks).toEqual([])
    }
  })

  test('a refused one ends the login, or leads to the password form where there is one', () => {
    const strict = new LoginWorld({ methods: ['certificate'] })
    const refused = strict.send({ ...init(), peerCertificate: certificate })
    strict.answer({ verdict: 'reject' })
    expect(strict.reply(refused).status).toBe(401)

    const world = new LoginWorld({ methods: ['certificate', 'password'] })
    const first = world.send({ ...init(), peerCertificate: certificate })
    world.answer({ verdict: 'reject' })
    expect(formOf(world.reply(first))).not.toHaveProperty('error')
    world.send({ ...answers(password, world.reply(first)), peerCertificate: certificate })
    expect(world.checks[1]).toMatchObject({ step: 'password', username: 'alice' })
    world.answer({ verdict: 'accept' })
    expect(world.established[0]!.identity.method).toBe('password')
  })

  test('where either is enough, a client without one gets the form', () => {
    const world = new LoginWorld({ methods: ['certificate', 'password'] })
    expect(formOf(world.ask(init()))).toBeDefined()
    expect(formOf(world.ask({ ...init(), peerCertificate: { ...certificate, commonNames: [] } }))).toBeDefined()
    expect(world.rejections).toEqual([])
  })

  test('together with a password they must name the same user, unless told otherwise', () => {
    const bob = { ...certificate, commonNames: ['bob'] }
    const strict = new LoginWorld({ methods: ['certificate-and-password'] })
    expect(errorOf(strict.ask({ ...answers(password), peerCertificate: bob }))).toBe('Login failed.')
    expect(strict.checks).toEqual([])

    const lax = new LoginWorld({ methods: ['certificate-and-password'], certificateMustMatch: false })
    lax.send({ ...answers(password), peerCertificate: bob })
    expect(lax.checks).toMatchObject([{ username: 'alice', certificate: bob }])
  })

  test('the name comes from the configured field', () => {
    const world = new LoginWorld({ methods: ['certificate'], certificateIdentity: 'user-id' })
    world.send({ ...init(), peerCertificate: certificate })
    expect(world.checks[0]!.username).toBe('u1')
    const byEmail = new LoginWorld({ methods: ['certificate'], certificateIdentity: 'email' })
    expect(byEmail.ask({ ...init(), peerCertificate: certificate }).status).toBe(401)
  })

  test('there is no password login where only certificates count', () => {
    const world = new LoginWorld({ methods: ['certificate'] })
    const reply = world.ask({ ...answers(password), peerCertificate: certificate })
    expect(reply.status).toBeGreaterThanOrEqual(400)
    expect(world.checks).toEqual([])
  })
})

describe('what else comes to the port', () => {
  test('a browser or a load balancer sees a plain page', () => {
    const world = new LoginWorld()
    for (const headers of [[], [['User-Agent', 'Mozilla/5.0']]] as [string, string][][]) {
      const reply = world.ask({ method: 'GET', headers })
      expect(reply).toMatchObject({ status: 200, close: false, document: undefined })
      expect(headerValue(reply.headers, 'content-type')).toMatch(/^text\/html/)
      expect(headerValue(reply.headers, 'server')).toBeUndefined()
    }
  })

  test.each([
    ['GET', '/index.html'],
    ['GET', '/+CSCOE+/logon.html'],
    ['POST', '/logout'],
    ['HEAD', '/'],
    ['PUT', '/'],
    ['DELETE', '/auth'],
    ['POST', '/auth/../x'],
  ])('%s %s is not found', (method, path) => {
    expect(new LoginWorld().ask({ method, path, headers: vpnClient })).toMatchObject({ status: 404, close: true })
  })

  test('the query of a path is ignored', () => {
    expect(formOf(new LoginWorld().ask({ ...init(), path: '/?group=x' }))).toBeDefined()
  })

  test.each(['', 'nonsense', '<config-auth type="init">', '<!DOCTYPE x><config-auth type="init"/>', '<a/>'])(
    'the document %j is refused',
    body => {
      const world = new LoginWorld()
      expect(world.ask({ headers: vpnClient, body: new TextEncoder().encode(body) })).toMatchObject({
        status: 400,
        close: true,
      })
      expect(world.login.counters.get('refusedRequests')).toBe(1)
    },
  )
})

describe('limits', () => {
  test('an unfinished login is forgotten after its time', () => {
    const world = new LoginWorld()
    const exchange = world.send(answers(password))
    world.answer({ verdict: 'challenge', message: 'Code' })
    expect(world.login.deadline).toBe(240_000)
    world.advance(239_999)
    expect(world.login.size).toBe(1)
    world.advance(1)
    expect(world.login.size).toBe(0)
    expect(world.login.deadline).toBeUndefined()
    expect(errorOf(world.ask(answers({ password: '1' }, world.reply(exchange))))).toBe('Please enter both.')
  })

  test('a check that is never answered ends with 503, and a late answer does nothing', () => {
    const world = new LoginWorld()
    const exchange = world.send(answers(password))
    world.advance(240_000)
    expect(world.reply(exchange)).toMatchObject({ status: 503, close: true })
    world.answer({ verdict: 'accept' })
    expect(world.established).toEqual([])
  })

  test('one address has 64 unfinished logins; the newest push out the oldest', () => {
    const world = new LoginWorld()
    const forms = Array.from({ length: 65 }, () => {
      const exchange = world.send(answers(password))
      world.answer({ verdict: 'challenge', message: 'Code' })
      return world.reply(exchange)
    })
    expect(world.login.size).toBe(64)
    expect(errorOf(world.ask(answers({ password: '1' }, forms[0]!)))).toBe('Please enter both.')
    world.send(answers({ password: '1' }, forms[64]!))
    expect(world.checks.at(-1)).toMatchObject({ step: 'challenge' })
  })

  test('checks under way are not pushed out', () => {
    const world = new LoginWorld({ maxPendingPerAddress: 2 })
    const exchanges = [world.send(answers(password)), world.send(answers(password))]
    expect(world.ask(answers(password))).toMatchObject({ status: 503 })
    world.login.answerCheck(1, { verdict: 'reject' }, 0)
    world.drain()
    expect(world.reply(exchanges[0]!).status).toBe(200)
  })

  test('all addresses together have a limit', () => {
    const world = new LoginWorld({ maxPending: 10 })
    for (let i = 0; i < 10; i++) world.send({ ...answers(password), remoteAddress: `198.51.100.${i}` })
    expect(world.ask({ ...answers(password), remoteAddress: '203.0.113.1' })).toMatchObject({
      status: 503,
      close: true,
    })
    expect(world.login.size).toBe(10)
  })

  test('a connection that goes away takes its check along', () => {
    const world = new LoginWorld()
    const exchange = world.send(answers(password))
    world.login.abandonExchange(exchange)
    world.answer({ verdict: 'accept' })
    expect(world.established).toEqual([])
    expect(world.replies.size).toBe(0)
    expect(world.login.size).toBe(0)
  })

  test('wrong options are refused by name', () => {
    expect(() => gatewayLoginConfig({ methods: [] })).toThrow(/methods/)
    expect(() => gatewayLoginConfig({ methods: ['password'], maxTries: 0 })).toThrow(/maxTries/)
    expect(() => gatewayLoginConfig({ methods: ['password'], groups: [{ value: 'a/b' }] })).toThrow(/groups/)
  })
})
