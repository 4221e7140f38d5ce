import { ByteStore } from './byte-store.ts'
import type { MemoryBudget } from './memory-budget.ts'

/** What was written and is not acknowledged yet. The first byte has position 1. */
export class SendBuffer {
  /** Position behind the last byte; that of the FIN when there is one. */
  end = 1
  /** How many bytes may wait here; grows with the congestion window. */
  limit: number
  private readonly maxLimit: number
  private readonly store: ByteStore
  private start = 1

  constructor(memory: MemoryBudget, initialLimit: number, maxLimit: number) {
    this.store = new ByteStore(memory)
    this.limit = initialLimit
    this.maxLimit = maxLimit
  }

  get room(): number {
    return Math.max(0, this.limit - (this.end - this.start))
  }

  get heldBytes(): number {
    return this.store.heldBytes
  }

  /** Copies what fits behind what is there. Returns how many bytes that was. */
  append(bytes: Uint8Array): number {
    const taken = this.store.write(this.end, bytes, 0, Math.min(bytes.length, this.room))
    this.end += taken
    return taken
  }

  copyTo(position: number, target: Uint8Array, at: number, length: number): void {
    this.store.copyTo(position, target, at, length)
  }

  /** All before `position` was acknowledged. */
  release(position: number): void {
    this.start = Math.min(position, this.end)
    this.store.releaseBefore(this.start, this.start === this.end)
  }

  /** Twice the window: one in flight, one to refill it. */
  growFor(congestionWindow: number): void {
    const wanted = Math.min(this.maxLimit, 2 * Math.floor(congestionWindow))
    if (wanted > this.limit) this.limit = wanted
  }

  clear(): void {
    this.store.clear()
    this.start = this.end
  }
}
