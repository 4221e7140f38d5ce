import { type DemoSetup, ensureDemoSetup } from '../../demo/io/demo-setup.ts'
import type { ProgramContext } from './program-context.ts'

/** What `twinbore demo` takes. */
export interface DemoCommandOptions {
  /** Whether the demonstration ends after its traffic. */
  readonly once?: boolean
  readonly directory: string
  readonly address: string
  readonly port: number
}

/** Shows the gateway at work. Resolves when it has ended; throws what went wrong. */
export type Demonstration = (
  setup: DemoSetup,
  options: { readonly once: boolean; readonly address: string; readonly port: number },
  context: ProgramContext,
) => Promise<void>

/** `twinbore demo`: makes what a gateway needs on its first run, and shows it at work. */
export async function demoCommand(
  options: DemoCommandOptions,
  context: ProgramContext,
  demonstrate: Demonstration,
): Promise<void> {
  const setup = await ensureDemoSetup(options.directory)
  if (setup.created)
    context.stdout.write(`made a certificate authority and a user '${setup.username}' in ${options.directory}/\n\n`)
  await demonstrate(setup, { once: options.once === true, address: options.address, port: options.port }, context)
}
