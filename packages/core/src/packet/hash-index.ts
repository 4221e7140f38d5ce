/**
 * Open addressing from 32-bit hashes to row numbers: the index behind tables of flows, mappings and sources. Keys stay in
 * the tables, so the caller compares them:
 *
 *     for (let at = index.find(hash); at !== -1; at = index.findNext(at, hash)) if (same(index.rowAt(at))) ...
 *
 * Linear probing, at most half full, deletion by shifting back: churn leaves no tombstones. 8 bytes a slot, two to four
 * slots a row.
 */
export class HashIndex {
  /** Row + 1; 0 is an empty slot. */
  private rows: Int32Array
  private hashes: Int32Array
  private mask: number
  /** Rows in the index. */
  count = 0

  /** @param slots - a power of two to begin with */
  constructor(slots = 64) {
    this.rows = new Int32Array(slots)
    this.hashes = new Int32Array(slots)
    this.mask = slots - 1
  }

  get memoryBytes(): number {
    return this.rows.byteLength + this.hashes.byteLength
  }

  /** The first slot whose hash is `hash`, or -1. */
  find(hash: number): number {
    return this.probe(hash & this.mask, hash)
  }

  /** The next such slot behind `at`, or -1. */
  findNext(at: number, hash: number): number {
    return this.probe((at + 1) & this.mask, hash)
  }

  rowAt(at: number): number {
    return this.rows[at]! - 1
  }

  /** Adds a row; the caller knows that its key isn't there yet. */
  insert(hash: number, row: number): void {
    if (this.count * 2 >= this.rows.length) this.grow()
    this.place(hash, row + 1)
    this.count++
  }

  /** Removes a row that is there. */
  remove(hash: number, row: number): void {
    let hole = hash & this.mask
    while (this.rows[hole] !== row + 1) hole = (hole + 1) & this.mask
    this.count--
    for (let at = (hole + 1) & this.mask; this.rows[at] !== 0; at = (at + 1) & this.mask) {
      // A row may fill the hole when its home is not between the hole and where it stands.
      const home = this.hashes[at]! & this.mask
      if (((at - home) & this.mask) < ((at - hole) & this.mask)) continue
      this.rows[hole] = this.rows[at]!
      this.hashes[hole] = this.hashes[at]!
      hole = at
    }
    this.rows[hole] = 0
  }

  private probe(start: number, hash: number): number {
    for (let at = start; ; at = (at + 1) & this.mask) {
      if (this.rows[at] === 0) return -1
      if (this.hashes[at] === hash) return at
    }
  }

  private place(hash: number, value: number): void {
    let at = hash & this.mask
    while (this.rows[at] !== 0) at = (at + 1) & this.mask
    this.rows[at] = value
    this.hashes[at] = hash
  }

  private grow(): void {
    const { rows, hashes } = this
    this.rows = new Int32Array(rows.length * 2)
    this.hashes = new Int32Array(rows.length * 2)
    this.mask = rows.length * 2 - 1
    for (let at = 0; at < rows.length; at++) if (rows[at] !== 0) this.place(hashes[at]!, rows[at]!)
  }
}
