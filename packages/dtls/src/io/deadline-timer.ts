import { performance } from 'node:perf_hooks'
import type { Milliseconds } from '../machine.ts'

/** The longest delay that setTimeout takes. */
const MAX_DELAY_MS = 0x7fff_ffff

/** The monotonic time that shells pass to their machines. */
export function monotonicNow(): Milliseconds {
  return performance.now()
}

/** One timer that follows a machine's deadline. */
export class DeadlineTimer {
  private readonly onDeadline: () => void
  private timer: NodeJS.Timeout | undefined
  private armedFor: Milliseconds | undefined

  constructor(onDeadline: () => void) {
    this.onDeadline = onDeadline
  }

  /** Arms for a deadline, or disarms for `undefined`. */
  follow(deadline: Milliseconds | undefined): void {
    if (deadline === this.armedFor) return
    clearTimeout(this.timer)
    this.armedFor = deadline
    if (deadline === undefined) return
    const delay = Math.min(Math.max(0, Math.ceil(deadline - monotonicNow())), MAX_DELAY_MS)
    this.timer = setTimeout(() => {
      this.armedFor = undefined
      this.onDeadline()
    }, delay)
  }
}
