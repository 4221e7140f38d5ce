import { GatewayError } from '../errors.ts'
import { type ConfigProblem, formatProblem } from './config-problem.ts'

/** One error for all mistakes. */
export function configurationError(problems: readonly ConfigProblem[]): GatewayError {
  return new GatewayError('ERR_GATEWAY_CONFIGURATION', problems.map(formatProblem).join('\n'), { problems })
}
