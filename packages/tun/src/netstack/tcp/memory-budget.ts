/** The unit in which buffers take memory. */
export const CHUNK_BYTES = 8192

/**
 * Memory for buffers, in chunks, with a cap; a budget with a parent also counts against the parent's. One budget for the
 * whole stack, below it one for each client.
 */
export class MemoryBudget {
  readonly limitBytes: number
  private readonly parent: MemoryBudget | undefined
  /** Chunks given back, kept for the next taker; only the topmost budget keeps them. */
  private readonly spare: Uint8Array[] = []
  private used = 0

  constructor(limitBytes: number, parent?: MemoryBudget) {
    if (!(limitBytes > 0)) throw new RangeError('limitBytes must be positive')
    this.limitBytes = limitBytes
    this.parent = parent
  }

  /** Bytes that buffers hold now. May exceed the limit by what was taken with `force`. */
  get usedBytes(): number {
    return this.used
  }

  /** Whether more than three quarters are used, here or above: time to stop growing windows. */
  get isTight(): boolean {
    return this.used > this.limitBytes * 0.75 || (this.parent?.isTight ?? false)
  }

  /** Takes a chunk, or returns `undefined` at the limit. `force` ignores the limit, for what each flow is guaranteed. */
  take(force = false): Uint8Array | undefined {
    if (!force && !this.hasRoom(CHUNK_BYTES)) return undefined
    return this.takeUnchecked()
  }

  give(chunk: Uint8Array): void {
    this.used -= CHUNK_BYTES
    if (this.parent) this.parent.give(chunk)
    else if (this.spare.length < maxSpareChunks) this.spare.push(chunk)
  }

  /** Counts bytes that somebody else holds, such as queued datagrams. Returns whether they fit the limits. */
  reserve(bytes: number): boolean {
    if (!this.hasRoom(bytes)) return false
    this.count(bytes)
    return true
  }

  /** Gives back what `reserve` counted. */
  unreserve(bytes: number): void {
    this.count(-bytes)
  }

  private count(bytes: number): void {
    this.used += bytes
    this.parent?.count(bytes)
  }

  private hasRoom(bytes: number): boolean {
    return this.used + bytes <= this.limitBytes && (this.parent?.hasRoom(bytes) ?? true)
  }

  private takeUnchecked(): Uint8Array {
    this.used += CHUNK_BYTES
    return this.parent ? this.parent.takeUnchecked() : (this.spare.pop() ?? new Uint8Array(CHUNK_BYTES))
  }
}

/** 16 MiB. */
const maxSpareChunks = 2048
