import type { AddressWords } from '../address.ts'
import { extend, SESSION_ROW_BYTES } from '../translator-memory.ts'
import type { InsideTable } from './inside-table.ts'
import type { MappingTable } from './mapping-table.ts'
import type { SessionTable } from './session-table.ts'

const rowWords = SESSION_ROW_BYTES / 4

/** Where each value of a record stands, in words. */
export const RecordWord = {
  /** 0: there is none. Else a checksum of the rest, written last and taken back first. */
  mark: 0,
  /** `Protocol`, and above 8 bits `SessionScope`. */
  kind: 1,
  /** Inside port, and in the upper half the outside port. */
  ports: 2,
  remotePort: 3,
  /** Four words each. */
  inside: 4,
  outside: 8,
  remote: 12,
} as const

/** What `SessionRecords.look` finds in a row. */
export const RecordState = { none: 0, whole: 1, broken: 2 } as const

/** Where a session's endpoints are read from. */
export interface RecordSources {
  readonly sessions: SessionTable
  readonly table: MappingTable
  readonly insides: InsideTable
  readonly outside: { readonly words: AddressWords }
}

/**
 * For a successor: what each session is, in memory that outlives this thread, beside its row of `SessionRows`. Each record
 * says all by itself, so none can point to something half-written. A thread may stop between any two stores: a record counts
 * as a whole only when its mark fits, which is the last word to be written and the first to go.
 *
 * Touched when a session comes and goes, never for a packet. 64 bytes a row.
 */
export class SessionRecords {
  /** Rows that there is room for. */
  capacity: number
  words: Int32Array
  private readonly memory: SharedArrayBuffer
  private readonly sources: RecordSources

  constructor(memory: SharedArrayBuffer, sources: RecordSources) {
    this.memory = memory
    this.sources = sources
    this.capacity = Math.floor(memory.byteLength / SESSION_ROW_BYTES)
    this.words = new Int32Array(memory, 0, this.capacity * rowWords)
  }

  get memoryBytes(): number {
    return this.words.byteLength
  }

  /** Writes the record of a new session, whose row has none. */
  write(row: number, scope: number): void {
    if (row >= this.capacity) this.grow()
    const { words } = this
    const { sessions, table, insides, outside } = this.sources
    const mapping = sessions.mapping(row)
    const from = table.inside[mapping]! * 4
    const to = table.outside[mapping]! * 4
    const at = row * rowWords
    words[at + RecordWord.kind] = table.protocol[mapping]! | (scope << 8)
    words[at + RecordWord.ports] = table.insidePort[mapping]! | (table.outsidePort[mapping]! << 16)
    words[at + RecordWord.remotePort] = sessions.remotePort(row)
    for (let i = 0; i < 4; i++) {
      words[at + RecordWord.inside + i] = insides.words[from + i]!
      words[at + RecordWord.outside + i] = outside.words[to + i]!
      words[at + RecordWord.remote + i] = sessions.remote[row * 4 + i]!
    }
    Atomics.store(words, at + RecordWord.mark, checksum(words, at))
  }

  /** The row's session is nobody's any more. */
  clear(row: number): void {
    if (row < this.capacity) Atomics.store(this.words, row * rowWords + RecordWord.mark, 0)
  }

  /** A `RecordState`. */
  look(row: number): number {
    const at = row * rowWords
    const mark = Atomics.load(this.words, at + RecordWord.mark)
    if (mark === 0) return RecordState.none
    return mark === checksum(this.words, at) ? RecordState.whole : RecordState.broken
  }

  private grow(): void {
    this.capacity *= 2
    extend(this.memory, this.capacity * SESSION_ROW_BYTES)
    this.words = new Int32Array(this.memory, 0, this.capacity * rowWords)
  }
}

/** Of all words of a record but the mark; never 0. Against half-written records, not against anybody. */
function checksum(words: Int32Array, at: number): number {
  let hash = 0x5bd1_e995 | 0
  for (let i = 1; i < rowWords; i++) {
    hash = Math.imul(hash ^ words[at + i]!, 0x9e37_79b1 | 0)
    hash ^= hash >>> 15
  }
  return hash === 0 ? 1 : hash
}
