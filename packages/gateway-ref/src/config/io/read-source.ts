import { readFile } from 'node:fs/promises'
import { GatewayError } from '../../errors.ts'
import { describeSystemError } from '../../identity/io/server-identity.ts'
import type { ConfigProblem } from '../config-problem.ts'
import { readYaml, type YamlSource } from '../yaml-source.ts'

/** Reads YAML, or JSON, which is YAML too. @throws GatewayError `ERR_GATEWAY_CONFIGURATION` when the file can't be read */
export async function readSource(file: string): Promise<YamlSource> {
  try {
    return readYaml(await readFile(file, 'utf8'), file)
  } catch (cause) {
    const message = `${file}: can't be read: ${describeSystemError(cause)}`
    const problem: ConfigProblem = { severity: 'error', path: [], message }
    throw new GatewayError('ERR_GATEWAY_CONFIGURATION', message, { cause, problems: [problem] })
  }
}
