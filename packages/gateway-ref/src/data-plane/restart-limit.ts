import type { Milliseconds } from '@twinbore/core/runtime'

/** So many restarts within this time; one more says that it is of no use. */
const MOST_RESTARTS = 5
const WITHIN_MS = 30_000

/** Whether something that dies may be started anew once more. */
export class RestartLimit {
  private recent: Milliseconds[] = []

  allows(now: Milliseconds): boolean {
    this.recent = this.recent.filter(at => at > now - WITHIN_MS)
    this.recent.push(now)
    return this.recent.length <= MOST_RESTARTS
  }
}
