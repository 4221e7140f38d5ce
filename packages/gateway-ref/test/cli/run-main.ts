import { EventEmitter } from 'node:events'
import { PassThrough } from 'node:stream'
import { main } from '../../src/cli/io/main.ts'
import type { ProgramContext } from '../../src/cli/io/program-context.ts'

/** What a run of the program left behind. */
export interface ProgramResult {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A context without a process: `input` on standard input, the outputs as text, signals by hand. */
export class TestContext implements ProgramContext {
  readonly stdin: PassThrough = new PassThrough()
  readonly signals: EventEmitter = new EventEmitter()
  readonly environment: Readonly<Record<string, string>>
  out = ''
  err = ''
  private readonly waiting = new Set<() => void>()

  constructor(options: { readonly input?: string; readonly environment?: Record<string, string> } = {}) {
    this.environment = options.environment ?? {}
    this.stdin.end(options.input ?? '')
  }

  readonly stdout = { write: (text: string): void => this.append('out', text) }
  readonly stderr = { write: (text: string): void => this.append('err', text) }

  /** Waits until an output matches. */
  async until(output: 'out' | 'err', pattern: RegExp): Promise<void> {
    while (!pattern.test(this[output])) await new Promise<void>(resolve => this.waiting.add(resolve))
  }

  private append(output: 'out' | 'err', text: string): void {
    this[output] += text
    for (const wake of this.waiting) wake()
    this.waiting.clear()
  }
}

/** Runs `twinbore` inside this process. */
export async function runMain(
  args: readonly string[],
  options: { readonly input?: string; readonly environment?: Record<string, string> } = {},
): Promise<ProgramResult> {
  const context = new TestContext(options)
  const code = await main(args, context)
  return { code, stdout: context.out, stderr: context.err }
}
