import { dirname, resolve } from 'node:path'
import type { AccessFacts, AccessTerms } from '../../access/access-policy.ts'
import { claimFacts } from '../../access/claim-facts.ts'
import { type AccessDecision, decideAccess } from '../../access/decide-access.ts'
import { accessFacts, readFacts, type WrittenFacts } from '../../access/facts-file.ts'
import { loadPolicy, loadPolicyCases } from '../../access/io/load-policy.ts'
import { runPolicyCases } from '../../access/policy-cases.ts'
import { type ConfigProblem, formatProblem } from '../../config/config-problem.ts'
import { configurationError } from '../../config/configuration-error.ts'
import { readSource } from '../../config/io/read-source.ts'
import { GatewayError } from '../../errors.ts'
import type { ProgramContext } from './program-context.ts'

/** Words of `twinbore policy explain`. */
export interface ExplainOptions {
  readonly policy: string
  /** File with the claims of a token, JSON or YAML. */
  readonly claims?: string | undefined
  /** File with facts, as under `given` in a file of cases. What `claims` say fills what it leaves open. */
  readonly facts?: string | undefined
  readonly json?: boolean | undefined
}

/** `twinbore policy explain`: what a policy decides, by which rule, and why not by the rules before it. */
export async function explainCommand(options: ExplainOptions, context: ProgramContext): Promise<void> {
  const { policy, warnings } = await loadPolicy(options.policy)
  tell(warnings, context)
  const written = options.facts === undefined ? {} : await loadFacts(options.facts)
  const claims = options.claims === undefined ? undefined : await loadClaims(options.claims)
  const facts = accessFacts(claims ? withClaims(written, claims) : written, timeOf(written.at))
  const decision = decideAccess(policy, facts)
  context.stdout.write(options.json ? `${JSON.stringify(decision, plain, 2)}\n` : explanation(decision, facts))
}

/** `twinbore policy test`: decides the cases of a file. @throws GatewayError `ERR_GATEWAY_POLICY_TEST` when one differs */
export async function testPolicyCommand(file: string, context: ProgramContext): Promise<void> {
  const cases = await loadPolicyCases(file)
  const { policy, warnings } = await loadPolicy(resolve(dirname(file), cases.policy))
  tell(warnings, context)
  const results = runPolicyCases(policy, cases, timeOf)
  for (const { name, complaints, decision } of results) {
    context.stdout.write(`${complaints.length === 0 ? 'ok  ' : 'FAIL'}  ${name}\n`)
    if (complaints.length === 0) continue
    for (const complaint of complaints) context.stdout.write(`        ${complaint}\n`)
    for (const line of traceLines(decision)) context.stdout.write(`        ${line}\n`)
  }
  const failed = results.filter(({ complaints }) => complaints.length > 0).length
  context.stdout.write(`${results.length - failed} passed, ${failed} failed\n`)
  if (failed > 0)
    throw new GatewayError('ERR_GATEWAY_POLICY_TEST', `the policy differs in ${failed} of ${results.length} cases`)
}

function timeOf(at: string | undefined): number {
  return at === undefined ? Date.now() : Date.parse(at)
}

async function loadFacts(file: string): Promise<WrittenFacts> {
  const { value: facts, problems } = readFacts(await readSource(file))
  if (!facts) throw configurationError(problems)
  return facts
}

async function loadClaims(file: string): Promise<Record<string, unknown>> {
  const { value, problems } = await readSource(file)
  if (problems.length > 0) throw configurationError(problems)
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  const message = `${file}: holds no claims; write e.g. { "sub": "anna", "groups": ["staff"] }`
  throw configurationError([{ severity: 'error', path: [], message }])
}

function withClaims(written: WrittenFacts, claims: Record<string, unknown>): WrittenFacts {
  const { username, groups, device } = claimFacts(claims)
  return { user: username, groups, claims, ...written, device: { ...device, ...written.device } }
}

function explanation(decision: AccessDecision, facts: AccessFacts): string {
  const { effect, rule, text, terms, grants, changesAt } = decision
  const lines = [
    `${effect} ${facts.username}, ${rule === undefined ? 'as no rule holds' : `by rule '${rule}'`}`,
    ...(text === undefined ? [] : [`  the user is told: ${text}`]),
    ...traceLines(decision).map(line => `  ${line}`),
    ...(grants.length === 0 ? [] : [`  grants: ${grants.join(', ')}`]),
    ...termLines(terms).map(line => `  ${line}`),
    ...(changesAt === undefined
      ? []
      : [`  decided anew by ${new Date(changesAt).toISOString()}, as hours begin or end`]),
  ]
  return `${lines.join('\n')}\n`
}

function traceLines({ trace }: AccessDecision): string[] {
  return trace.map(({ rule, holds, because }) => `${holds ? 'holds' : 'not  '}  ${rule}: ${because}`)
}

function termLines(terms: AccessTerms): string[] {
  const { permissions, ...others } = terms
  return [
    ...(permissions ?? []).map(({ to, protocol = 'any protocol', ports }) => {
      const spans = ports?.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`))
      return `reaches: ${to} ${protocol}${spans ? ` ${spans.join(',')}` : ''}`
    }),
    ...Object.entries(others).map(([name, value]) => `${name}: ${JSON.stringify(value, plain)}`),
  ]
}

function tell(warnings: readonly ConfigProblem[], context: ProgramContext): void {
  for (const warning of warnings) context.stderr.write(`${formatProblem(warning)}\n`)
}

/** JSON has no word for a rate without a limit. */
function plain(_: string, value: unknown): unknown {
  return value === Number.POSITIVE_INFINITY ? 'none' : value
}
