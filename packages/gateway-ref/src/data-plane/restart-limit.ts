import type { Milliseconds } from '@twinbore/core/runtime'

/** So many restarts within this time; one more says that it is of no use. */
export const MOST_RESTARTS = 5
export const RESTARTS_WITHIN_MS = 30_000

/** Whether something that dies may be started anew once more. */
export class RestartLimit {
  private deaths: Milliseconds[] = []

  /** Deaths of late, as of the last `allows`: the last one included. */
  get recent(): number {
    return this.deaths.length
  }

  /** It has died. */
  allows(now: Milliseconds): boolean {
    this.deaths = this.deaths.filter(at => at > now - RESTARTS_WITHIN_MS)
    this.deaths.push(now)
    return this.deaths.length <= MOST_RESTARTS
  }
}
