import { HashIndex, type KeyedHash } from '@twinbore/core/packet'
import { grown, RowNumbers } from './rows.ts'

/**
 * Mappings: inside endpoint to outside endpoint, per protocol, found from both sides (RFC 4787 §4). A mapping lives as
 * long as it has a session. 25 bytes a row and twice 16 to 32 of index.
 */
export class MappingTable {
  /** Row of the inside address. */
  inside: Int32Array
  insidePort: Uint16Array
  /** Index of the outside address. */
  outside: Int32Array
  outsidePort: Uint16Array
  protocol: Uint8Array
  /** First session, or -1. */
  firstSession: Int32Array
  nextOfInside: Int32Array
  private previousOfInside: Int32Array
  private readonly rows: RowNumbers
  private readonly byInside: HashIndex = new HashIndex()
  private readonly byOutside: HashIndex = new HashIndex()
  private readonly hash: KeyedHash
  private capacity = 64

  constructor(hash: KeyedHash, limit: number) {
    this.hash = hash
    this.rows = new RowNumbers(limit)
    this.inside = new Int32Array(this.capacity)
    this.insidePort = new Uint16Array(this.capacity)
    this.outside = new Int32Array(this.capacity)
    this.outsidePort = new Uint16Array(this.capacity)
    this.protocol = new Uint8Array(this.capacity)
    this.firstSession = new Int32Array(this.capacity)
    this.nextOfInside = new Int32Array(this.capacity)
    this.previousOfInside = new Int32Array(this.capacity)
  }

  get count(): number {
    return this.rows.count
  }

  get full(): boolean {
    return this.rows.count === this.rows.limit
  }

  get memoryBytes(): number {
    return this.capacity * 25 + this.byInside.memoryBytes + this.byOutside.memoryBytes + this.rows.memoryBytes
  }

  /** The mapping of an inside endpoint, or -1. */
  findInside(inside: number, protocol: number, port: number): number {
    const key = (protocol << 16) | port
    const hash = this.hash.words2(inside, key)
    for (let at = this.byInside.find(hash); at !== -1; at = this.byInside.findNext(at, hash)) {
      const row = this.byInside.rowAt(at)
      if (this.inside[row] === inside && this.insidePort[row] === port && this.protocol[row] === protocol) return row
    }
    return -1
  }

  /** The mapping of an outside endpoint, or -1. */
  findOutside(outside: number, protocol: number, port: number): number {
    const key = (protocol << 16) | port
    const hash = this.hash.words2(outside, key)
    for (let at = this.byOutside.find(hash); at !== -1; at = this.byOutside.findNext(at, hash)) {
      const row = this.byOutside.rowAt(at)
      if (this.outside[row] === outside && this.outsidePort[row] === port && this.protocol[row] === protocol) return row
    }
    return -1
  }

  /** Adds a mapping in front of the list of its inside address, whose first mapping is `first`. The table isn't full. */
  add(
    inside: number,
    protocol: number,
    insidePort: number,
    outside: number,
    outsidePort: number,
    first: number,
  ): number {
    const row = this.rows.take()
    if (row >= this.capacity) this.grow()
    this.inside[row] = inside
    this.insidePort[row] = insidePort
    this.outside[row] = outside
    this.outsidePort[row] = outsidePort
    this.protocol[row] = protocol
    this.firstSession[row] = -1
    this.nextOfInside[row] = first
    this.previousOfInside[row] = -1
    if (first !== -1) this.previousOfInside[first] = row
    this.byInside.insert(this.hash.words2(inside, (protocol << 16) | insidePort), row)
    this.byOutside.insert(this.hash.words2(outside, (protocol << 16) | outsidePort), row)
    return row
  }

  /** Removes a mapping without sessions. Returns what is now the first mapping of its inside address, given the one before. */
  remove(row: number, first: number): number {
    const key = this.protocol[row]! << 16
    this.byInside.remove(this.hash.words2(this.inside[row]!, key | this.insidePort[row]!), row)
    this.byOutside.remove(this.hash.words2(this.outside[row]!, key | this.outsidePort[row]!), row)
    const next = this.nextOfInside[row]!
    const previous = this.previousOfInside[row]!
    if (next !== -1) this.previousOfInside[next] = previous
    if (previous !== -1) this.nextOfInside[previous] = next
    this.rows.give(row)
    return first === row ? next : first
  }

  private grow(): void {
    this.capacity *= 2
    this.inside = grown(this.inside, this.capacity)
    this.insidePort = grown(this.insidePort, this.capacity)
    this.outside = grown(this.outside, this.capacity)
    this.outsidePort = grown(this.outsidePort, this.capacity)
    this.protocol = grown(this.protocol, this.capacity)
    this.firstSession = grown(this.firstSession, this.capacity)
    this.nextOfInside = grown(this.nextOfInside, this.capacity)
    this.previousOfInside = grown(this.previousOfInside, this.capacity)
  }
}
