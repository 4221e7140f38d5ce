import { describe, expect, test } from 'vitest'
import { fromBase32, toBase32 } from '../../src/auth/base32.ts'
import { hmacSha1 } from '../../src/auth/io/hmac-sha1.ts'
import { codeAt, codeUri, OneTimeCodes } from '../../src/auth/one-time-codes.ts'

const secret = new TextEncoder().encode('12345678901234567890')

describe('codes', () => {
  test.each([
    [59, '94287082'],
    [1_111_111_109, '07081804'],
    [1_111_111_111, '14050471'],
    [1_234_567_890, '89005924'],
    [2_000_000_000, '69279037'],
    [20_000_000_000, '65353130'],
  ])('RFC 6238 appendix B: at %i seconds the code is %s', (time, code) => {
    expect(codeAt(secret, Math.floor(time / 30), hmacSha1, 8)).toBe(code)
  })

  test.each(
    ['755224', '287082', '359152', '969429', '338314', '254676', '287922', '162583', '399871', '520489'].map(
      (code, counter) => [counter, code] as const,
    ),
  )('RFC 4226 appendix D: counter %i gives %s', (counter, code) => {
    expect(codeAt(secret, counter, hmacSha1)).toBe(code)
  })
})

describe('checking', () => {
  const start = 1_700_000_010_000 // 20 s into a step
  const codeOf = (time: number) => codeAt(secret, Math.floor(time / 30_000), hmacSha1)

  test('a code counts once, also in the next step', () => {
    const codes = new OneTimeCodes(hmacSha1)
    expect(codes.check('anna', secret, codeOf(start), start)).toBe('accepted')
    expect(codes.check('anna', secret, codeOf(start), start + 1000)).toBe('wrong')
    expect(codes.check('anna', secret, codeOf(start), start + 30_000)).toBe('wrong')
    expect(codes.check('ben', secret, codeOf(start), start)).toBe('accepted')
  })

  test('a code older than one that was used is refused', () => {
    const codes = new OneTimeCodes(hmacSha1)
    expect(codes.check('anna', secret, codeOf(start), start)).toBe('accepted')
    expect(codes.check('anna', secret, codeOf(start - 30_000), start)).toBe('wrong')
  })

  test.each([
    [-60_000, 'wrong'],
    [-30_000, 'accepted'],
    [30_000, 'accepted'],
    [60_000, 'wrong'],
  ])('a clock that differs by %i ms: %s', (difference, verdict) => {
    expect(new OneTimeCodes(hmacSha1).check('anna', secret, codeOf(start + difference), start)).toBe(verdict)
  })

  test('blanks in a code do not matter, anything else does', () => {
    const code = codeOf(start)
    expect(new OneTimeCodes(hmacSha1).check('anna', secret, `${code.slice(0, 3)} ${code.slice(3)}`, start)).toBe(
      'accepted',
    )
    for (const wrong of ['', code.slice(1), `${code}0`, `0${code}`]) {
      expect(new OneTimeCodes(hmacSha1).check('anna', secret, wrong, start)).toBe('wrong')
    }
  })

  test('five wrong codes in a row make a pause, longer each time, that even the right code does not end', () => {
    const codes = new OneTimeCodes(hmacSha1)
    for (let i = 0; i < 5; i++) expect(codes.check('anna', secret, 'x', start)).toBe('wrong')
    expect(codes.check('anna', secret, codeOf(start), start + 29_000)).toBe('blocked')
    expect(codes.check('anna', secret, 'x', start + 30_000)).toBe('wrong')
    expect(codes.check('anna', secret, 'x', start + 89_000)).toBe('blocked')
    expect(codes.check('anna', secret, codeOf(start + 90_000), start + 90_000)).toBe('accepted')
    expect(codes.check('anna', secret, 'x', start + 90_000)).toBe('wrong')
    expect(codes.check('anna', secret, 'x', start + 90_000)).toBe('wrong')
  })

  test('the pause never grows beyond an hour', () => {
    const codes = new OneTimeCodes(hmacSha1)
    let time = start
    for (let i = 0; i < 60; i++) {
      codes.check('anna', secret, 'x', time)
      time += 3_600_000
    }
    expect(codes.check('anna', secret, codeOf(time), time)).toBe('accepted')
  })
})

test('base32 follows RFC 4648 §10 and forgives case, blanks and padding', () => {
  const pairs = [
    ['', ''],
    ['f', 'MY'],
    ['fo', 'MZXQ'],
    ['foo', 'MZXW6'],
    ['foob', 'MZXW6YQ'],
    ['fooba', 'MZXW6YTB'],
    ['foobar', 'MZXW6YTBOI'],
  ] as const
  for (const [text, encoded] of pairs) {
    expect(toBase32(new TextEncoder().encode(text))).toBe(encoded)
    expect(new TextDecoder().decode(fromBase32(encoded))).toBe(text)
  }
  expect(new TextDecoder().decode(fromBase32('mzxw 6ytb-oi======'))).toBe('foobar')
  expect(fromBase32('MZXW1')).toBeUndefined()
})

test('the otpauth URI escapes what people put into names', () => {
  expect(codeUri('anna@corp.example', 'MZXW6YTBOI', 'Corp VPN')).toBe(
    'otpauth://totp/Corp%20VPN:anna%40corp.example?secret=MZXW6YTBOI&issuer=Corp%20VPN&algorithm=SHA1&digits=6&period=30',
  )
})
