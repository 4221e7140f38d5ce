import { dirname, resolve } from 'node:path'
import type { ConfigProblem } from '../config-problem.ts'
import { configurationError } from '../configuration-error.ts'
import { overrideFromEnvironment } from '../environment.ts'
import type { GatewayConfig } from '../gateway-config.ts'
import type { GatewayOptions } from '../gateway-options.ts'
import { resolveGatewayOptions } from '../resolve-options.ts'
import { checkConfigFiles } from './check-config-files.ts'
import { readSource } from './read-source.ts'

/** A configuration that can be used, with what is doubtful about it. */
export interface LoadedConfig {
  readonly config: GatewayConfig
  readonly warnings: readonly ConfigProblem[]
}

/**
 * Reads a configuration file, lays the environment over it, and checks all of it, the files it points to included.
 *
 * @param file as the user wrote it: messages name it so
 * @throws GatewayError `ERR_GATEWAY_CONFIGURATION` with every mistake in `problems`, one line each in `message`
 */
export async function loadConfigFile(
  file: string,
  environment: Readonly<Record<string, string | undefined>> = {},
): Promise<LoadedConfig> {
  const yaml = await readSource(file)
  if (yaml.problems.length > 0) throw configurationError(yaml.problems)
  const { options, problems: variableProblems, variableOf } = overrideFromEnvironment(yaml.value ?? {}, environment)
  const located = (problem: ConfigProblem): ConfigProblem => {
    if (problem.source) return problem
    const name = variableOf(problem.path)
    return { ...problem, source: name === undefined ? yaml.locate(problem.path) : { type: 'variable', name } }
  }
  const folder = dirname(resolve(file))
  const { config, files, problems } = resolveGatewayOptions(options, path => resolve(folder, path))
  const fileProblems = await checkConfigFiles(files)
  return finish(config, [...variableProblems, ...problems, ...fileProblems].map(located))
}

/**
 * Checks options given by a program: the same checks as for a file. Paths are relative to the working directory.
 *
 * @throws GatewayError `ERR_GATEWAY_CONFIGURATION`
 */
export async function loadGatewayOptions(options: GatewayOptions): Promise<LoadedConfig> {
  const { config, files, problems } = resolveGatewayOptions(options, path => resolve(path))
  return finish(config, [...problems, ...(await checkConfigFiles(files))])
}

function finish(config: GatewayConfig | undefined, problems: readonly ConfigProblem[]): LoadedConfig {
  const errors = problems.filter(({ severity }) => severity === 'error')
  if (!config || errors.length > 0) throw configurationError([...errors].sort(byLine))
  return { config, warnings: problems }
}

function byLine(a: ConfigProblem, b: ConfigProblem): number {
  const line = ({ source }: ConfigProblem) => (source?.type === 'file' ? source.line : Number.POSITIVE_INFINITY)
  const [first, second] = [line(a), line(b)]
  return first === second ? 0 : first - second
}
