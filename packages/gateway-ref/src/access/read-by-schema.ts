import type { z } from 'zod'
import type { ConfigPath, ConfigProblem } from '../config/config-problem.ts'
import { unknownKey } from '../config/suggestion.ts'
import type { YamlSource } from '../config/yaml-source.ts'

/** What came of a file: its value, or the mistakes in it, each with its line. */
export type ReadBySchema<Value> =
  | { readonly value: Value; readonly problems: readonly [] }
  | { readonly value: undefined; readonly problems: readonly ConfigProblem[] }

/** Reads a file by its schema. @param namesIn the keys that may stand at a path */
export function readBySchema<Value>(
  schema: z.ZodType<Value>,
  yaml: YamlSource,
  namesIn: (path: ConfigPath) => readonly string[] = () => [],
): ReadBySchema<Value> {
  if (yaml.problems.length > 0) return { value: undefined, problems: yaml.problems }
  const result = schema.safeParse(yaml.value)
  if (result.success) return { value: result.data, problems: [] }
  const problem = (path: ConfigPath, message: string): ConfigProblem => ({
    severity: 'error',
    path,
    message,
    source: yaml.locate(path),
  })
  const problems = result.error.issues.flatMap(issue => {
    const path = issue.path.map(step => (typeof step === 'symbol' ? String(step) : step))
    if (issue.code !== 'unrecognized_keys') return [problem(path, issue.message)]
    return issue.keys.map(key => problem([...path, key], unknownKey(key, namesIn(path))))
  })
  return { value: undefined, problems }
}
