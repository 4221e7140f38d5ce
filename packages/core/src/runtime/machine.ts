import type { Milliseconds } from './time.ts'

/**
 * A protocol state machine. It owns no clock, no socket and no timer.
 *
 * The contract, the same for every machine of this project: feed one input (a method whose last parameter is `now`),
 * drain every output with `poll()`, then look at `deadline` and call `handleDeadline` when it is reached. What is
 * asynchronous (checking a password, verifying a certificate) leaves as an output and comes back as an input.
 */
export interface Machine<Output> {
  /** When `handleDeadline` wants to be called next, or `undefined` when nothing is pending. Monotonic milliseconds. */
  readonly deadline: Milliseconds | undefined
  /** Tells the machine that time has reached `now`. Early and repeated calls are harmless. */
  handleDeadline(now: Milliseconds): void
  /** Takes the next output. Call until `undefined` after every input; only then is the machine at rest. */
  poll(): Output | undefined
}

/** First-in first-out outputs of a machine, for use inside machines: `push` while handling input, `take` in `poll`. */
export class OutputQueue<Output> {
  private items: Output[] = []
  private head = 0

  /** How many outputs wait. */
  get length(): number {
    return this.items.length - this.head
  }

  push(output: Output): void {
    this.items.push(output)
  }

  take(): Output | undefined {
    if (this.head === this.items.length) return undefined
    const output = this.items[this.head++]
    if (this.head === this.items.length) {
      this.items = []
      this.head = 0
    }
    return output
  }
}

/** The earliest of some deadlines, ignoring those that are not set. */
export function earliest(...deadlines: (Milliseconds | undefined)[]): Milliseconds | undefined {
  let result: Milliseconds | undefined
  for (const deadline of deadlines) {
    if (deadline !== undefined && (result === undefined || deadline < result)) result = deadline
  }
  return result
}
