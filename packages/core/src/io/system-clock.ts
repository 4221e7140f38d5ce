import { performance } from 'node:perf_hooks'
import type { Clock } from '../runtime/time.ts'

/** The clock of this computer. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wallClock: () => Date.now(),
}
