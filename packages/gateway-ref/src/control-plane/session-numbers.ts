/**
 * The numbers of sessions in the data plane. A number whose session has ended rests until the data plane has nothing more to
 * say of it, so that there are some more numbers than sessions may be.
 */
export class SessionNumbers<Owner> {
  readonly capacity: number
  private readonly owners: (Owner | undefined)[] = []
  private readonly free: number[] = []
  private readonly resting = new Set<number>()
  private next = 0

  /** @param capacity - how many numbers there are. */
  constructor(capacity: number) {
    this.capacity = capacity
  }

  /** A number for a session; `undefined` when all are in use or at rest. */
  take(owner: Owner): number | undefined {
    const number = this.free.pop() ?? (this.next < this.capacity ? this.next++ : undefined)
    if (number !== undefined) this.owners[number] = owner
    return number
  }

  /** Whose number it is. */
  find(number: number): Owner | undefined {
    return this.owners[number]
  }

  /** The owners of all numbers that are in use. */
  *taken(): Iterable<Owner> {
    for (const owner of this.owners) if (owner !== undefined) yield owner
  }

  /** The number is nobody's any more; it rests. */
  rest(number: number): void {
    this.owners[number] = undefined
    this.resting.add(number)
  }

  /** The number has rested. */
  release(number: number): void {
    if (this.resting.delete(number)) this.free.push(number)
  }
}

/** How many numbers a gateway needs for so many sessions at once, with those that rest. */
export function numbersFor(maxSessions: number): number {
  return maxSessions + 256
}
