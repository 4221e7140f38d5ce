import { describe, expect, test } from 'vitest'
import { hashPassword, PasswordHasher } from '../../src/auth/io/password-hasher.ts'
import { formatPasswordRecord, parsePasswordRecord } from '../../src/auth/password-record.ts'

const cheap = { N: 1024, r: 8, p: 1 }
const never = new AbortController().signal

describe('a password record', () => {
  test('survives its text form', async () => {
    const record = await hashPassword('pass word ü', cheap)
    const text = formatPasswordRecord(record)
    expect(text).toMatch(/^scrypt\$1024\$8\$1\$[A-Za-z0-9+/]{22}==\$[A-Za-z0-9+/]{43}=$/)
    const read = parsePasswordRecord(text)!
    expect({ ...read, salt: [...read.salt], hash: [...read.hash] }).toEqual({
      ...record,
      salt: [...record.salt],
      hash: [...record.hash],
    })
  })

  test('RFC 7914 §12: the vector of password and NaCl is accepted', async () => {
    // The first 32 of 64 bytes: PBKDF2 makes them on their own.
    const hash = Buffer.from('fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162', 'hex')
    const record = { N: 1024, r: 8, p: 16, salt: Buffer.from('NaCl'), hash }
    expect(await new PasswordHasher().verify('password', record, 'a', never)).toBe('match')
  })

  const salt = 'AAAAAAAAAAAAAAAAAAAAAA=='
  const hash = `${'A'.repeat(43)}=`
  test.each([
    ['a number of rounds that is no power of two', `scrypt$1025$8$1$${salt}$${hash}`],
    ['costs that would stop the gateway', `scrypt$16777216$8$1$${salt}$${hash}`],
    ['more memory than the limit', `scrypt$1048576$64$1$${salt}$${hash}`],
    ['costs next to nothing', `scrypt$2$1$1$${salt}$${hash}`],
    ['a short salt', `scrypt$1024$8$1$AAAA$${hash}`],
    ['a short hash', `scrypt$1024$8$1$${salt}$AAAA`],
    ['broken base64', `scrypt$1024$8$1$${salt}$A`],
    ['another scheme', `$2b$12$${salt}`],
    ['plain text', 'secret'],
  ])('is refused with %s', (_, text) => {
    expect(parsePasswordRecord(text)).toBeUndefined()
  })
})

describe('checking', () => {
  test('tells the right password from a wrong one', async () => {
    const hasher = new PasswordHasher()
    const record = await hashPassword('right', cheap)
    expect(await hasher.verify('right', record, 'a', never)).toBe('match')
    expect(await hasher.verify('Right', record, 'a', never)).toBe('mismatch')
    expect(await hasher.verify('', record, 'a', never)).toBe('mismatch')
  })

  test('takes composed and decomposed letters for the same, RFC 8265 §4.2.2', async () => {
    const record = await hashPassword('\u00fc', cheap)
    expect(await new PasswordHasher().verify('u\u0308', record, 'a', never)).toBe('match')
  })

  test('works on a bounded number at once, queues a bounded number, and refuses the rest', async () => {
    const hasher = new PasswordHasher({ concurrency: 1, maxWaiting: 3, maxWaitingPerAddress: 2 })
    const record = await hashPassword('right', cheap)
    const verify = (address: string) => hasher.verify('right', record, address, never)
    const results = [verify('a'), verify('a'), verify('a'), verify('a'), verify('b'), verify('c')]
    expect(hasher.load).toBe(4)
    // The first works, two of its address wait, the fourth is one too many of it; b waits, c finds the queue full.
    expect(await Promise.all(results)).toEqual(['match', 'match', 'match', 'busy', 'match', 'busy'])
    expect(hasher.load).toBe(0)
  })

  test('lets addresses take turns', async () => {
    const hasher = new PasswordHasher({ concurrency: 1 })
    const record = await hashPassword('right', cheap)
    const order: string[] = []
    const verify = async (address: string) => {
      await hasher.verify('right', record, address, never)
      order.push(address)
    }
    await Promise.all(['a', 'a', 'a', 'a', 'b', 'b', 'c'].map(verify))
    expect(order.join('')).toBe('aabcaba')
  })

  test('gives up waiting work when it is aborted, and keeps its place free', async () => {
    const hasher = new PasswordHasher({ concurrency: 1, maxWaiting: 1 })
    const record = await hashPassword('right', cheap)
    const abort = new AbortController()
    const first = hasher.verify('right', record, 'a', never)
    const second = hasher.verify('right', record, 'a', abort.signal)
    abort.abort(new Error('gone'))
    await expect(second).rejects.toThrow('gone')
    const third = hasher.verify('right', record, 'a', never)
    expect(await Promise.all([first, third])).toEqual(['match', 'match'])
    await expect(hasher.verify('right', record, 'a', abort.signal)).rejects.toThrow('gone')
    expect(hasher.load).toBe(0)
  })
})
