import { type Machine, type Milliseconds, OutputQueue } from '@twinbore/core/runtime'

/** When sessions are to be decided about anew; its outputs are their ids. */
export class Reviews implements Machine<number> {
  private readonly times = new Map<number, Milliseconds>()
  private readonly outputs = new OutputQueue<number>()
  /** Not later than the first of them. */
  private earliest: Milliseconds | undefined

  /** Sets when a session is next; `undefined`: not any more. */
  set(session: number, at: Milliseconds | undefined): void {
    if (at === undefined) {
      this.times.delete(session)
      return
    }
    this.times.set(session, at)
    if (this.earliest === undefined || at < this.earliest) this.earliest = at
  }

  get deadline(): Milliseconds | undefined {
    return this.earliest
  }

  handleDeadline(now: Milliseconds): void {
    if (this.earliest === undefined || now < this.earliest) return
    this.earliest = undefined
    for (const [session, at] of this.times) {
      if (now >= at) {
        this.times.delete(session)
        this.outputs.push(session)
      } else if (this.earliest === undefined || at < this.earliest) this.earliest = at
    }
  }

  poll(): number | undefined {
    return this.outputs.take()
  }
}
