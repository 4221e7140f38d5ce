import type { ConfigProblem } from '../../config/config-problem.ts'
import { configurationError } from '../../config/configuration-error.ts'
import { readSource } from '../../config/io/read-source.ts'
import type { AccessPolicy } from '../access-policy.ts'
import { type PolicyCases, readPolicyCases } from '../policy-cases.ts'
import { readPolicy } from '../read-policy.ts'

/** A policy that can be used, with what is doubtful about it. */
export interface LoadedPolicy {
  readonly policy: AccessPolicy
  readonly warnings: readonly ConfigProblem[]
}

/**
 * Reads a policy file.
 *
 * @param file as the user wrote it: messages name it so
 * @throws GatewayError `ERR_GATEWAY_CONFIGURATION` with every mistake in `problems`
 */
export async function loadPolicy(file: string): Promise<LoadedPolicy> {
  const { policy, problems } = readPolicy(await readSource(file))
  if (!policy) throw configurationError(problems.filter(({ severity }) => severity === 'error'))
  return { policy, warnings: problems }
}

/** Reads a file of cases. @throws GatewayError as `loadPolicy` */
export async function loadPolicyCases(file: string): Promise<PolicyCases> {
  const { value: cases, problems } = readPolicyCases(await readSource(file))
  if (!cases) throw configurationError(problems)
  return cases
}
