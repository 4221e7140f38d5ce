import { HashIndex, type KeyedHash } from '@twinbore/core/packet'
import { TcpWindows } from '../tcp-windows.ts'
import { grown, RowNumbers } from './rows.ts'
import { SessionRows, SessionWord } from './session-rows.ts'
import { TimerWheel } from './timer-wheel.ts'

/**
 * Sessions: the remote ends that a mapping talks to (RFC 6146 §3.1). For UDP and ICMP a session is what filtering needs to
 * know: one remote endpoint, one remote address (port 0), or anybody (all zero). For TCP it is one connection.
 * 88 bytes a row, timers and TCP windows included, and 16 to 32 of index.
 */
export class SessionTable {
  remote: Int32Array
  readonly windows: TcpWindows
  readonly wheel: TimerWheel
  private readonly store: SessionRows
  private readonly rows: RowNumbers
  private readonly index: HashIndex = new HashIndex()
  private readonly hash: KeyedHash

  /** @param memory - where `SessionRows` are, when a successor is to have them */
  constructor(hash: KeyedHash, limit: number, memory?: SharedArrayBuffer) {
    this.hash = hash
    this.store = new SessionRows(memory)
    this.rows = new RowNumbers(limit)
    this.remote = new Int32Array(this.store.capacity * 4)
    this.windows = new TcpWindows(this.store)
    this.wheel = new TimerWheel(this.store.capacity)
  }

  get count(): number {
    return this.rows.count
  }

  get full(): boolean {
    return this.rows.count === this.rows.limit
  }

  get memoryBytes(): number {
    const own = this.store.memoryBytes + this.remote.byteLength + this.index.memoryBytes + this.rows.memoryBytes
    return own + this.wheel.memoryBytes
  }

  mapping(row: number): number {
    return this.store.words[row * 16 + SessionWord.mapping]!
  }

  remotePort(row: number): number {
    return this.store.words[row * 16 + SessionWord.remotePort]!
  }

  nextOfMapping(row: number): number {
    return this.store.words[row * 16 + SessionWord.nextOfMapping]!
  }

  expiresAt(row: number): number {
    return this.store.times[row * 8]!
  }

  /** A number that changes when the row becomes another session's. */
  serial(row: number): number {
    return this.store.words[row * 16 + SessionWord.serial]!
  }

  /** A `TcpState`; 0 for UDP and ICMP. */
  state(row: number): number {
    return this.store.bytes[row * 64 + 12]!
  }

  setState(row: number, state: number): void {
    this.store.bytes[row * 64 + 12] = state
  }

  /** The session of a mapping with a remote end, or -1. */
  find(mapping: number, a: number, b: number, c: number, d: number, port: number): number {
    const hash = this.hash.words6(mapping, a, b, c, d, port)
    for (let at = this.index.find(hash); at !== -1; at = this.index.findNext(at, hash)) {
      const row = this.index.rowAt(at)
      const { remote } = this
      const { words } = this.store
      const i = row * 4
      if (
        words[row * 16 + SessionWord.mapping] === mapping &&
        words[row * 16 + SessionWord.remotePort] === port &&
        remote[i + 3] === d &&
        remote[i + 2] === c &&
        remote[i + 1] === b &&
        remote[i] === a
      ) {
        return row
      }
    }
    return -1
  }

  /** Adds a session in front of the list of its mapping, whose first session is `first`. The table isn't full. */
  add(mapping: number, a: number, b: number, c: number, d: number, port: number, first: number): number {
    const row = this.rows.take()
    if (row >= this.store.capacity) this.grow()
    this.link(row, mapping, a, b, c, d, port, first)
    this.setState(row, 0)
    return row
  }

  /**
   * Takes a session of a predecessor over, whose state, windows and time are in its row. In the order of their rows, before
   * any is added.
   */
  restore(row: number, mapping: number, a: number, b: number, c: number, d: number, port: number, first: number): void {
    this.rows.adopt(row)
    this.link(row, mapping, a, b, c, d, port, first)
  }

  private link(
    row: number,
    mapping: number,
    a: number,
    b: number,
    c: number,
    d: number,
    port: number,
    first: number,
  ): void {
    const { words } = this.store
    this.remote[row * 4] = a
    this.remote[row * 4 + 1] = b
    this.remote[row * 4 + 2] = c
    this.remote[row * 4 + 3] = d
    words[row * 16 + SessionWord.mapping] = mapping
    words[row * 16 + SessionWord.remotePort] = port
    words[row * 16 + SessionWord.nextOfMapping] = first
    words[row * 16 + SessionWord.previousOfMapping] = -1
    if (first !== -1) words[first * 16 + SessionWord.previousOfMapping] = row
    this.index.insert(this.hash.words6(mapping, a, b, c, d, port), row)
  }

  /** Removes a session that isn't on the wheel. Returns what is now the first session of its mapping, given the one before. */
  remove(row: number, first: number): number {
    const { remote } = this
    const { words } = this.store
    const i = row * 4
    const hash = this.hash.words6(
      this.mapping(row),
      remote[i]!,
      remote[i + 1]!,
      remote[i + 2]!,
      remote[i + 3]!,
      words[row * 16 + SessionWord.remotePort]!,
    )
    this.index.remove(hash, row)
    const next = words[row * 16 + SessionWord.nextOfMapping]!
    const previous = words[row * 16 + SessionWord.previousOfMapping]!
    if (next !== -1) words[next * 16 + SessionWord.previousOfMapping] = previous
    if (previous !== -1) words[previous * 16 + SessionWord.nextOfMapping] = next
    words[row * 16 + SessionWord.serial] = words[row * 16 + SessionWord.serial]! + 1
    this.rows.give(row)
    return first === row ? next : first
  }

  /** Puts a new session on the wheel. */
  schedule(row: number, at: number, now: number): void {
    this.store.times[row * 8] = at
    this.wheel.schedule(row, at, now)
  }

  /** Sets when a session ends. The wheel is touched only when that is sooner than before. */
  expireAt(row: number, at: number, now: number): void {
    const { times } = this.store
    const before = times[row * 8]!
    times[row * 8] = at
    if (at >= before) return
    this.wheel.cancel(row)
    this.wheel.schedule(row, at, now)
  }

  private grow(): void {
    this.store.grow()
    this.remote = grown(this.remote, this.store.capacity * 4)
    this.wheel.grow(this.store.capacity)
  }
}
