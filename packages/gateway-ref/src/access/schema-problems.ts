import type { z } from 'zod'
import type { ConfigPath, ConfigProblem } from '../config/config-problem.ts'
import { nearest } from '../config/suggestion.ts'
import type { YamlSource } from '../config/yaml-source.ts'

/** The mistakes that a schema found in a file, each with its line. @param namesIn the keys that may stand at a path */
export function problemsOf(
  error: z.ZodError,
  yaml: YamlSource,
  namesIn: (path: ConfigPath) => readonly string[] = () => [],
): ConfigProblem[] {
  const problem = (path: ConfigPath, message: string): ConfigProblem => ({
    severity: 'error',
    path,
    message,
    source: yaml.locate(path),
  })
  return error.issues.flatMap(issue => {
    const path = issue.path.map(step => (typeof step === 'symbol' ? String(step) : step))
    if (issue.code !== 'unrecognized_keys') return [problem(path, issue.message)]
    return issue.keys.map(key => problem([...path, key], unknownKey(key, namesIn(path))))
  })
}

function unknownKey(key: string, known: readonly string[]): string {
  const guess = nearest(key, known)
  if (guess !== undefined) return `unknown key; did you mean '${guess}'?`
  return known.length > 0 ? `unknown key; known here: ${known.join(', ')}` : 'unknown key'
}
