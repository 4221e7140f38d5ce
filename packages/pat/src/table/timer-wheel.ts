// When rows have to be looked at again. One turn of the wheel has 512 slots of one second; a row that is due later than
// one turn is met once per turn and put back. Owners that only extend a row's life don't touch the wheel at all: they
// note the new time in the row and schedule it anew when they meet it. Every operation is O(1).
import { grown } from './rows.ts'

const slots = 512
const tickMs = 1000
/** The list of rows that are being met. */
const dueSlot = slots

/** 8 bytes a row. */
export class TimerWheel {
  private next: Int32Array
  private previous: Int32Array
  /** First row per slot, or -1. A first row's `previous` is -2 - slot. */
  private readonly heads: Int32Array = new Int32Array(slots + 1).fill(-1)
  /** The last tick whose slot was emptied; -1 before the first row. */
  private tick = -1
  private count = 0
  /** The first tick with a row, or -1 when it has to be searched. */
  private nextTick = -1

  constructor(rows: number) {
    this.next = new Int32Array(rows)
    this.previous = new Int32Array(rows).fill(-1)
  }

  get memoryBytes(): number {
    return this.next.byteLength + this.previous.byteLength + this.heads.byteLength
  }

  grow(rows: number): void {
    const from = this.previous.length
    this.next = grown(this.next, rows)
    this.previous = grown(this.previous, rows).fill(-1, from)
  }

  /** When rows want to be met next, never later than their due time plus one second. */
  get deadline(): number | undefined {
    if (this.count === 0) return undefined
    if (this.heads[dueSlot] !== -1) return this.tick * tickMs
    if (this.nextTick === -1) {
      let tick = this.tick + 1
      while (this.heads[tick % slots] === -1) tick++
      this.nextTick = tick
    }
    return this.nextTick * tickMs
  }

  /** Lets a row be met at `at` or up to one second later. The row isn't scheduled yet. */
  schedule(row: number, at: number, now: number): void {
    const first = this.count === 0
    if (first) this.tick = Math.floor(now / tickMs)
    const turns = Math.max(Math.ceil(at / tickMs) - this.tick - 1, 0)
    const met = this.tick + 1 + (turns % slots)
    this.link(row, met % slots)
    if (first || (this.nextTick !== -1 && met < this.nextTick)) this.nextTick = met
  }

  /** Forgets a scheduled row. */
  cancel(row: number): void {
    const next = this.next[row]!
    const previous = this.previous[row]!
    if (previous <= -2) {
      const slot = -2 - previous
      this.heads[slot] = next
      if (next === -1 && slot === this.nextTick % slots) this.nextTick = -1
    } else this.next[previous] = next
    if (next !== -1) this.previous[next] = previous
    this.previous[row] = -1
    this.count--
  }

  /** Takes the next row that has to be met by `now`, or -1. The row is no longer scheduled. */
  take(now: number): number {
    const nowTick = Math.floor(now / tickMs)
    for (;;) {
      const row = this.heads[dueSlot]!
      if (row !== -1) {
        this.cancel(row)
        return row
      }
      if (this.count === 0 || this.tick >= nowTick) return -1
      // After a long silence one turn meets everybody.
      this.tick = Math.max(this.tick + 1, nowTick - slots + 1)
      this.nextTick = -1
      this.openSlot(this.tick % slots)
    }
  }

  private openSlot(slot: number): void {
    const first = this.heads[slot]!
    if (first === -1) return
    this.heads[slot] = -1
    this.heads[dueSlot] = first
    this.previous[first] = -2 - dueSlot
  }

  private link(row: number, slot: number): void {
    const first = this.heads[slot]!
    this.next[row] = first
    this.previous[row] = -2 - slot
    if (first !== -1) this.previous[first] = row
    this.heads[slot] = row
    this.count++
  }
}
