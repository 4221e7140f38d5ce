import type { Milliseconds } from './time.ts'

/**
 * Deadlines of many objects that are numbered with small integers: leases, mappings, packets in flight. A binary heap in
 * typed arrays: `deadline` is O(1), everything else O(log n), nothing is allocated once the arrays have grown. Equal
 * deadlines come out in the order in which they were set.
 *
 * Memory: 24 bytes for each key up to the largest one used.
 */
export class DeadlineQueue {
  /** Keys, the earliest first, each no later than its two children at 2i + 1 and 2i + 2. */
  private heap: Int32Array
  /** Where each key is in the heap; -1 when it has no deadline. */
  private places: Int32Array
  private deadlines: Float64Array
  /** When each key was set, to break ties. */
  private orders: Float64Array
  private nextOrder = 0
  private count = 0

  /** @param capacity - keys to make room for at once; more room is made when a larger key comes */
  constructor(capacity = 64) {
    this.heap = new Int32Array(capacity)
    this.places = new Int32Array(capacity).fill(-1)
    this.deadlines = new Float64Array(capacity)
    this.orders = new Float64Array(capacity)
  }

  /** How many keys have a deadline. */
  get size(): number {
    return this.count
  }

  /** The earliest deadline. */
  get deadline(): Milliseconds | undefined {
    return this.count === 0 ? undefined : this.deadlines[this.heap[0]!]!
  }

  /** The deadline of one key. */
  get(key: number): Milliseconds | undefined {
    return this.has(key) ? this.deadlines[key] : undefined
  }

  has(key: number): boolean {
    return (this.places[key] ?? -1) !== -1
  }

  /** Gives a key a deadline, in place of the one it had. @throws RangeError for a key or deadline that is none */
  set(key: number, deadline: Milliseconds): void {
    if (!Number.isInteger(key) || key < 0 || key > 0x7fff_fffe) throw new RangeError('key must be a small integer')
    if (!Number.isFinite(deadline)) throw new RangeError('deadline must be a finite number')
    if (key >= this.places.length) this.grow(key + 1)
    this.deadlines[key] = deadline
    this.orders[key] = this.nextOrder++
    if (this.places[key] === -1) {
      this.heap[this.count] = key
      this.places[key] = this.count
      this.count++
    }
    this.sift(this.places[key]!)
  }

  /** Takes a key's deadline away. Returns whether it had one. */
  delete(key: number): boolean {
    if (!this.has(key)) return false
    const place = this.places[key]!
    this.places[key] = -1
    const last = this.heap[--this.count]!
    if (last !== key) {
      this.heap[place] = last
      this.places[last] = place
      this.sift(place)
    }
    return true
  }

  /** Takes the earliest key whose deadline is reached out of the queue, or returns -1. */
  takeExpired(now: Milliseconds): number {
    if (this.count === 0) return -1
    const key = this.heap[0]!
    if (this.deadlines[key]! > now) return -1
    this.delete(key)
    return key
  }

  /** Moves the key at a place up or down to where it belongs. */
  private sift(place: number): void {
    const key = this.heap[place]!
    let hole = place
    while (hole > 0) {
      const parent = (hole - 1) >> 1
      if (!this.isBefore(key, this.heap[parent]!)) break
      this.put(this.heap[parent]!, hole)
      hole = parent
    }
    if (hole === place) {
      for (;;) {
        let child = 2 * hole + 1
        if (child >= this.count) break
        if (child + 1 < this.count && this.isBefore(this.heap[child + 1]!, this.heap[child]!)) child++
        if (!this.isBefore(this.heap[child]!, key)) break
        this.put(this.heap[child]!, hole)
        hole = child
      }
    }
    this.put(key, hole)
  }

  private put(key: number, place: number): void {
    this.heap[place] = key
    this.places[key] = place
  }

  private isBefore(a: number, b: number): boolean {
    const difference = this.deadlines[a]! - this.deadlines[b]!
    return difference < 0 || (difference === 0 && this.orders[a]! < this.orders[b]!)
  }

  private grow(needed: number): void {
    const capacity = Math.max(needed, this.places.length * 2)
    const { heap, places, deadlines, orders } = this
    this.heap = new Int32Array(capacity)
    this.heap.set(heap)
    this.places = new Int32Array(capacity).fill(-1)
    this.places.set(places)
    this.deadlines = new Float64Array(capacity)
    this.deadlines.set(deadlines)
    this.orders = new Float64Array(capacity)
    this.orders.set(orders)
  }
}
