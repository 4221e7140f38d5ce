import { HashIndex, type KeyedHash } from '@twinbore/core/packet'
import { grown, RowNumbers } from './rows.ts'

/**
 * Inside addresses that hold mappings: their quotas, their outside address (paired pooling, RFC 6888 REQ-2) and the list
 * of their mappings. A row lives as long as it has a mapping. 60 bytes a row and 16 to 32 of index.
 */
export class InsideTable {
  words: Int32Array
  /** Live mappings, three a row, by protocol. */
  mappings: Int32Array
  /** Live sessions. */
  sessions: Int32Array
  /** Which outside address the row uses. */
  outside: Int32Array
  /** First mapping, or -1. */
  firstMapping: Int32Array
  private tokens: Float64Array
  private tokensAt: Float64Array
  private readonly rows: RowNumbers
  private readonly index: HashIndex = new HashIndex()
  private readonly hash: KeyedHash
  private capacity = 16

  constructor(hash: KeyedHash, limit: number) {
    this.hash = hash
    this.rows = new RowNumbers(limit)
    this.words = new Int32Array(this.capacity * 4)
    this.mappings = new Int32Array(this.capacity * 3)
    this.sessions = new Int32Array(this.capacity)
    this.outside = new Int32Array(this.capacity)
    this.firstMapping = new Int32Array(this.capacity)
    this.tokens = new Float64Array(this.capacity)
    this.tokensAt = new Float64Array(this.capacity)
  }

  get count(): number {
    return this.rows.count
  }

  get memoryBytes(): number {
    return this.capacity * 60 + this.index.memoryBytes + this.rows.memoryBytes
  }

  /** The row of an address, or -1. */
  find(a: number, b: number, c: number, d: number): number {
    const hash = this.hash.words4(a, b, c, d)
    for (let at = this.index.find(hash); at !== -1; at = this.index.findNext(at, hash)) {
      const row = this.index.rowAt(at)
      const { words } = this
      const i = row * 4
      if (words[i] === a && words[i + 1] === b && words[i + 2] === c && words[i + 3] === d) return row
    }
    return -1
  }

  /** Adds an address with a full bucket of `tokens`. -1 when the table is full. */
  add(a: number, b: number, c: number, d: number, outside: number, tokens: number, now: number): number {
    const row = this.rows.take()
    if (row === -1) return -1
    if (row >= this.capacity) this.grow()
    this.words[row * 4] = a
    this.words[row * 4 + 1] = b
    this.words[row * 4 + 2] = c
    this.words[row * 4 + 3] = d
    this.mappings.fill(0, row * 3, row * 3 + 3)
    this.sessions[row] = 0
    this.outside[row] = outside
    this.firstMapping[row] = -1
    this.tokens[row] = tokens
    this.tokensAt[row] = now
    this.index.insert(this.hash.words4(a, b, c, d), row)
    return row
  }

  remove(row: number): void {
    const { words } = this
    const i = row * 4
    this.index.remove(this.hash.words4(words[i]!, words[i + 1]!, words[i + 2]!, words[i + 3]!), row)
    this.rows.give(row)
  }

  /** Takes one token of the row's bucket for new mappings. */
  takeToken(row: number, ratePerSecond: number, burst: number, now: number): boolean {
    const filled = this.tokens[row]! + ((now - this.tokensAt[row]!) * ratePerSecond) / 1000
    const tokens = Math.min(filled, burst)
    this.tokensAt[row] = now
    this.tokens[row] = tokens < 1 ? tokens : tokens - 1
    return tokens >= 1
  }

  private grow(): void {
    this.capacity *= 2
    this.words = grown(this.words, this.capacity * 4)
    this.mappings = grown(this.mappings, this.capacity * 3)
    this.sessions = grown(this.sessions, this.capacity)
    this.outside = grown(this.outside, this.capacity)
    this.firstMapping = grown(this.firstMapping, this.capacity)
    this.tokens = grown(this.tokens, this.capacity)
    this.tokensAt = grown(this.tokensAt, this.capacity)
  }
}
