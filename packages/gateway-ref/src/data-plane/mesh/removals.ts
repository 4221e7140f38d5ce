/** Sessions that are being removed, and the workers that have not done so yet: a number is free when none has anything to say of it. */
export class Removals {
  private readonly workers: number
  private readonly waitedFor = new Map<number, Set<number>>()

  constructor(workers: number) {
    this.workers = workers
  }

  begin(session: number): void {
    this.waitedFor.set(session, new Set(Array.from({ length: this.workers }, (_, worker) => worker)))
  }

  /** A worker has removed it. Returns whether it was the last one. */
  note(session: number, worker: number): boolean {
    const left = this.waitedFor.get(session)
    if (!left?.delete(worker) || left.size > 0) return false
    this.waitedFor.delete(session)
    return true
  }
}
