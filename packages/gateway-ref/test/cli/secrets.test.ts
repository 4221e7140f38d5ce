import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readPasswordFile, SecretReader } from '../../src/cli/io/secrets.ts'
import { TestContext } from './run-main.ts'

describe('on a terminal', () => {
  test('the question is shown, the answer is not, and the terminal is as before', async () => {
    const { reader, context, modes } = terminal('s3cret\r')
    expect(await reader.ask('Password: ')).toBe('s3cret')
    expect(context.err).toBe('Password: \n')
    expect(modes).toEqual([true, false])
  })

  test.each([
    ['rubout', 'abx\u007fc\r', 'abc'],
    ['rubout at the start', '\u007fa\r', 'a'],
    ['Ctrl-U', 'wrong\u0015right\r', 'right'],
    ['Ctrl-D after text', 'abc\u0004', 'abc'],
    ['other control characters', 'a\u0001\u001bb\r', 'ab'],
    ['letters beyond ASCII', 'pä\u007fäß😀\r', 'päß😀'],
    ['line feed', 'abc\n', 'abc'],
  ])('%s', async (_, typed, text) => {
    expect(await terminal(typed).reader.ask('')).toBe(text)
  })

  test('letters that come in pieces are put together', async () => {
    const { reader, stdin } = terminal()
    const asked = reader.ask('')
    const bytes = Buffer.from('ß😀\r')
    for (const byte of bytes) stdin.write(Buffer.from([byte]))
    expect(await asked).toBe('ß😀')
  })

  test('with echo the answer is shown, corrections too', async () => {
    const { reader, context } = terminal('ax\u007fb\r')
    expect(await reader.ask('Name: ', { echo: true })).toBe('ab')
    expect(context.err).toBe('Name: ax\b \bb\n')
  })

  test.each([
    ['Ctrl-C', 'ab\u0003'],
    ['Ctrl-D at the start', '\u0004'],
    ['more than 1024 letters', `${'x'.repeat(1025)}\r`],
  ])('%s ends the question, and the terminal is as before', async (_, typed) => {
    const { reader, modes } = terminal(typed)
    await expect(reader.ask('')).rejects.toMatchObject({ code: 'ERR_GATEWAY_ABORTED' })
    expect(modes).toEqual([true, false])
  })

  test('a new password is asked for twice', async () => {
    const { reader, context } = terminal('one\rone\r')
    expect(await reader.askNew('Password: ', 'Once more: ')).toBe('one')
    expect(context.err).toBe('Password: \nOnce more: \n')
    await expect(terminal('one\rtwo\r').reader.askNew('', '')).rejects.toThrow('the two passwords differ')
    await expect(terminal('\r').reader.askNew('', '')).rejects.toThrow('the password is empty')
  })

  test('what a gateway sends can not steer it', async () => {
    const { reader, context } = terminal('x\r')
    reader.tell('hello\u001b[2J\nworld\u202e')
    await reader.ask('Code\u0007: ')
    expect(context.err).toBe('hello[2J world\nCode: \n')
  })
})

describe('from standard input', () => {
  test('each question takes a line; nothing is shown', async () => {
    const context = new TestContext({ input: 'first\r\nsecond\nthird' })
    const reader = new SecretReader(context)
    expect(await reader.ask('Password: ')).toBe('first')
    reader.tell('hello')
    expect(await reader.ask('Code: ')).toBe('second')
    expect(await reader.ask('Code: ')).toBe('third')
    await expect(reader.ask('Code: ')).rejects.toThrow('standard input ended')
    expect(context.err).toBe('')
  })

  test('an endless line is refused before it fills the memory', async () => {
    const context = new TestContext({ input: 'x'.repeat(100_000) })
    await expect(new SecretReader(context).ask('')).rejects.toThrow('at most 1024 characters')
  })
})

describe('from a file', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'twinbore-secrets-'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  test.each([
    ['one\n', 'one'],
    ['one\r\ntwo\n', 'one'],
    [' blanks count ', ' blanks count '],
  ])('%j', async (text, password) => {
    await writeFile(join(folder, 'password'), text)
    expect(await readPasswordFile(join(folder, 'password'))).toBe(password)
  })

  test('that is empty or missing', async () => {
    await writeFile(join(folder, 'empty'), '\nsecond\n')
    await expect(readPasswordFile(join(folder, 'empty'))).rejects.toThrow('has an empty first line')
    await expect(readPasswordFile(join(folder, 'none'))).rejects.toThrow('there is no such file')
  })
})

function terminal(typed?: string) {
  const modes: boolean[] = []
  const context = new TestContext()
  const stdin = Object.assign(new PassThrough(), {
    isTTY: true as const,
    setRawMode(mode: boolean) {
      modes.push(mode)
      return stdin as never
    },
  })
  if (typed !== undefined) stdin.write(typed)
  const { stdout, stderr, environment, signals } = context
  return { reader: new SecretReader({ stdin, stdout, stderr, environment, signals }), context, modes, stdin }
}
