import type { Machine } from '../runtime/machine.ts'
import type { Milliseconds } from '../runtime/time.ts'

/** A machine under test and what can be fed to it. */
export interface ComplianceSubject<Output> {
  readonly machine: Machine<Output>
  /** Each feeds one input to the machine, at the given time. They are called in order, each once. */
  readonly inputs: readonly ((now: Milliseconds) => void)[]
}

/** One check, for any test runner: `test(check.name, check.run)`. `run` throws an `Error` when the machine fails it. */
export interface ComplianceCheck {
  readonly name: string
  readonly run: () => void
}

const drainLimit = 100_000
const step: Milliseconds = 7
const day: Milliseconds = 86_400_000

/**
 * Checks of the contract that every `Machine` keeps. `makeSubject` makes a new machine each time, always the same one
 * (seeded randomness), with inputs that bring it into its interesting states.
 */
export function machineComplianceTests<Output>(makeSubject: () => ComplianceSubject<Output>): ComplianceCheck[] {
  const checks: Record<string, (run: Run<Output>) => void> = {
    'drains to rest after every input, and stays there': run => {
      run.feedAll(() => expectRest(run, 'after its outputs were drained'))
    },
    'has a deadline that is undefined or a finite number, and reading it changes nothing': run => {
      run.feedAll(() => {
        const deadline = run.machine.deadline
        if (deadline !== undefined && !Number.isFinite(deadline)) fail(`deadline is ${deadline}`)
        if (run.machine.deadline !== deadline) fail('deadline changed between two reads')
        expectRest(run, 'after its deadline was read')
      })
    },
    'takes early calls of handleDeadline without a change': run => {
      run.feedAll(() => {
        const deadline = run.machine.deadline
        if (deadline !== undefined && deadline <= run.now) return
        run.machine.handleDeadline(run.now)
        expectRest(run, 'after an early handleDeadline')
        if (run.machine.deadline !== deadline)
          fail(`an early handleDeadline moved ${deadline} to ${run.machine.deadline}`)
      })
    },
    'makes progress at its deadline, and takes repeated calls without a change': run => {
      run.feedAll()
      for (let i = 0; i < 50 && run.machine.deadline !== undefined; i++) {
        run.now = Math.max(run.now, run.machine.deadline)
        run.machine.handleDeadline(run.now)
        run.drain()
        const next = run.machine.deadline
        if (next !== undefined && next <= run.now) fail(`at ${run.now} the next deadline is ${next}: a busy loop`)
        run.machine.handleDeadline(run.now)
        expectRest(run, 'after a repeated handleDeadline')
        if (run.machine.deadline !== next) fail(`a repeated handleDeadline moved ${next} to ${run.machine.deadline}`)
      }
    },
    'survives time standing still for a day': run => {
      run.feedAll()
      run.now += day
      for (let i = 0; i < 50 && run.machine.deadline !== undefined && run.machine.deadline <= run.now; i++) {
        run.machine.handleDeadline(run.now)
        run.drain()
      }
      const deadline = run.machine.deadline
      if (deadline !== undefined && deadline <= run.now) fail(`at ${run.now} the deadline ${deadline} is never handled`)
    },
    'leaves its outputs alone once they were taken': run => {
      const taken: { output: Output; text: string }[] = []
      run.onOutput = output => taken.push({ output, text: textOf(output) })
      run.feedAll()
      run.runDeadlines(20)
      for (const { output, text } of taken) {
        if (textOf(output) !== text) fail(`an output changed from ${text} to ${textOf(output)}`)
      }
    },
    'does the same for the same inputs': run => {
      const twin = new Run(makeSubject())
      const histories = [run, twin].map(each => {
        const history: string[] = []
        each.onOutput = output => history.push(textOf(output))
        each.feedAll(() => history.push(`deadline ${each.machine.deadline}`))
        each.runDeadlines(20)
        return history.join('\n')
      })
      if (histories[0] !== histories[1]) fail(`two machines differ:\n${histories[0]}\n---\n${histories[1]}`)
    },
  }
  return Object.entries(checks).map(([name, check]) => ({ name, run: () => check(new Run(makeSubject())) }))
}

/** A machine with its own time and its inputs. */
class Run<Output> {
  readonly machine: Machine<Output>
  now: Milliseconds = 1000
  onOutput: (output: Output) => void = () => {}
  private readonly inputs: ComplianceSubject<Output>['inputs']

  constructor(subject: ComplianceSubject<Output>) {
    this.machine = subject.machine
    this.inputs = subject.inputs
  }

  /** Feeds every input, a few milliseconds apart, handles deadlines on the way, and drains. */
  feedAll(afterEach: () => void = () => {}): void {
    this.drain()
    for (const input of this.inputs) {
      this.now += step
      this.handleDue()
      input(this.now)
      this.drain()
      afterEach()
    }
  }

  runDeadlines(count: number): void {
    for (let i = 0; i < count && this.machine.deadline !== undefined; i++) {
      this.now = Math.max(this.now, this.machine.deadline)
      this.machine.handleDeadline(this.now)
      this.drain()
    }
  }

  drain(): void {
    for (let i = 0; i < drainLimit; i++) {
      const output = this.machine.poll()
      if (output === undefined) return
      this.onOutput(output)
    }
    fail(`${drainLimit} outputs and no end`)
  }

  private handleDue(): void {
    const due = this.machine.deadline
    if (due === undefined || due > this.now) return
    this.machine.handleDeadline(this.now)
    this.drain()
  }
}

function expectRest<Output>(run: Run<Output>, when: string): void {
  const output = run.machine.poll()
  if (output !== undefined) fail(`an unexpected output ${when}: ${textOf(output)}`)
}

function fail(message: string): never {
  throw new Error(message)
}

/** A text that differs when the values differ: bytes in hex, errors with their codes, keys in their order. */
function textOf(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) => {
    if (part instanceof Uint8Array) return Array.from(part, byte => byte.toString(16).padStart(2, '0')).join('')
    if (part instanceof Error) return { ...part, message: part.message }
    if (part instanceof Map || part instanceof Set) return [...part]
    if (typeof part === 'bigint') return `${part}n`
    return typeof part === 'function' ? 'function' : part
  })
}
