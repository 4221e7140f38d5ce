/** Where a setting was written: a line of a file, or an environment variable. Absent for options given by a program. */
export type ConfigSource =
  | { readonly type: 'file'; readonly file: string; readonly line: number }
  | { readonly type: 'variable'; readonly name: string }

/** One mistake (or one doubtful choice) in a configuration, told so that it can be corrected without a manual. */
export interface ConfigProblem {
  /** An `error` keeps the configuration from being used; a `warning` is logged. */
  readonly severity: 'error' | 'warning'
  /** The setting, such as `['routes', 'include', 3]`; empty for the whole configuration. */
  readonly path: ConfigPath
  /** What is wrong and what would be right, in one sentence that starts with the value where there is one. */
  readonly message: string
  readonly source?: ConfigSource
}

/** The way from the top of a configuration to one setting. */
export type ConfigPath = readonly (string | number)[]

/** Renders a problem as one line: `gateway.yaml:7: pool.ipv4: '10.0.0.0/33' is not an IPv4 prefix; write e.g. ...`. */
export function formatProblem(problem: ConfigProblem): string {
  const { source, path, message } = problem
  const setting = formatPath(path)
  const subject = setting === '' ? message : `${setting}: ${message}`
  const warning = problem.severity === 'warning' ? 'warning: ' : ''
  if (source?.type === 'variable') return `${warning}${source.name}: ${message}`
  return source ? `${warning}${source.file}:${source.line}: ${subject}` : `${warning}${subject}`
}

/** Renders a path the way people write it: `routes.include[3]`. */
export function formatPath(path: ConfigPath): string {
  return path.reduce<string>(
    (text, step) => (typeof step === 'number' ? `${text}[${step}]` : text === '' ? step : `${text}.${step}`),
    '',
  )
}

/** Renders a value for a message, quoted and cut to a bearable length. */
export function formatValue(value: unknown): string {
  const text = typeof value === 'string' ? value : toText(value)
  const line = text.replace(/\s+/g, ' ')
  return `'${line.length > 80 ? `${line.slice(0, 77)}...` : line}'`
}

function toText(value: unknown): string {
  try {
    return JSON.stringify(value) ?? String(value)
  } catch {
    // It holds itself, or a number without bound.
    return Object.prototype.toString.call(value)
  }
}
