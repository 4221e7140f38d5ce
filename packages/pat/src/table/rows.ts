// Rows of tables that are columns of typed arrays.

type Column = Int32Array | Uint32Array | Uint16Array | Uint8Array | Float64Array

/** A longer copy of a column. */
export function grown<T extends Column>(column: T, length: number): T {
  const longer = new (column.constructor as new (length: number) => T)(length)
  longer.set(column)
  return longer
}

/** Hands out row numbers below a limit; the ones that came back first. 4 bytes a row that ever came back. */
export class RowNumbers {
  readonly limit: number
  /** Rows in use. */
  count = 0
  private fresh = 0
  private returned: Int32Array = new Int32Array(16)
  private returnedCount = 0

  constructor(limit: number) {
    this.limit = limit
  }

  get memoryBytes(): number {
    return this.returned.byteLength
  }

  /** A free row, or -1 when `limit` rows are in use. */
  take(): number {
    if (this.count === this.limit) return -1
    this.count++
    return this.returnedCount > 0 ? this.returned[--this.returnedCount]! : this.fresh++
  }

  /** Takes a certain row, above all that were taken before; those between are free. */
  adopt(row: number): void {
    while (this.fresh < row) this.putBack(this.fresh++)
    this.fresh = row + 1
    this.count++
  }

  give(row: number): void {
    this.putBack(row)
    this.count--
  }

  private putBack(row: number): void {
    if (this.returnedCount === this.returned.length) this.returned = grown(this.returned, this.returned.length * 2)
    this.returned[this.returnedCount++] = row
  }
}
