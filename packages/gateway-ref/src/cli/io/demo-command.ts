import { access, constants, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type DemoSetup, ensureDemoSetup } from '../../demo/io/demo-setup.ts'
import type { ProgramContext } from './program-context.ts'

/** What `twinbore demo` takes. */
export interface DemoCommandOptions {
  /** Whether the demonstration ends after its traffic. */
  readonly once?: boolean
  /** @defaultValue `.twinbore`, or a temporary folder where that cannot be written: on a read-only root */
  readonly directory?: string
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
  const kept = options.directory ?? ((await canKeepIn(usualDirectory)) ? usualDirectory : undefined)
  const directory = kept ?? (await mkdtemp(join(tmpdir(), 'twinbore-')))
  try {
    const setup = await ensureDemoSetup(directory)
    if (setup.created)
      context.stdout.write(`made a certificate authority and a user '${setup.username}' in ${directory}/\n\n`)
    await demonstrate(setup, { once: options.once === true, address: options.address, port: options.port }, context)
  } finally {
    if (kept === undefined) await rm(directory, { recursive: true })
  }
}

const usualDirectory = '.twinbore'

async function canKeepIn(directory: string): Promise<boolean> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    await access(directory, constants.W_OK)
    return true
  } catch {
    return false
  }
}
