import type { z } from 'zod'
import { list, path, section, textSetting, word } from '../config/setting.ts'
import type { YamlSource } from '../config/yaml-source.ts'
import type { AccessPolicy } from './access-policy.ts'
import { type AccessDecision, decideAccess } from './decide-access.ts'
import { accessFacts, factsSchema, type WrittenFacts } from './facts-file.ts'
import { type Destination, permits, readDestination } from './permissions.ts'
import { type ReadBySchema, readBySchema } from './read-by-schema.ts'

/** A file that says what a policy is to decide, for `twinbore policy test`. */
export interface PolicyCases {
  /** Path of the policy, as written: relative to the file of the cases. */
  readonly policy: string
  readonly cases: readonly PolicyCase[]
}

export interface PolicyCase {
  readonly name: string
  readonly given: WrittenFacts
  readonly expect: {
    readonly effect: AccessDecision['effect']
    readonly rule?: string | undefined
    readonly grants?: readonly string[] | undefined
    readonly reaches: readonly WrittenDestination[]
    readonly refuses: readonly WrittenDestination[]
  }
}

interface WrittenDestination extends Destination {
  readonly text: string
}

/** What came of one case; it passed when there are no complaints. */
export interface CaseResult {
  readonly name: string
  readonly complaints: readonly string[]
  readonly decision: AccessDecision
}

const destination = textSetting<WrittenDestination>('a destination', 'tcp 10.2.0.5:443', written => {
  const read = readDestination(written)
  return read && { ...read, text: written }
})
const label = textSetting<string>('a name', 'staff gets in', value => (value.trim() === '' ? undefined : value))

const schema: z.ZodType<PolicyCases> = section(
  {
    policy: path('policy.yaml'),
    cases: list(
      section(
        {
          name: label,
          given: factsSchema,
          expect: section(
            {
              effect: word(['allow', 'refuse', 'restrict']),
              rule: label.optional(),
              grants: list(label, '[finance]').optional(),
              reaches: list(destination, "['tcp 10.2.0.5:443']").prefault([]),
              refuses: list(destination, "['tcp 10.2.0.5:443']").prefault([]),
            },
            '{ effect: allow }',
          ),
        },
        '{ name: staff gets in, given: { groups: [staff] }, expect: { effect: allow } }',
      ),
      '[{ name: staff gets in, given: { groups: [staff] }, expect: { effect: allow } }]',
    ).min(1, 'is empty: nothing would be tested'),
  },
  'policy: policy.yaml',
)

/** Reads a file of cases. */
export function readPolicyCases(yaml: YamlSource): ReadBySchema<PolicyCases> {
  return readBySchema(schema, yaml)
}

/** Decides every case, and says where the policy differs. @param timeOf - the wall clock at a moment, or now */
export function runPolicyCases(
  policy: AccessPolicy,
  { cases }: PolicyCases,
  timeOf: (at: string | undefined) => number,
): CaseResult[] {
  return cases.map(({ name, given, expect }) => {
    const decision = decideAccess(policy, accessFacts(given, timeOf(given.at)))
    const reached = (to: Destination) => decision.effect !== 'refuse' && permits(decision.terms.permissions, to)
    const complaints = [
      ...differs('effect', decision.effect, expect.effect),
      ...(expect.rule === undefined ? [] : differs('rule', decision.rule ?? 'none', expect.rule)),
      ...(expect.grants ? differs('grants', decision.grants.join(', '), expect.grants.join(', ')) : []),
      ...expect.reaches.filter(to => !reached(to)).map(({ text }) => `does not reach ${text}`),
      ...expect.refuses.filter(reached).map(({ text }) => `reaches ${text}`),
    ]
    return { name, complaints, decision }
  })
}

function differs(what: string, found: string, expected: string): string[] {
  return found === expected ? [] : [`${what} is ${found || 'none'}, not ${expected || 'none'}`]
}
