// A program that a test started, with everything it printed. It ends when the test says so or the test process ends.
import { type ChildProcess, spawn } from 'node:child_process'
import { findProgram } from './find-program.ts'

export interface LaunchOptions {
  /** Written to standard input, which is then closed; without it standard input is empty. */
  readonly input?: string
  /** Leaves standard input open after `input`. @defaultValue false */
  readonly keepInputOpen?: boolean
  readonly env?: Readonly<Record<string, string>>
  /** The network namespace to run in; without it the test's own. */
  readonly namespace?: string
}

export interface WaitOptions {
  /** @defaultValue 30_000 */
  readonly timeoutMs?: number
  /** A place in the output, from `mark`: what was printed before it is not looked at. @defaultValue 0 */
  readonly since?: number
  /** Looks at standard output alone. @defaultValue false */
  readonly stdoutOnly?: boolean
}

export interface Finished {
  readonly code: number | undefined
  readonly signal: NodeJS.Signals | undefined
  /** Standard output and standard error, interleaved as they came. */
  readonly output: string
  readonly stdout: string
}

const defaultWaitMs = 30_000
const running = new Set<LabProcess>()
process.on('exit', () => {
  for (const one of running) one.kill('SIGKILL')
})

export class LabProcess {
  readonly name: string
  readonly pid: number
  /** Settles when the process has ended and all its output is read. */
  readonly finished: Promise<Finished>
  output = ''
  stdout = ''

  readonly #child: ChildProcess
  readonly #watchers = new Set<() => void>()
  #ended: Finished | undefined

  constructor(program: string, args: readonly string[], options: LaunchOptions = {}) {
    this.name = `${program} ${args.join(' ')}`
    const path = findProgram(program) ?? program
    // `ip netns exec` replaces itself by the program, so the child's pid is the program's.
    const words = options.namespace ? ['ip', 'netns', 'exec', options.namespace, path, ...args] : [path, ...args]
    this.#child = spawn(words[0]!, words.slice(1), { env: { ...process.env, ...options.env } })
    this.pid = this.#child.pid ?? -1
    running.add(this)
    const append = (text: string, isStdout: boolean): void => {
      this.output += text
      if (isStdout) this.stdout += text
      for (const look of this.#watchers) look()
    }
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => append(text, true))
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => append(text, false))
    // The program may end before it has read its input.
    this.#child.stdin!.on('error', () => {})
    if (options.input !== undefined) this.#child.stdin!.write(options.input)
    if (!options.keepInputOpen) this.#child.stdin!.end()
    this.finished = new Promise(resolve => {
      const end = (code: number | undefined, signal: NodeJS.Signals | undefined): void => {
        running.delete(this)
        this.#ended = { code, signal, output: this.output, stdout: this.stdout }
        for (const look of this.#watchers) look()
        resolve(this.#ended)
      }
      this.#child.on('error', error => {
        this.output += `${error.message}\n`
        end(undefined, undefined)
      })
      this.#child.on('close', (code, signal) => end(code ?? undefined, signal ?? undefined))
    })
  }

  get hasEnded(): boolean {
    return this.#ended !== undefined
  }

  /** How much has been printed so far: a place from which `waitFor` can look on. */
  get mark(): number {
    return this.output.length
  }

  /** Waits until the output from `since` on holds `pattern`. Rejects when the process ends first, or time runs out. */
  waitFor(pattern: RegExp, options: WaitOptions = {}): Promise<RegExpExecArray> {
    const { timeoutMs = defaultWaitMs, since = 0, stdoutOnly = false } = options
    return new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined
      const finish = (act: () => void): void => {
        clearTimeout(timer)
        this.#watchers.delete(look)
        act()
      }
      const look = (): void => {
        const found = pattern.exec((stdoutOnly ? this.stdout : this.output).slice(since))
        const ended = this.#ended
        if (found) finish(() => resolve(found))
        else if (ended) finish(() => reject(this.#failure(`ended (${describeEnd(ended)}) before`, pattern)))
      }
      timer = setTimeout(
        () => finish(() => reject(this.#failure(`did not print in ${timeoutMs} ms`, pattern))),
        timeoutMs,
      )
      this.#watchers.add(look)
      look()
    })
  }

  write(text: string): void {
    this.#child.stdin!.write(text)
  }

  kill(signal: NodeJS.Signals): void {
    if (!this.#ended) this.#child.kill(signal)
  }

  /** Asks the process to end and waits for it; after `graceMs` it is killed. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', graceMs = 10_000): Promise<Finished> {
    this.kill(signal)
    const timer = setTimeout(() => this.kill('SIGKILL'), graceMs)
    const finished = await this.finished
    clearTimeout(timer)
    return finished
  }

  #failure(what: string, pattern: RegExp): Error {
    const tail = this.output.split('\n').slice(-40).join('\n')
    return new Error(`${this.name}\n${what}: ${pattern}\nIts output:\n${tail}`)
  }
}

/** Runs a program to its end. Rejects when it takes longer than `timeoutMs`; its exit code is the caller's business. */
export async function runProgram(
  program: string,
  args: readonly string[],
  options: LaunchOptions & { readonly timeoutMs?: number } = {},
): Promise<Finished> {
  const { timeoutMs = 60_000, ...launch } = options
  const child = new LabProcess(program, args, launch)
  let late = false
  const timer = setTimeout(() => {
    late = true
    child.kill('SIGKILL')
  }, timeoutMs)
  const finished = await child.finished
  clearTimeout(timer)
  if (late) throw new Error(`${child.name}\ntook longer than ${timeoutMs} ms. Its output:\n${finished.output}`)
  return finished
}

/** Runs a program that must succeed, and returns its standard output. */
export async function mustRun(
  program: string,
  args: readonly string[],
  options: LaunchOptions & { readonly timeoutMs?: number } = {},
): Promise<string> {
  const finished = await runProgram(program, args, options)
  if (finished.code === 0) return finished.stdout
  throw new Error(`${program} ${args.join(' ')}: ${describeEnd(finished)}\n${finished.output}`)
}

function describeEnd({ code, signal }: Finished): string {
  return signal ? `signal ${signal}` : code === undefined ? 'could not start' : `exit code ${code}`
}
