import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isLike, pattern } from '../../src/access/pattern.ts'

test.each([
  ['anna', 'anna', true],
  ['ANNA', 'anna', true],
  ['anna', 'ann', false],
  ['anna', 'a*a', true],
  ['a', 'a*a', false],
  ['', '*', true],
  ['anything', '***', true],
  ['anna@corp.example', '*@corp.example', true],
  ['anna@corp.example.evil.test', '*@corp.example', false],
  ['abcabc', '*abc', true],
  ['aXbXc', 'a*b*c', true],
  ['aXcXb', 'a*b*c', false],
  ['abab', 'ab*bab', false],
])('%j is like %j: %s', (text, written, expected) => {
  expect(isLike(text, pattern(written))).toBe(expected)
})

test('agrees with a regular expression', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', '*'), maxLength: 8 })
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('a', 'b', 'B'), maxLength: 10 }), letters, (text, written) => {
      expect(isLike(text, pattern(written))).toBe(new RegExp(`^${written.replaceAll('*', '.*')}$`, 'i').test(text))
    }),
    { numRuns: 5000 },
  )
})
