import { CHUNK_BYTES, type MemoryBudget } from './memory-budget.ts'

/** Chunks that a store may hold whatever the budget says, so that every flow can make progress. */
export const GUARANTEED_CHUNKS = 2

/** Bytes by position, in chunks that exist only while something is in them. Gaps are allowed; who reads knows where. */
export class ByteStore {
  private readonly memory: MemoryBudget
  /** `chunks[i]` holds the positions from `(first + i) * CHUNK_BYTES`. */
  private readonly chunks: (Uint8Array | undefined)[] = []
  private first = 0
  private held = 0

  constructor(memory: MemoryBudget) {
    this.memory = memory
  }

  /** Memory held, in bytes. */
  get heldBytes(): number {
    return this.held * CHUNK_BYTES
  }

  /** Stores `length` bytes of `source` from `from` on. Returns how many of them: fewer when memory is refused. */
  write(position: number, source: Uint8Array, from: number, length: number): number {
    let done = 0
    while (done < length) {
      const at = position + done
      const chunk = this.chunkFor(Math.floor(at / CHUNK_BYTES))
      if (chunk === undefined) break
      const within = at % CHUNK_BYTES
      const piece = Math.min(length - done, CHUNK_BYTES - within)
      chunk.set(source.subarray(from + done, from + done + piece), within)
      done += piece
    }
    return done
  }

  /** Copies bytes that were stored. */
  copyTo(position: number, target: Uint8Array, at: number, length: number): void {
    let done = 0
    while (done < length) {
      const from = position + done
      const within = from % CHUNK_BYTES
      const piece = Math.min(length - done, CHUNK_BYTES - within)
      const chunk = this.chunks[Math.floor(from / CHUNK_BYTES) - this.first]!
      target.set(within === 0 && piece === CHUNK_BYTES ? chunk : chunk.subarray(within, within + piece), at + done)
      done += piece
    }
  }

  /** Gives back what lies wholly before a position; with `empty`, nothing at or behind it matters either. */
  releaseBefore(position: number, empty: boolean): void {
    if (empty) {
      this.clear()
      return
    }
    const keep = Math.floor(position / CHUNK_BYTES)
    while (this.chunks.length > 0 && this.first < keep) {
      this.giveBack(this.chunks.shift())
      this.first++
    }
  }

  /** Gives back what lies wholly at or behind a position. */
  releaseFrom(position: number): void {
    const keep = Math.ceil(position / CHUNK_BYTES) - this.first
    while (this.chunks.length > 0 && this.chunks.length > keep) this.giveBack(this.chunks.pop())
  }

  clear(): void {
    for (const chunk of this.chunks) this.giveBack(chunk)
    this.chunks.length = 0
  }

  private chunkFor(index: number): Uint8Array | undefined {
    if (this.chunks.length === 0) this.first = index
    // Data in order may come after data out of order, in front of the first chunk.
    while (index < this.first) {
      this.chunks.unshift(undefined)
      this.first--
    }
    const slot = index - this.first
    const known = this.chunks[slot]
    if (known !== undefined) return known
    const chunk = this.memory.take(this.held < GUARANTEED_CHUNKS)
    if (chunk === undefined) return undefined
    while (this.chunks.length < slot) this.chunks.push(undefined)
    this.chunks[slot] = chunk
    this.held++
    return chunk
  }

  private giveBack(chunk: Uint8Array | undefined): void {
    if (chunk === undefined) return
    this.held--
    this.memory.give(chunk)
  }
}
