// Whatever stands in a configuration or in a users file: it is told, never thrown, and nothing wrong gets through.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readUsers } from '../../src/auth/users.ts'
import { formatProblem } from '../../src/config/config-problem.ts'
import { overrideFromEnvironment, variableName } from '../../src/config/environment.ts'
import { settingLocations } from '../../src/config/json-schema.ts'
import { resolveGatewayOptions } from '../../src/config/resolve-options.ts'
import { readYaml } from '../../src/config/yaml-source.ts'
import { rightConfiguration } from './wrong-configurations.ts'

const runs = Number(process.env.FUZZ_RUNS ?? 150)
const seed = process.env.FUZZ_SEED === undefined ? {} : { seed: Number(process.env.FUZZ_SEED) }
const options = { numRuns: runs, ...seed }

const users = `anna: { password: "scrypt$16384$8$5$AAAAAAAAAAAAAAAAAAAAAA==$${'A'.repeat(43)}=", groups: [staff] }
ben: { disabled: true, addresses: [10.0.0.3], otp: { secret: MZXW6YTBOIMZXW6YTBOIMZXW6YTBOI } }
`

describe('a configuration', () => {
  test('of any shape is either complete or has an error for it', () => {
    const names = settingLocations().flatMap(({ path }) => path)
    const key = fc.oneof(fc.constantFrom(...names, '__proto__', 'constructor', 'toString'), fc.string())
    const value = fc.anything({ key, withBigInt: true, withDate: true, withMap: true, withNullPrototype: true })
    fc.assert(
      fc.property(fc.oneof(fc.dictionary(key, value), value), written => expectTold(written)),
      options,
    )
  })

  test('changed anywhere in its text is told with a line that exists', () => {
    fc.assert(
      fc.property(mutation(rightConfiguration), text => {
        const yaml = readYaml(text, 'gateway.yaml')
        const { problems } = resolveGatewayOptions(yaml.value ?? {}, path => path)
        const lines = text.split('\n').length
        for (const { path, source } of [...problems, ...yaml.problems]) {
          const at = source ?? yaml.locate(path)
          expect(at.type === 'file' && at.line >= 1 && at.line <= lines).toBe(true)
        }
        expectTold(yaml.value ?? {})
      }),
      options,
    )
  })

  test('with any environment is told', () => {
    const name = fc.oneof(fc.constantFrom(...settingLocations().map(({ path }) => variableName(path))), fc.string())
    fc.assert(
      fc.property(fc.dictionary(name, fc.string()), fc.anything(), (environment, written) => {
        const overridden = overrideFromEnvironment(written, environment)
        for (const problem of overridden.problems) formatProblem(problem)
        expectTold(overridden.options)
      }),
      options,
    )
  })
})

test('a users file changed anywhere never yields a user with a mistake', () => {
  fc.assert(
    fc.property(mutation(users), text => {
      const table = readUsers(readYaml(text, 'users.yaml'))
      const wrong = new Set(table.problems.map(({ path }) => path[0]))
      for (const name of table.users.keys()) expect(wrong.has(name)).toBe(false)
      for (const problem of table.problems) expect(formatProblem(problem)).not.toContain('scrypt$16384')
    }),
    options,
  )
})

function expectTold(written: unknown): void {
  const { config, problems } = resolveGatewayOptions(written, path => path)
  const errors = problems.filter(({ severity }) => severity === 'error')
  expect(config === undefined).toBe(errors.length > 0)
  for (const problem of problems) expect(formatProblem(problem)).not.toContain('\n')
}

// The text with a few pieces cut out, doubled, or replaced.
function mutation(text: string): fc.Arbitrary<string> {
  const piece = fc.oneof(
    fc.string({ maxLength: 6 }),
    fc.constantFrom('{', '}', '[', ']', ':', ': ', '\n', ' ', '&a', '*a', '<<', '#', '!!set ', '- '),
  )
  const change = fc.record({ at: fc.nat(text.length), cut: fc.nat(12), piece })
  return fc
    .array(change, { minLength: 1, maxLength: 4 })
    .map(changes =>
      changes.reduce((now, { at, cut, piece: more }) => now.slice(0, at) + more + now.slice(at + cut), text),
    )
}
