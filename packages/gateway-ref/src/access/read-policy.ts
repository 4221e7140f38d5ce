import type { ConfigPath, ConfigProblem } from '../config/config-problem.ts'
import type { YamlSource } from '../config/yaml-source.ts'
import type { AccessPolicy, AccessRule } from './access-policy.ts'
import { namesIn, policySchema } from './policy-schema.ts'
import { readBySchema } from './read-by-schema.ts'

/** What came of a policy file: a policy exactly when no problem is an error. */
export interface ReadPolicy {
  readonly policy: AccessPolicy | undefined
  readonly problems: readonly ConfigProblem[]
}

/** Reads a policy. Every mistake is found in one go, each with its line. */
export function readPolicy(yaml: YamlSource): ReadPolicy {
  const { value: policy, problems: mistakes } = readBySchema(policySchema, yaml, namesIn)
  if (!policy) return { policy, problems: mistakes }
  const problems: ConfigProblem[] = []
  const report = (severity: ConfigProblem['severity'], path: ConfigPath, message: string) =>
    problems.push({ severity, path, message, source: yaml.locate(path) })
  for (const part of ['rules', 'grants'] as const) {
    const places = new Map<string, number>()
    for (const [i, { name }] of policy[part].entries()) {
      const before = places.get(name)
      if (before === undefined) places.set(name, i)
      else
        report(
          'error',
          [part, i, 'name'],
          `'${name}' is the name of ${part}[${before}] too; log and trace could not tell them apart`,
        )
    }
  }
  const unreached = policy.rules.findIndex(asksForNothing)
  if (unreached !== -1 && unreached < policy.rules.length - 1) {
    report(
      'warning',
      ['rules', unreached + 1],
      `is never reached: rule '${policy.rules[unreached]!.name}' before it fits everybody`,
    )
  }
  if (!policy.rules.some(({ effect }) => effect !== 'refuse')) {
    report('warning', ['rules'], 'lets nobody in: every rule refuses, and so does the end of the list')
  }
  return { policy: problems.some(({ severity }) => severity === 'error') ? undefined : policy, problems }
}

function asksForNothing({ when }: AccessRule): boolean {
  return when.type === 'all' && when.of.length === 0
}
