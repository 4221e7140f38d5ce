import { formatProblem } from '../../config/config-problem.ts'
import { loadConfigFile } from '../../config/io/load-config.ts'
import type { ProgramContext } from './program-context.ts'

/** `twinbore check-config`: says that the configuration can be used, or throws every mistake. */
export async function checkConfigCommand(
  options: { readonly config: string; readonly effective?: boolean },
  context: ProgramContext,
): Promise<void> {
  const { config, warnings } = await loadConfigFile(options.config, context.environment)
  for (const warning of warnings) context.stderr.write(`${formatProblem(warning)}\n`)
  if (options.effective) {
    context.stdout.write(`${JSON.stringify(config, withoutInlinePem, 2)}\n`)
  } else {
    context.stdout.write(`${options.config}: ok${warnings.length > 0 ? `, with ${counted(warnings.length)}` : ''}\n`)
  }
}

/** A key may stand in the configuration itself. */
function withoutInlinePem(_: string, value: unknown): unknown {
  return typeof value === 'string' && value.includes('-----BEGIN') ? '(PEM text)' : value
}

function counted(warnings: number): string {
  return warnings === 1 ? '1 warning' : `${warnings} warnings`
}
