import type { ConfigPath, ConfigProblem } from './config-problem.ts'
import { type JsonSchema, settingLocations } from './json-schema.ts'
import { nearest } from './suggestion.ts'

const variablePrefix = 'TWINBORE_'

/** Variables that belong to the program, not to the configuration. */
export const programVariables: readonly string[] = ['TWINBORE_CONFIG', 'TWINBORE_DIRECTORY']

/** A configuration with its overrides, and where each override came from. */
export interface OverriddenOptions {
  readonly options: unknown
  readonly problems: readonly ConfigProblem[]
  /** The variable that set the setting at a path, or something inside it. */
  variableOf(path: ConfigPath): string | undefined
}

/** The variable of a setting: `['dns', 'searchDomains']` is `TWINBORE_DNS_SEARCH_DOMAINS`. */
export function variableName(path: readonly string[]): string {
  return variablePrefix + path.map(step => step.replace(/[A-Z]/g, letter => `_${letter}`).toUpperCase()).join('_')
}

/**
 * Lays environment variables over a configuration; a variable wins over the file. Lists are separated by commas, an
 * empty one is an empty list. A variable that names no setting is a mistake when it starts like a section, and otherwise
 * doubtful (other programs and orchestrators use the prefix too).
 */
export function overrideFromEnvironment(
  options: unknown,
  environment: Readonly<Record<string, string | undefined>>,
): OverriddenOptions {
  const locations = new Map(settingLocations().map(location => [variableName(location.path), location]))
  const sections = [...locations.values()].map(({ path }) => `${variableName([path[0]!])}_`)
  const problems: ConfigProblem[] = []
  const variables = new Map<string, string>()
  let result = options
  for (const [name, text] of Object.entries(environment)) {
    if (!name.startsWith(variablePrefix) || text === undefined || programVariables.includes(name)) continue
    const location = locations.get(name)
    if (location) {
      result = withSetting(result, location.path, readText(text, location.schema))
      variables.set(location.path.join('.'), name)
    } else {
      const guess = nearest(
        name.slice(variablePrefix.length),
        [...locations.keys()].map(key => key.slice(variablePrefix.length)),
      )
      const hint = guess === undefined ? '' : `; did you mean ${variablePrefix}${guess}?`
      const severity = sections.some(section => name.startsWith(section)) ? 'error' : 'warning'
      problems.push({ severity, path: [], message: `names no setting${hint}`, source: { type: 'variable', name } })
    }
  }
  return {
    options: result,
    problems,
    variableOf(path) {
      const names = path.filter(step => typeof step === 'string')
      return variables.get(names.join('.'))
    },
  }
}

/** Reads text as what the setting holds; text that doesn't fit is left for the checks to refuse. */
function readText(text: string, schema: JsonSchema): unknown {
  switch (schema.type) {
    case 'integer':
      return /^\d{1,15}$/.test(text.trim()) ? Number(text) : text
    case 'boolean':
      return text === 'true' ? true : text === 'false' ? false : text
    case 'array':
      return text
        .split(',')
        .map(item => item.trim())
        .filter(item => item !== '')
    default:
      return text
  }
}

/** A copy of `options` with one setting changed. What isn't a section where one should be is left for the checks. */
function withSetting(options: unknown, path: readonly string[], value: unknown): unknown {
  const [step, ...rest] = path
  if (step === undefined) return value
  if (options !== undefined && options !== null && (typeof options !== 'object' || Array.isArray(options)))
    return options
  const section = (options ?? {}) as Readonly<Record<string, unknown>>
  return { ...section, [step]: withSetting(section[step], rest, value) }
}
