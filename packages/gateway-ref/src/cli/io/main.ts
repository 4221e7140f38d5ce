import { CommanderError } from 'commander'
import { GatewayError } from '../../errors.ts'
import { type ExitCode, exitCode } from '../exit-code.ts'
import { buildProgram } from './program.ts'
import { type ProgramContext, processContext } from './program-context.ts'

/**
 * Runs the program.
 *
 * @param args the words after the program's name
 * @returns the exit code; every message has been written
 */
export async function main(args: readonly string[], context: ProgramContext = processContext()): Promise<ExitCode> {
  try {
    await buildProgram(context).parseAsync([...args], { from: 'user' })
    return exitCode.ok
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCode.ok : exitCode.usage
    if (error instanceof GatewayError && error.code === 'ERR_GATEWAY_CONFIGURATION') {
      context.stderr.write(`${error.message}\n`)
      return exitCode.configuration
    }
    context.stderr.write(`twinbore: ${messageOf(error)}\n`)
    return exitCode.failure
  }
}

/** Failures that are foreseen have a code and a sentence; for anything else the stack is worth more. */
function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return 'code' in error ? error.message : (error.stack ?? error.message)
}
