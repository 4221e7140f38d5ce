import type { Clock, Milliseconds } from '../runtime/time.ts'

/** A clock that moves only when told to. The wall clock moves along with the monotonic one. */
export class ManualClock implements Clock {
  private time: Milliseconds
  private readonly wallOffset: Milliseconds

  /**
   * @param start - the monotonic time at creation
   * @param wallStart - the wall-clock time at creation; 2025-01-01T00:00:00Z unless given
   */
  constructor(start: Milliseconds = 0, wallStart: Milliseconds = 1_735_689_600_000) {
    this.time = start
    this.wallOffset = wallStart - start
  }

  now(): Milliseconds {
    return this.time
  }

  wallClock(): Milliseconds {
    return this.time + this.wallOffset
  }

  /** Moves the time forward and returns it. @throws RangeError when `by` is negative or not a number */
  advance(by: Milliseconds): Milliseconds {
    if (!(by >= 0)) throw new RangeError('by must not be negative: monotonic time never goes backwards')
    this.time += by
    return this.time
  }

  /** Moves the time forward to a point, for instance a machine's deadline. A point in the past leaves it as it is. */
  advanceTo(point: Milliseconds): Milliseconds {
    return this.advance(Math.max(0, point - this.time))
  }
}
