import type { Milliseconds } from '../runtime/index.ts'

/** A delay that doubles with each step up to a bound. */
export class Backoff {
  private readonly first: Milliseconds
  private readonly most: Milliseconds
  private current: Milliseconds

  constructor(first: Milliseconds, most: Milliseconds) {
    this.first = first
    this.most = most
    this.current = first
  }

  /** The delay to use now; the next one is twice as long. */
  next(): Milliseconds {
    const delay = this.current
    this.current = Math.min(this.most, this.current * 2)
    return delay
  }

  reset(): void {
    this.current = this.first
  }
}
