/** An association among those of one worker. */
export interface PlacedAssociation {
  readonly worker: number
  readonly number: number
}

/** Numbers for associations of several workers, each of which counts its own from 0; and which one is each session's newest. */
export class AssociationNumbers {
  private readonly workers: number
  private readonly newest: Int32Array

  constructor(workers: number, capacity: number) {
    this.workers = workers
    this.newest = new Int32Array(capacity).fill(-1)
  }

  /** The number of one of a worker's associations among those of all. */
  join(worker: number, number: number): number {
    return number * this.workers + worker
  }

  split(association: number): PlacedAssociation {
    return { worker: association % this.workers, number: Math.floor(association / this.workers) }
  }

  /** A worker has a new association of a session. Returns its number, and the one before when that is another worker's. */
  establish(
    session: number,
    worker: number,
    number: number,
  ): { readonly association: number; readonly previous: PlacedAssociation | undefined } {
    const association = this.join(worker, number)
    const before = this.newest[session]!
    this.newest[session] = association
    const previous = before === -1 ? undefined : this.split(before)
    return { association, previous: previous?.worker === worker ? undefined : previous }
  }

  /** An association is gone. */
  close(session: number, association: number): void {
    if (this.newest[session] === association) this.newest[session] = -1
  }

  forget(session: number): void {
    this.newest[session] = -1
  }
}
