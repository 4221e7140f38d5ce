import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { LoginForm } from '../../src/protocol/login-form.ts'
import { readLoginReply, writeLoginReply } from '../../src/protocol/login-reply.ts'
import { readFormBody, readLoginRequest, writeFormBody, writeLoginRequest } from '../../src/protocol/login-request.ts'
import { element } from '../../src/protocol/xml.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const client = { version: 'v9.01', deviceId: 'linux-64', groupAccess: 'https://gw.example/' }

describe('documents of clients', () => {
  // Written after the tree that openconnect 9.01 sends.
  test('the first document of a stock client', () => {
    const document = readLoginRequest(
      bytes(`<?xml version="1.0" encoding="UTF-8"?>
<config-auth client="vpn" type="init" aggregate-auth-version="2"><version who="vpn">v9.01-3</version><device-id>linux-64</device-id><capabilities><auth-method>single-sign-on-v2</auth-method></capabilities><group-access>https://127.0.0.1:4433</group-access><group-select>ops</group-select></config-auth>`),
    )
    expect(document).toEqual({ type: 'init', group: 'ops', certificateFailed: false })
  })

  test('a client that was asked for a certificate and has none', () => {
    const document = readLoginRequest(bytes('<config-auth type="init"><client-cert-fail/></config-auth>'))
    expect(document).toEqual({ type: 'init', certificateFailed: true })
  })

  test('answers keep every blank and character of a password', () => {
    const fields = new Map([
      ['username', 'Zoë'],
      ['password', ' <p&w>\t"x" '],
    ])
    const opaque = element('opaque', { 'is-for': 'sg' }, element('handle', {}, '42'))
    const document = { type: 'auth-reply', fields, group: 'staff', opaque } as const
    expect(readLoginRequest(writeLoginRequest(document, client))).toEqual(document)
  })

  test.each([
    ['another root', '<auth type="init"/>'],
    ['another type', '<config-auth type="logout"/>'],
    ['no type', '<config-auth/>'],
    ['no answers', '<config-auth type="auth-reply"/>'],
    ['33 answers', `<config-auth type="auth-reply"><auth>${'<a/>'.repeat(33)}</auth></config-auth>`],
    [
      'an answer beyond 16 KiB',
      `<config-auth type="auth-reply"><auth><a>${'x'.repeat(16_385)}</a></auth></config-auth>`,
    ],
    ['no XML', 'username=a&password=b'],
    ['nothing', ''],
  ])('%s is malformed', (_, text) => {
    expect(readLoginRequest(bytes(text))).toBeUndefined()
  })

  test('a form body is read as it was written', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.stringMatching(/^[a-z_]{1,12}$/), fc.string({ unit: 'grapheme', maxLength: 30 })),
        fields => {
          const map = new Map(Object.entries(fields))
          expect(readFormBody(writeFormBody(map))).toEqual(map)
        },
      ),
    )
  })

  test('a form body has at most 32 fields of at most 16 KiB', () => {
    expect(readFormBody(bytes(Array.from({ length: 33 }, (_, i) => `f${i}=`).join('&')))).toBeUndefined()
    expect(readFormBody(bytes(`password=${'x'.repeat(16_385)}`))).toBeUndefined()
    expect(readFormBody(bytes(`password=${'x'.repeat(16_384)}`))?.get('password')).toHaveLength(16_384)
    expect(readFormBody(bytes('password=first&password=second'))?.get('password')).toBe('first')
  })
})

describe('documents of gateways', () => {
  const text = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
    .filter(value => value.trim() === value && [...value].every(c => c >= ' '))
  const name = fc.stringMatching(/^[a-z][a-z_]{0,10}$/)
  const choice = fc.uniqueArray(fc.record({ value: text, label: text }), {
    minLength: 1,
    maxLength: 4,
    selector: option => option.value,
  })
  const field = fc.oneof(
    fc.record(
      { type: fc.constantFrom('text', 'password', 'hidden'), name, label: text, value: text },
      { requiredKeys: ['type', 'name', 'label'] },
    ),
    fc
      .record({ name, label: text, options: choice })
      .map(select => ({ type: 'select' as const, ...select, value: select.options[0]!.value })),
  )
  const form = fc.record(
    {
      id: name,
      action: fc.constant('/auth'),
      title: text,
      banner: text,
      message: text,
      error: text,
      fields: fc.array(field, { maxLength: 6 }),
    },
    { requiredKeys: ['id', 'action', 'fields'] },
  ) as fc.Arbitrary<LoginForm>

  test('a form is read as it was written', () => {
    fc.assert(
      fc.property(
        form.filter(({ id }) => id !== 'success'),
        value => {
          expect(readLoginReply(writeLoginReply({ type: 'form', form: value }))).toEqual({ type: 'form', form: value })
        },
      ),
      { numRuns: 300 },
    )
  })

  test.each([
    [{ type: 'complete' }],
    [{ type: 'complete', banner: 'Welcome & enjoy', sessionToken: 'abc' }],
    [{ type: 'certificate-request' }],
  ] as const)('%j is read as it was written', document => {
    expect(readLoginReply(writeLoginReply(document))).toEqual(document)
  })

  test('the older document without config-auth', () => {
    const document = readLoginReply(
      bytes(
        '<auth id="main"><message param1="alice" param2="x">Hi %s, %s 100%</message><form action="/a"><input type="text" name="username" label="U"/><input type="sso" name="t"/><input type="password" name="bad name"/></form></auth>',
      ),
    )
    expect(document).toMatchObject({
      type: 'form',
      form: { message: 'Hi alice, x 100%', fields: [{ type: 'text', name: 'username', label: 'U' }] },
    })
    expect(readLoginReply(bytes('<auth id="success"><banner>b</banner></auth>'))).toEqual({
      type: 'complete',
      banner: 'b',
    })
  })

  test('texts are cut, fields are counted', () => {
    const long = readLoginReply(bytes(`<auth id="main"><message>${'x'.repeat(10_000)}</message><form/></auth>`))
    expect(long?.type === 'form' && long.form.message).toHaveLength(4096)
    const many = `<auth id="main"><form>${'<input type="text" name="a"/>'.repeat(33)}</form></auth>`
    expect(readLoginReply(bytes(many))).toBeUndefined()
    const groups = `<auth id="main"><form><select name="group_list">${'<option>g</option>'.repeat(500)}</select></form></auth>`
    expect(readLoginReply(bytes(groups))).toBeDefined()
  })

  test.each([
    '',
    '<html/>',
    '<config-auth type="auth-request"/>',
    '<config-auth type="auth-request"><auth id="main"/></config-auth>',
  ])('%j is not understood', value => {
    expect(readLoginReply(bytes(value))).toBeUndefined()
  })
})
