/** A point in time or a span, in milliseconds. Points are monotonic: they never go backwards and mean nothing outside the process. */
export type Milliseconds = number

/** Where randomness comes from. The real one is `nodeRandom` of `dtls/io`. */
export interface Random {
  /** Fills `bytes` with random bytes and returns it. */
  fill(bytes: Uint8Array): Uint8Array
}

/**
 * A protocol state machine. It owns no clock, no socket and no timer: feed one input (a method whose last parameter is
 * `now`), drain every output with `poll()`, then look at `deadline`.
 */
export interface Machine<Output> {
  /** When `handleDeadline` wants to be called next, or `undefined` when nothing is pending. Monotonic milliseconds. */
  readonly deadline: Milliseconds | undefined
  /** Tells the machine that time has reached `now`. Early and repeated calls are harmless. */
  handleDeadline(now: Milliseconds): void
  /** Takes the next output. Call until `undefined` after every input; only then is the machine at rest. */
  poll(): Output | undefined
}

/** First-in first-out outputs of a machine. */
export class OutputQueue<Output> {
  private items: Output[] = []
  private head = 0

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

/** A broken invariant: a defect of this library, never the fault of a peer or of a user. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError'
}

/** Throws `InvariantError` unless `condition` holds. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantError(message)
}
