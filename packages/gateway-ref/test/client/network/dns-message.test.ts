// Our reader of DNS against another implementation of it, and against nonsense.
import { seededRandom } from '@twinbore/core/runtime'
import { type Answer, decode, encode, RECURSION_DESIRED } from 'dns-packet'
import { describe, expect, test } from 'vitest'
import { AddressRecord, decodeAnswer, encodeQuestion } from '../../../src/client/network/dns-message.ts'

const { A, AAAA } = AddressRecord
const name = 'www.corp.example'
const questions = [{ name, type: 'A' as const }]

function answer(answers: Answer[], more: object = {}): Uint8Array {
  return encode({ type: 'response', id: 7, questions, answers, ...more })
}

function addressesIn(bytes: Uint8Array): string[] | undefined {
  return decodeAnswer(bytes, 7, name, A)?.addresses.map(address => address.toString())
}

describe('a question', () => {
  test.each([
    ['A', A],
    ['AAAA', AAAA],
  ] as const)('for %s is what another implementation reads', (type, code) => {
    const decoded = decode(Buffer.from(encodeQuestion(0xbeef, name, code, true)!))
    expect(decoded).toMatchObject({
      id: 0xbeef,
      type: 'query',
      flags: RECURSION_DESIRED,
      questions: [{ name, type, class: 'IN' }],
    })
    expect(decoded.additionals).toMatchObject([{ type: 'OPT', udpPayloadSize: 1232 }])
    expect(decode(Buffer.from(encodeQuestion(1, `${name}.`, code, false)!))).toMatchObject({
      additionals: [],
      questions: [{ name }],
    })
  })

  test.each(['', '.', 'a..b', `${'x'.repeat(64)}.example`, 'name with space', Array(64).fill('abc').join('.')])(
    'can not be %j',
    wrong => {
      expect(encodeQuestion(1, wrong, A, true)).toBeUndefined()
    },
  )
})

describe('an answer', () => {
  test('has the addresses of the name, in their order', () => {
    const bytes = answer([
      { type: 'A', name, ttl: 60, data: '192.0.2.1' },
      { type: 'A', name: name.toUpperCase(), ttl: 30, data: '192.0.2.2' },
      { type: 'TXT', name, data: 'text' },
      { type: 'A', name: 'other.example', ttl: 1, data: '192.0.2.99' },
    ])
    expect(addressesIn(bytes)).toEqual(['192.0.2.1', '192.0.2.2'])
    expect(decodeAnswer(bytes, 7, 'WWW.Corp.Example.', A)).toMatchObject({
      status: 0,
      isTruncated: false,
      ttlSeconds: 30,
    })
    const six = encode({
      type: 'response',
      id: 7,
      questions: [{ name, type: 'AAAA' }],
      answers: [{ type: 'AAAA', name, ttl: 5, data: '2001:db8::1' }],
    })
    expect(decodeAnswer(six, 7, name, AAAA)?.addresses.map(String)).toEqual(['2001:db8::1'])
  })

  test('is followed along aliases, in whatever order they come, and never in a circle', () => {
    const alias = (from: string, to: string): Answer => ({ type: 'CNAME', name: from, ttl: 10, data: to })
    const bytes = answer([
      { type: 'A', name: 'real.example', ttl: 60, data: '192.0.2.3' },
      alias('middle.example', 'real.example'),
      alias(name, 'middle.example'),
    ])
    expect(addressesIn(bytes)).toEqual(['192.0.2.3'])
    expect(decodeAnswer(bytes, 7, name, A)?.ttlSeconds).toBe(10)
    expect(addressesIn(answer([alias(name, 'b.example'), alias('b.example', name)]))).toEqual([])
  })

  test.each([
    ['another id', encode({ type: 'response', id: 8, questions })],
    ['a question', encode({ type: 'query', id: 7, questions })],
    ['about another name', encode({ type: 'response', id: 7, questions: [{ name: 'evil.example', type: 'A' }] })],
    ['about another type', encode({ type: 'response', id: 7, questions: [{ name, type: 'AAAA' }] })],
    ['about another class', encode({ type: 'response', id: 7, questions: [{ name, type: 'A', class: 'CH' }] })],
    ['about nothing', encode({ type: 'response', id: 7 })],
    ['about two things', encode({ type: 'response', id: 7, questions: [...questions, ...questions] })],
  ])('that is %s is none', (_, bytes) => {
    expect(decodeAnswer(bytes, 7, name, A)).toBeUndefined()
  })

  test('that is cut short anywhere is none', () => {
    const whole = answer([{ type: 'A', name, ttl: 60, data: '192.0.2.1' }])
    for (let length = 0; length < whole.length; length++) {
      expect(decodeAnswer(whole.subarray(0, length), 7, name, A)).toBeUndefined()
    }
  })

  test('whose names point in a circle, forwards or into the header is none', () => {
    const whole = answer([{ type: 'A', name: 'x', ttl: 60, data: '192.0.2.1' }])
    const at = whole.length - 17
    for (const target of [at, at + 3, 0, 0x3fff]) {
      const bytes = whole.slice()
      // The owner `x` (1 'x' 0) becomes a pointer, and what follows moves up by one.
      bytes.copyWithin(at + 2, at + 3)
      bytes.set([0xc0 | (target >> 8), target & 0xff], at)
      expect(decodeAnswer(bytes.subarray(0, -1), 7, name, A)).toBeUndefined()
    }
  })

  test('that was mutated at will is read or refused, never thrown', () => {
    const seed = Number(process.env.FUZZ_SEED ?? 4)
    const random = seededRandom(seed)
    const whole = answer([
      { type: 'CNAME', name, ttl: 1, data: 'real.example' },
      { type: 'A', name: 'real.example', ttl: 60, data: '192.0.2.1' },
      { type: 'OPT', name: '.', udpPayloadSize: 512, flags: 0, options: [] } as unknown as Answer,
    ])
    for (let run = 0; run < Number(process.env.FUZZ_RUNS ?? 50_000); run++) {
      const bytes = whole.slice(0, random.uint32() % 4 === 0 ? random.uint32() % whole.length : whole.length)
      for (let i = random.uint32() % 6; i > 0; i--) bytes[random.uint32() % (bytes.length + 1)] = random.uint32()
      const found = decodeAnswer(bytes, 7, name, A)
      expect(found?.addresses.length ?? 0, `seed ${seed}, run ${run}`).toBeLessThanOrEqual(3)
    }
  })
})
