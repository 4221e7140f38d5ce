import { HashIndex, type KeyedHash } from '@twinbore/core/packet'
import { TcpWindows } from '../tcp-windows.ts'
import { grown, RowNumbers } from './rows.ts'
import { TimerWheel } from './timer-wheel.ts'

/**
 * Sessions: the remote ends that a mapping talks to (RFC 6146 §3.1). For UDP and ICMP a session is what filtering needs to
 * know: one remote endpoint, one remote address (port 0), or anybody (all zero). For TCP it is one connection.
 * 81 bytes a row, timers and TCP windows included, and 16 to 32 of index.
 */
export class SessionTable {
  mapping: Int32Array
  remote: Int32Array
  remotePort: Uint16Array
  /** A `TcpState`; 0 for UDP and ICMP. */
  state: Uint8Array
  expiresAt: Float64Array
  nextOfMapping: Int32Array
  readonly windows: TcpWindows
  readonly wheel: TimerWheel
  private previousOfMapping: Int32Array
  private readonly rows: RowNumbers
  private readonly index: HashIndex = new HashIndex()
  private readonly hash: KeyedHash
  private capacity = 64

  constructor(hash: KeyedHash, limit: number) {
    this.hash = hash
    this.rows = new RowNumbers(limit)
    this.mapping = new Int32Array(this.capacity)
    this.remote = new Int32Array(this.capacity * 4)
    this.remotePort = new Uint16Array(this.capacity)
    this.state = new Uint8Array(this.capacity)
    this.expiresAt = new Float64Array(this.capacity)
    this.nextOfMapping = new Int32Array(this.capacity)
    this.previousOfMapping = new Int32Array(this.capacity)
    this.windows = new TcpWindows(this.capacity)
    this.wheel = new TimerWheel(this.capacity)
  }

  get count(): number {
    return this.rows.count
  }

  get full(): boolean {
    return this.rows.count === this.rows.limit
  }

  get memoryBytes(): number {
    const own = this.capacity * 39 + this.index.memoryBytes + this.rows.memoryBytes
    return own + this.windows.memoryBytes + this.wheel.memoryBytes
  }

  /** The session of a mapping with a remote end, or -1. */
  find(mapping: number, a: number, b: number, c: number, d: number, port: number): number {
    const hash = this.hash.words6(mapping, a, b, c, d, port)
    for (let at = this.index.find(hash); at !== -1; at = this.index.findNext(at, hash)) {
      const row = this.index.rowAt(at)
      const { remote } = this
      const i = row * 4
      if (
        this.mapping[row] === mapping &&
        this.remotePort[row] === port &&
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
    if (row >= this.capacity) this.grow()
    this.mapping[row] = mapping
    this.remote[row * 4] = a
    this.remote[row * 4 + 1] = b
    this.remote[row * 4 + 2] = c
    this.remote[row * 4 + 3] = d
    this.remotePort[row] = port
    this.state[row] = 0
    this.nextOfMapping[row] = first
    this.previousOfMapping[row] = -1
    if (first !== -1) this.previousOfMapping[first] = row
    this.index.insert(this.hash.words6(mapping, a, b, c, d, port), row)
    return row
  }

  /** Removes a session that isn't on the wheel. Returns what is now the first session of its mapping, given the one before. */
  remove(row: number, first: number): number {
    const { remote } = this
    const i = row * 4
    const hash = this.hash.words6(
      this.mapping[row]!,
      remote[i]!,
      remote[i + 1]!,
      remote[i + 2]!,
      remote[i + 3]!,
      this.remotePort[row]!,
    )
    this.index.remove(hash, row)
    const next = this.nextOfMapping[row]!
    const previous = this.previousOfMapping[row]!
    if (next !== -1) this.previousOfMapping[next] = previous
    if (previous !== -1) this.nextOfMapping[previous] = next
    this.rows.give(row)
    return first === row ? next : first
  }

  /** Sets when a session ends. The wheel is touched only when that is sooner than before. */
  expireAt(row: number, at: number, now: number): void {
    const before = this.expiresAt[row]!
    this.expiresAt[row] = at
    if (at >= before) return
    this.wheel.cancel(row)
    this.wheel.schedule(row, at, now)
  }

  private grow(): void {
    this.capacity *= 2
    this.mapping = grown(this.mapping, this.capacity)
    this.remote = grown(this.remote, this.capacity * 4)
    this.remotePort = grown(this.remotePort, this.capacity)
    this.state = grown(this.state, this.capacity)
    this.expiresAt = grown(this.expiresAt, this.capacity)
    this.nextOfMapping = grown(this.nextOfMapping, this.capacity)
    this.previousOfMapping = grown(this.previousOfMapping, this.capacity)
    this.windows.grow(this.capacity)
    this.wheel.grow(this.capacity)
  }
}
