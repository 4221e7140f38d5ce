import { describe, expect, test } from 'vitest'
import type { LogConfig } from '../../src/config/gateway-config.ts'
import { createLogger } from '../../src/log/io/create-logger.ts'
import type { Logger } from '../../src/log/logger.ts'
import { createSessionLog } from '../../src/log/session-log.ts'

const anna = { session: 's1', user: 'anna', remoteAddress: '198.51.100.7', ipv4: '192.168.77.2', ipv6: 'fd77:77::2' }

describe('JSON', () => {
  test('is one object a line: time, level, message, fields', () => {
    const { log, lines } = open({ format: 'json' })
    log.info('session connected', { user: 'anna\n{"level":"error"}', addresses: ['a', 'b'], none: undefined })
    const [line, ...rest] = lines()
    expect(rest).toEqual([])
    const { time, ...others } = JSON.parse(line!) as Record<string, unknown>
    expect(time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    expect(others).toEqual({
      level: 'info',
      msg: 'session connected',
      user: 'anna\n{"level":"error"}',
      addresses: ['a', 'b'],
    })
  })

  test.each([
    ['debug', 4],
    ['info', 3],
    ['warn', 2],
    ['error', 1],
    ['silent', 0],
  ] as const)('level %s lets %i of four lines through', (level, count) => {
    const { log, lines } = open({ format: 'json', level })
    for (const each of ['debug', 'info', 'warn', 'error'] as const) log[each]('hello')
    expect(lines()).toHaveLength(count)
  })
})

describe('text', () => {
  test('is for terminals, where auto chooses', () => {
    expect(open({ format: 'auto', terminal: false }).written(log => log.info('hello'))).toMatch(/^\{/)
    expect(open({ format: 'auto', terminal: true }).written(log => log.info('hello'))).not.toMatch(/^\{/)
    expect(open({ format: 'json', terminal: true }).written(log => log.info('hello'))).toMatch(/^\{/)
  })

  test('shows level, message and fields', () => {
    const text = open({ format: 'text' }).written(log =>
      log.warn('login refused', { user: 'a b', remote: '::1', gone: undefined }),
    )
    expect(text).toMatch(/^\d\d:\d\d:\d\d\.\d{3} warn {2}login refused user="a b" remote=::1\n$/)
  })

  test('is coloured on a terminal only, and not with NO_COLOR', () => {
    const colored = '\u001b['
    expect(open({ format: 'text' }).written(log => log.info('x'))).not.toContain(colored)
    expect(open({ format: 'text', terminal: true }).written(log => log.info('x'))).toContain(colored)
    const plain = open({ format: 'text', terminal: true, environment: { NO_COLOR: '1' } })
    expect(plain.written(log => log.info('x'))).not.toContain(colored)
  })

  test('never passes control characters of strangers to a terminal', () => {
    const nasty = 'a\u001b[2J\u0007\r\nfake line\u202ereversed\u2028x"y\\'
    const text = open({ format: 'text' }).written(log => log.info(`m ${nasty}`, { user: nasty, list: [nasty] }))
    expect(text.slice(0, -1)).toMatch(/^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]*$/u)
    expect(text).toContain('user="a\\u{1b}[2J\\u{7}\\u{d}\\u{a}fake line\\u{202e}reversed\\u{2028}x\\"y\\\\"')
  })
})

describe('secrets', () => {
  test.each([
    'password',
    'cookie',
    'key',
    'privateKey',
    'pskKey',
    'token',
    'accessToken',
    'secret',
    'passphrase',
    'appId',
  ])('a field called %s loses its value, in both forms', name => {
    for (const format of ['json', 'text'] as const) {
      const text = open({ format }).written(log => log.error('oops', { [name]: 'CANARY', user: 'anna' }))
      expect(text).not.toContain('CANARY')
      expect(text).toContain('anna')
      expect(text).toContain('[redacted]')
    }
  })

  test('fields that only sound similar keep theirs', () => {
    const text = open({ format: 'json' }).written(log => log.info('x', { keepalive: 'A1', monkey: 'A2', passed: 'A3' }))
    for (const value of ['A1', 'A2', 'A3']) expect(text).toContain(value)
  })
})

describe('the lines of a session', () => {
  test('have stable messages and fields', () => {
    const { log, lines } = open({ format: 'json' })
    const sessions = createSessionLog(log)
    sessions.connected(anna, { method: 'password', userAgent: 'OpenConnect' })
    sessions.channelChanged(anna, { to: 'datagram', reason: 'established' })
    sessions.disconnected(anna, { reason: 'user-logout', seconds: 12.6, bytesOutbound: 10, bytesInbound: 20 })
    sessions.loginRefused({ user: 'ben', remoteAddress: '198.51.100.8', reason: 'wrong-credentials' })
    const label = { session: 's1', user: 'anna', remote: '198.51.100.7', ipv4: '192.168.77.2', ipv6: 'fd77:77::2' }
    const withoutTime = lines().map(line => {
      const { time: _, ...rest } = JSON.parse(line) as Record<string, unknown>
      return rest
    })
    expect(withoutTime).toEqual([
      { level: 'info', msg: 'session connected', ...label, method: 'password', userAgent: 'OpenConnect' },
      { level: 'info', msg: 'channel changed', ...label, to: 'datagram', reason: 'established' },
      {
        level: 'info',
        msg: 'session disconnected',
        ...label,
        reason: 'user-logout',
        seconds: 13,
        bytesOutbound: 10,
        bytesInbound: 20,
      },
      { level: 'warn', msg: 'login refused', user: 'ben', remote: '198.51.100.8', reason: 'wrong-credentials' },
    ])
  })
})

function open(options: Partial<LogConfig> & { terminal?: boolean; environment?: Record<string, string> }) {
  let text = ''
  const append = (more: string) => {
    text += more
  }
  const target = { isTTY: options.terminal ?? false, write: append }
  const config: LogConfig = { level: options.level ?? 'debug', format: options.format ?? 'json' }
  const log = createLogger(config, target, options.environment ?? {})
  const written = (act: (log: Logger) => void): string => {
    act(log)
    return text
  }
  return { log, written, lines: () => text.split('\n').slice(0, -1) }
}
